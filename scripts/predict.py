"""Hands of photographs and videos in 3D: numbers, a GLB and an overlay of each.

    python scripts/predict.py --input=photo.jpg --output=out
    python scripts/predict.py --input=photos/ --output=out --focal=26mm
    python scripts/predict.py --input=clip.mp4 --output=out

--input is a picture or a video, several with commas, a folder, a glob in quotes, or - for a list on standard
input. Hands are followed through a video, smoothed, and animated in one GLB.
Without --checkpoint the shipped weights are taken. docs/outputs.md says what is written, in which units.

The hands' place in metres follows from the focal length: --focal, else the EXIF of the picture, else 28 mm
on 35 mm film. A picture that cannot be read is named and left out, and the exit code is 1.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from amvur_jax import inference, weights
from amvur_jax.detect.detector import Detector
from amvur_jax.errors import UserError
from amvur_jax.files.video import is_video
from amvur_jax.hands.focal import parse_focal
from amvur_jax.hands.pictures import boxes_of, find_pictures, parse_box, read_boxes
from amvur_jax.hands.reconstruct import Box, Reconstructor
from amvur_jax.predict import check_output, check_summary, check_video, predict, told
from amvur_jax.runtime import cli, shared_flags, startup

_INPUT = flags.DEFINE_string(
    "input",
    None,
    "A picture or a video, several with commas, a folder, a glob, or - for a list on stdin.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
_CHECKPOINT = shared_flags.checkpoint(weights.NAME)
_BOX = flags.DEFINE_string(
    "box", None, "x1,y1,x2,y2 about the hand of the one picture, px; nothing else is looked for."
)
_SIDE = flags.DEFINE_enum(
    "side", None, ["right", "left"], "Of the hand of --box, or of the picture with --detect=none."
)
_BOXES = flags.DEFINE_string(
    "boxes", None, "CSV or JSON: picture, x1, y1, x2, y2, side (or nothing). Pictures' only hands."
)
_DETECT = flags.DEFINE_enum(
    "detect",
    "normal",
    ["normal", "thorough", "none"],
    "Thorough looks for small hands too; none takes each picture as the crop about one hand.",
)
_DETECTOR = shared_flags.detector()
_FOCAL = shared_flags.focal()
_REFINE = shared_flags.refine()
_OVERLAY = flags.DEFINE_bool("overlay", True, "Draw the hands over each picture and video.")
_SMOOTH = shared_flags.smooth()
_OBJ = flags.DEFINE_bool("obj", False, "Write a Wavefront OBJ of each picture, too.")
_PLY = flags.DEFINE_bool("ply", False, "Write a PLY of each picture, too.")
_HTML = flags.DEFINE_bool("html", False, "Write index.html: all in one page that opens offline.")
_RESUME = shared_flags.resume()
_OVERWRITE = shared_flags.overwrite()
_HAND = shared_flags.hand()
_keep_compiled = shared_flags.compilation_cache()
flags.mark_flags_as_required(["input", "output"])


def main() -> None:
    startup.collect_rarely()
    _keep_compiled()
    pictures = find_pictures(_INPUT.value, sys.stdin if _INPUT.value == "-" else ())
    boxes = _boxes(pictures.paths)
    focal = None if _FOCAL.value is None else parse_focal(_FOCAL.value)
    for path in filter(is_video, pictures.paths):
        check_video(path, boxes is not None, _DETECT.value != "none")
    check_output(Path(_OUTPUT.value), _RESUME.value, _OVERWRITE.value)
    detector = None if _DETECT.value == "none" else Detector(_DETECTOR.value)
    predictor = inference.load(_CHECKPOINT.value, _HAND.value)
    thorough = _DETECT.value == "thorough"
    summary = predict(
        Reconstructor(predictor, detector, thorough, _SIDE.value or "right", _REFINE.value),
        pictures.paths,
        _OUTPUT.value,
        boxes=boxes,
        focal=focal,
        kinds=["glb", *["obj"] * _OBJ.value, *["ply"] * _PLY.value],
        draw=_OVERLAY.value,
        smooth=_SMOOTH.value,
        resume=_RESUME.value,
        overwrite=_OVERWRITE.value,
        html=_HTML.value,
    )
    print(told(summary))
    check_summary(summary, pictures.several)


def _boxes(paths: Sequence[Path]) -> dict[Path, list[Box]] | None:
    """What --box, --side and --boxes say of each picture."""
    if _BOX.value and _BOXES.value:
        raise UserError("--box and --boxes: give one of them")
    if _SIDE.value and not (_BOX.value or _DETECT.value == "none"):
        raise UserError("--side goes with --box or --detect=none; else the detector tells the side")
    if _BOXES.value:
        return boxes_of(read_boxes(_BOXES.value), paths)
    if not _BOX.value:
        return None
    if len(paths) > 1:
        raise UserError(f"--box is of one picture, not of {len(paths)}; give --boxes=FILE")
    return {paths[0]: [Box(parse_box(_BOX.value), _SIDE.value)]}


if __name__ == "__main__":
    cli.run(main)
