"""Restore a checkpoint, predict the evaluation split, write pred.zip and, with ground truth, scores.json.

    python scripts/evaluate.py --checkpoint=runs/demo --output=runs/demo

pred.zip is in the official format of the HO-3D challenge: joints and vertices in metres, OpenGL axes,
the order of evaluation.txt.
"""

from absl import flags

from amvur_jax import cli, evaluate, inference

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "A run's folder, or one checkpoints/STEP of it."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for pred.zip and scores.json.")
_DATA_ROOT = flags.DEFINE_string("data_root", None, "Data set; default: the checkpoint's own.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images at a time.", lower_bound=1)
flags.mark_flags_as_required(["checkpoint", "output"])

SHOWN = {
    "joints_2d_px": "2D error, px of a 224 crop",
    "root_mpjpe_mm": "wrist-relative MPJPE, mm",
    "pa_mpjpe_mm": "PA-MPJPE, mm",
    "pa_mpvpe_mm": "PA-MPVPE, mm",
    "f_al_score_5": "F@5 mm, aligned",
    "f_al_score_15": "F@15 mm, aligned",
}


def main():
    predictor = inference.load(_CHECKPOINT.value)
    scores = evaluate.evaluate(predictor, _OUTPUT.value, _DATA_ROOT.value, _BATCH_SIZE.value)
    print(f"{_OUTPUT.value}/pred.zip written")
    if scores is None:
        print("no evaluation_xyz.json and evaluation_verts.json in the data set: not scored")
        return
    for key, label in SHOWN.items():
        print(f"{label:28s} {scores[key]:8.3f}")


if __name__ == "__main__":
    cli.run(main)
