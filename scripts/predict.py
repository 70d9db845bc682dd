"""Reconstruct the right hand in a picture: overlay PNG, OBJ with vertex colours, all outputs as .npz.

    python scripts/predict.py --checkpoint=runs/demo --input=photo.jpg --box=210,80,420,300 --output=out

The .npz has joints_sigma_mm and vertices_sigma_mm, the standard deviation of a coordinate relative to the
wrist; run scripts/evaluate.py --calibrate first, so that they are what the errors were on labelled frames.
Without --box the picture itself is taken as the crop about the hand (its central square).
"""

from absl import flags

from amvur_jax import inference, weights
from amvur_jax.predict import parse_box, predict
from amvur_jax.runtime import cli, startup

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    weights.NAME,
    "A run's folder, RUN@best, one checkpoints/STEP of it, or a file of weights.",
)
_INPUT = flags.DEFINE_string("input", None, "The picture, PNG or JPEG.")
_BOX = flags.DEFINE_string("box", None, "x1,y1,x2,y2 about the hand, px of the picture.")
_HAND = flags.DEFINE_string(
    "hand", None, "The hand model, where it is no longer where the checkpoint says."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
_CACHE = flags.DEFINE_string(
    "compilation_cache",
    startup.cache_folder(),
    "Folder of compiled code for the next start; empty for none.",
)
flags.mark_flags_as_required(["input", "output"])


def main() -> None:
    startup.keep_compiled(_CACHE.value)
    box = None if _BOX.value is None else parse_box(_BOX.value)
    paths, sigma = predict(
        inference.load(_CHECKPOINT.value, _HAND.value), _INPUT.value, _OUTPUT.value, box
    )
    for path in paths:
        print(path)
    print(sigma)


if __name__ == "__main__":
    cli.run(main)
