"""Label photographs of one hand each with the detector, for weakly supervised training.

    python scripts/label_photos.py --input=digits.zip --output=data/digits
    python scripts/train.py --config=configs/hand.py --workdir=runs/hand

Takes a folder or a zip. Writes the pictures that passed and hands.json, which `config.data.root` and
`config.data.mix` read, and refused.json, which says why the others did not. Started again it goes on.
"""

from absl import flags

from amvur_jax.detect.detector import Detector
from amvur_jax.detect.photos import REFUSED, label_photos
from amvur_jax.runtime import cli

_INPUT = flags.DEFINE_string("input", None, "A folder, looked through to the bottom, or a zip.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for pictures and labels.")
flags.mark_flags_as_required(["input", "output"])


def main() -> None:
    counts = label_photos(_INPUT.value, _OUTPUT.value, Detector())
    print(f"{_OUTPUT.value}: {counts.pop('labelled')} pictures with labels")
    for cause, count in counts.most_common():
        print(f"  {count} refused: {cause}")
    if counts:
        print(f"{_OUTPUT.value}/{REFUSED} says which")


if __name__ == "__main__":
    cli.run(main)
