"""Restore a checkpoint, predict the evaluation split, write pred.zip and, with ground truth, the scores.

    python scripts/evaluate.py --checkpoint=runs/demo --output=runs/demo
    python scripts/evaluate.py --checkpoint=runs/demo --output=runs/demo --calibrate
    python scripts/evaluate.py --checkpoint=runs/mine --data_root=data/mine
    srun --ntasks-per-node=1 python scripts/evaluate.py --checkpoint=DIR --output=DIR

pred.zip is in the official format of the data set's challenge (HO-3D v2, v3 or FreiHAND). With ground truth:
the official scores.txt, scores.json with tables, pck.png, and report.html, one page with all of it.
--calibrate fits a temperature to the predicted variances and stores it with the checkpoint, so that
scripts/predict.py can say how many millimetres it may be off. --joints=detector gives the network the
detector's joints, as predict.py does; they have a temperature of their own. Of pictures with 2D labels alone
(scripts/label.py) the scores are of 2D; without --output they are printed and not written.
"""

import dataclasses

import jax
from absl import flags

from amvur_jax import evaluate, inference, weights
from amvur_jax.detect.detector import Detector
from amvur_jax.errors import UserError
from amvur_jax.runtime import cli, shared_flags

_CHECKPOINT = shared_flags.checkpoint(weights.NAME)
_HAND = shared_flags.hand()
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for pred.zip, the scores and the report; needed but for 2D labels."
)
_DATA_ROOT = flags.DEFINE_string("data_root", None, "Data set; default: the checkpoint's own.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images at a time.", lower_bound=1)
_JOINTS = flags.DEFINE_enum(
    "joints",
    None,
    ["map", "detector"],
    "Whose 2D joints the pose is made of; default: what it can.",
)
_CALIBRATE = flags.DEFINE_bool(
    "calibrate", False, "Fit a temperature to the variances and store it with the checkpoint."
)
_PUBLISHED_SIGMA = flags.DEFINE_bool(
    "published_sigma", False, "Score the published variances though there is a head for them."
)
_keep_compiled = shared_flags.compilation_cache()
_meet_processes = shared_flags.processes()
SHOWN = {
    "joints_2d_px": "2D error, px of a 224 crop",
    "root_mpjpe_mm": "wrist-relative MPJPE, mm",
    "pa_mpjpe_mm": "PA-MPJPE, mm",
    "pa_mpvpe_mm": "PA-MPVPE, mm",
    "f_al_score_5": "F@5 mm, aligned",
    "f_al_score_15": "F@15 mm, aligned",
}
SHOWN_2D = {
    "hands": "hands",
    "joints_2d_px": "2D error, px of a 224 crop",
    "error_of_box": "2D error, share of the box",
    "pck_0.1": "PCK at 0.1 of the box",
    "pck_0.2": "PCK at 0.2 of the box",
    "jitter_of_box": "jitter, share of the box",
    "label_jitter_of_box": "jitter of the labels",
}


def main() -> None:
    _keep_compiled()
    _meet_processes()
    predictor = inference.load(_CHECKPOINT.value, _HAND.value)
    if _PUBLISHED_SIGMA.value:
        predictor = dataclasses.replace(
            predictor, published_sigma=True, temperature=None, temperature_given=None
        )
    if _CALIBRATE.value and _PUBLISHED_SIGMA.value:
        raise UserError("--calibrate: the temperature is the head's; leave --published_sigma out")
    if _CALIBRATE.value and weights.file_of(_CHECKPOINT.value) == weights.SHIPPED:
        raise UserError(
            "--calibrate: the shipped weights are; name a run or a file: --checkpoint=..."
        )
    calibrate = _CHECKPOINT.value if _CALIBRATE.value else None
    takes = predictor.network.config.keypoints  # "map", "given" or "either"
    joints = _JOINTS.value or ("detector" if takes == "given" else "map")
    if {"map": "given", "detector": "map"}[joints] == takes:
        raise UserError(
            f"--joints={joints}: this network's are config.model.keypoints='{takes}'; leave the flag out"
        )
    detector = Detector() if joints == "detector" else None
    scores = evaluate.evaluate(
        predictor, _OUTPUT.value, _DATA_ROOT.value, _BATCH_SIZE.value, calibrate, detector
    )
    if jax.process_index():
        return  # the first process tells
    if scores is not None and "error_of_box" in scores:
        print("2D labels alone: scores of 2D, none of 3D, no pred.zip")
        for key, label in SHOWN_2D.items():
            value = "not measured" if scores[key] is None else f"{scores[key]:8.4g}"
            print(f"{label:28s} {value}")
        return
    print(f"{_OUTPUT.value}/pred.zip written")
    if scores is None:
        print("no evaluation_xyz.json and evaluation_verts.json in the data set: not scored")
        return
    for key, label in SHOWN.items():
        print(f"{label:28s} {scores[key]:8.3f}")
    for warning in scores["warnings"]:
        print(f"WARNING: {warning}")
    sigma = scores["uncertainty"]
    print(f"{'temperature of variances':28s} {sigma['temperature']:8.3g}")
    for kind in ("joints", "vertices"):
        after = sigma[kind]["after"]
        covered = ", ".join(f"{after[f'coverage_{p}']:.2f} in {p} %" for p in (50, 80, 95))
        print(
            f"{f'sigma of {kind}, mm':28s} {after['sigma_mm']:8.1f}  (error {after['error_mm']:.1f}; "
            f"rank correlation {after['rank_correlation']:.2f}; {covered})"
        )
    print(f"look at {_OUTPUT.value}/report.html")


if __name__ == "__main__":
    cli.run(main)
