"""Score anyone's predictions as the HO-3D and FreiHAND challenges do, locally, in a minute.

    python scripts/score.py --prediction=pred.zip --ground_truth=DIR/HO3D_v2 --dataset=ho3d --output=out

Reads pred.zip, pred.json or an .npz (one array (N, 21, 3), one (N, 778, 3)), ours or another system's, and
evaluation_xyz.json and evaluation_verts.json of the data set (public since November 2024 for HO-3D).
Writes the official scores.txt, scores.json with tables by joint and sequence and the ten worst frames, and
pck.png. What looks like a mistake in the file, such as millimetres or mirrored hands, is said.
"""

from absl import flags

from amvur_jax.data.layouts import PROGRAMS
from amvur_jax.runtime import cli
from amvur_jax.score import score_files, write_scores
from amvur_jax.scoring.scores import official_text

_PREDICTION = flags.DEFINE_string("prediction", None, "pred.zip, pred.json or .npz.")
_GROUND_TRUTH = flags.DEFINE_string(
    "ground_truth", None, "Folder of evaluation_xyz.json and evaluation_verts.json."
)
_DATASET = flags.DEFINE_enum("dataset", "ho3d", list(PROGRAMS), "Whose program's scores.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results.")
flags.mark_flags_as_required(["prediction", "ground_truth", "output"])


def main() -> None:
    scored = score_files(_PREDICTION.value, _GROUND_TRUTH.value, _DATASET.value)
    values = write_scores(scored, _OUTPUT.value)
    print(official_text(values, _DATASET.value), end="")
    print(
        f"\n{values['samples']} samples. PA-MPJPE {values['pa_mpjpe_mm']:.2f} mm, PA-MPVPE "
        f"{values['pa_mpvpe_mm']:.2f} mm; without mirrors {values['proper_pa_mpjpe_mm']:.2f} and "
        f"{values['proper_pa_mpvpe_mm']:.2f} mm"
    )
    for row in values["worst"][:3]:
        print(f"among the worst: {row['name']}, PA-MPVPE {row['pa_mpvpe_mm']:.1f} mm")
    for warning in values["warnings"]:
        print(f"WARNING: {warning}")
    print(f"{_OUTPUT.value}: scores.txt, scores.json, pck.png")


if __name__ == "__main__":
    cli.run(main)
