"""Label videos and pictures of your own with the hand detector, for training from 2D joints.

    python scripts/label.py --input=clip.mp4 --output=data/mine
    python scripts/label.py --input=a.mp4,b.mp4,photos/ --output=data/mine
    python scripts/label.py --input=digits.zip --output=data/digits --evaluation=0

--input is videos, folders and zips of pictures, several with commas. Writes hands.csv, which you may correct,
its pictures, and kept.jpg and dropped.jpg to look at: a data set that config.data.root, config.data.mix and
evaluate's --data_root read (docs/own_pictures.md). Started again it goes on where it stopped.
"""

from absl import flags

from amvur_jax.detect.detector import Detector
from amvur_jax.label import label
from amvur_jax.runtime import cli

_INPUT = flags.DEFINE_list(
    "input", None, "Videos, folders (looked through to the bottom) and zips of pictures."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for pictures and labels.")
_EVERY = flags.DEFINE_integer("every", 5, "Of a video every n-th frame may be kept.", lower_bound=1)
_EVALUATION = flags.DEFINE_float(
    "evaluation", 0.2, "Share that is held back, by sequences.", lower_bound=0, upper_bound=0.5
)
flags.mark_flags_as_required(["input", "output"])


def main() -> None:
    for line in label(_INPUT.value, _OUTPUT.value, Detector(), _EVERY.value, _EVALUATION.value):
        print(line)
    print(
        f"look at {_OUTPUT.value}/kept.jpg, and at dropped.jpg; correct {_OUTPUT.value}/hands.csv"
    )


if __name__ == "__main__":
    cli.run(main)
