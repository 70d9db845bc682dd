"""Build a data set of records from an official download: faster to read, in few files, checked.

    python scripts/build_dataset.py --dataset=ho3d_v2 --source=DIR/HO3D_v2 --output=data/ho3d_v2 \\
        --hand=DIR/MANO_RIGHT.pkl
    python scripts/train.py --config=configs/ho3d_weak.py --config.data.root=data/ho3d_v2 ...

Frames that are not as they should be are left out and named in OUTPUT/report.json. Started again
after an interruption it goes on where it stopped.
"""

from absl import flags

import mano_jax
from amvur_jax.data.augment import Augmentation
from amvur_jax.data.build_records import REACH, Settings, build, summary_text
from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.readers.records import REPORT
from amvur_jax.runtime import cli

_DATASET = flags.DEFINE_enum("dataset", None, list(LAYOUTS), "What the source is.")
_SOURCE = flags.DEFINE_string("source", None, "Folder of the official data set, as downloaded.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to make.")
_HAND = flags.DEFINE_string(
    "hand", "", "MANO_RIGHT.pkl, which the labels are of; without it the embedded hand."
)
_LOSSLESS = flags.DEFINE_bool(
    "lossless", False, "Keep whole pictures as they are, not JPEGs of the region about the hand."
)
_QUALITY = flags.DEFINE_integer("quality", 90, "Of those JPEGs.", lower_bound=1, upper_bound=100)
_STRICT = flags.DEFINE_bool("strict", False, "Stop at the first frame that is not as it should be.")
_MASKS = flags.DEFINE_bool(
    "masks", False, "Keep what is seen of each hand too, for config.loss.occlusion='labels'."
)
_WORKERS = flags.DEFINE_integer("workers", 0, "Processes; 0 = one per core.", lower_bound=0)
_SHARD = flags.DEFINE_integer("shard_frames", 1024, "Frames of a shard.", lower_bound=1)
_JITTER = flags.DEFINE_float(
    "jitter_px", REACH.jitter_px, "Largest config.data.jitter_px that the regions must do for."
)
_ROTATION = flags.DEFINE_float("rotation", REACH.rotation, "Same of config.data.augment.rotation.")
_SCALE = flags.DEFINE_float("scale", REACH.scale, "Same of config.data.augment.scale.")
_SHIFT = flags.DEFINE_float("shift", REACH.shift, "Same of config.data.augment.shift.")
flags.mark_flags_as_required(["dataset", "source", "output"])


def main() -> None:
    reach = Augmentation(_JITTER.value, _ROTATION.value, _SCALE.value, _SHIFT.value)
    settings = Settings(
        _LOSSLESS.value, _QUALITY.value, reach, _SHARD.value, _STRICT.value, _MASKS.value
    )
    hand = mano_jax.load_hand(_HAND.value or None)
    report = build(_DATASET.value, _SOURCE.value, _OUTPUT.value, hand, settings, _WORKERS.value)
    print(summary_text(report))
    print(f"{_OUTPUT.value} written; {_OUTPUT.value}/{REPORT} names what was skipped")


if __name__ == "__main__":
    cli.run(main)
