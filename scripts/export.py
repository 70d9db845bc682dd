"""Write a trained network as one zip that runs without this code: StableHLO, weights, what they mean.

    python scripts/export.py --output=hand.zip

docs/export.md has what is in it and the 30 lines that run it. It needs pip install -e '.[export]'. To give a
network to predict, evaluate or train, of this project, there is export_weights.py.
"""

import pathlib

from absl import flags

from amvur_jax import export, inference, weights
from amvur_jax.exported.about import hand_licence
from amvur_jax.runtime import cli, shared_flags

_CHECKPOINT = shared_flags.checkpoint(weights.NAME)
_OUTPUT = flags.DEFINE_string("output", None, "The file, ending in .zip.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a file that is there.")
_HAND = shared_flags.hand()
_LICENCE = flags.DEFINE_string(
    "licence", None, "What the zip says of the weights; of the shipped ones it is Apache-2.0."
)
_ONNX = flags.DEFINE_bool("onnx", False, "As ONNX too (extra `onnx`; takes minutes).")
flags.mark_flags_as_required(["output"])


def main() -> None:
    output = pathlib.Path(_OUTPUT.value)
    export.check(output, _OVERWRITE.value, _ONNX.value)
    predictor = inference.load(_CHECKPOINT.value, _HAND.value)
    shipped = weights.file_of(_CHECKPOINT.value) == weights.SHIPPED
    own = "Apache-2.0" if shipped else "not said: ask who trained them"
    checksum = export.export(predictor, output, _LICENCE.value or own, _ONNX.value)
    if predictor.config["hand"]:
        print(f"{output} holds the hand model {hand_licence(predictor)}")
    print(f"{output}  sha256 {checksum}")


if __name__ == "__main__":
    cli.run(main)
