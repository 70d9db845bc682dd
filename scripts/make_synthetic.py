"""Makes synthetic pictures of hands, with labels, in the layout of HO-3D v2, v3 or FreiHAND, or a video.

    python scripts/make_synthetic.py --output=data/synthetic --train=2000 --evaluation=200
    python scripts/make_synthetic.py --output=data/freihand --train=500 --layout=freihand
    python scripts/make_synthetic.py --video=clip.mp4

The same seed gives the same bytes; started again after an interruption it goes on where it stopped.
Beside a video of a moving hand its truth lies as clip.npz.
"""

from absl import flags

from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.data.synthetic.scene import DIFFICULTIES
from amvur_jax.data.synthetic.video import make_video
from amvur_jax.runtime import cli

_OUTPUT = flags.DEFINE_string("output", "data/synthetic", "Folder to write, new or empty.")
_TRAIN = flags.DEFINE_integer(
    "train", 2000, "Number of training frames (of FreiHAND four pictures each)."
)
_EVALUATION = flags.DEFINE_integer("evaluation", 200, "Number of evaluation frames.")
_SEED = flags.DEFINE_integer("seed", 0, "Of everything that is drawn.")
_DIFFICULTY = flags.DEFINE_enum(
    "difficulty",
    "easy",
    list(DIFFICULTIES),
    "easy: palms before plain walls; wide: all rotations, things and clutter; turning: hands that turn while "
    "their fingers hardly move.",
)
_LAYOUT = flags.DEFINE_enum("layout", "ho3d_v2", list(LAYOUTS), "As whose files they are written.")
_VIDEO = flags.DEFINE_string("video", None, "Make this video, an .mp4, and no tree.")
_SECONDS = flags.DEFINE_float("seconds", 20.0, "Length of the video.", lower_bound=0.1)


def main() -> None:
    if _VIDEO.value is not None:
        make_video(_VIDEO.value, _SECONDS.value, _SEED.value, _DIFFICULTY.value)
        return
    make_synthetic(
        _OUTPUT.value,
        _TRAIN.value,
        _EVALUATION.value,
        _SEED.value,
        _DIFFICULTY.value,
        _LAYOUT.value,
    )


if __name__ == "__main__":
    cli.run(main)
