"""Write the COCO-like annotation file of HO-3D that some programs want, or compare one with the data.

    python scripts/annotations.py --source=DIR/HO3D_v2 --split=train
    python scripts/annotations.py --source=DIR/HO3D_v2 --split=train --read=HO3D_train_data.json

Written to SOURCE/annotations/HO3D_SPLIT_data.json, or --output. Frames are joined by file name. A tree
whose meta/ folders are missing is read by this project from that file.
"""

import pathlib

from absl import flags

import mano_jax
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.readers.ho3d_coco import (
    Annotations,
    annotation_path,
    compare,
    write_annotations,
)
from amvur_jax.runtime import cli

_SOURCE = flags.DEFINE_string("source", None, "Folder of HO-3D v2 or v3, as downloaded.")
_SPLIT = flags.DEFINE_enum("split", "train", ["train", "evaluation"], "Which list of frames.")
_READ = flags.DEFINE_string("read", None, "Compare this file with the data, write nothing.")
_OUTPUT = flags.DEFINE_string("output", None, "File to write, if not in the source.")
_HAND = flags.DEFINE_string("hand", "", "MANO_RIGHT.pkl; without it the embedded hand.")
flags.mark_flags_as_required(["source"])


def main() -> None:
    dataset = HO3D(_SOURCE.value, _SPLIT.value, mano_jax.load_hand(_HAND.value or None))
    if _READ.value:
        found = compare(Annotations(pathlib.Path(_READ.value)), dataset)
        print(
            f"{found['both']} frames in both, {found['only_file']} only in the file, "
            f"{found['only_tree']} only in the data"
        )
        print(f"joints: at most {found['largest_mm']:.3f} mm apart")
        print(f"boxes: at most {found['largest_px']:.3f} px apart")
        return
    path = pathlib.Path(_OUTPUT.value or annotation_path(dataset.root, _SPLIT.value))
    write_annotations(dataset, path)
    print(f"{path}: {len(dataset)} frames")


if __name__ == "__main__":
    cli.run(main)
