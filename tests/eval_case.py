"""The recorded case of the official programs, as arrays and as the files that they read."""

import json
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
RECORDED = json.loads((DATA / "eval_scores.json").read_text())


def arrays():
    """Predicted joints (20,21,3) and vertices (20,778,3), then the true ones; metres, float64."""
    with np.load(DATA / "eval_case.npz") as file:
        names = ("pred_xyz", "pred_verts", "gt_xyz", "gt_verts")
        return [np.float64(file[name]) for name in names]


def write_truth(folder, joints, vertices, names=None):
    """A folder of ground truth."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation_xyz.json").write_text(json.dumps(joints.tolist()))
    (folder / "evaluation_verts.json").write_text(json.dumps(vertices.tolist()))
    if names:
        (folder / "evaluation.txt").write_text("\n".join(names) + "\n")


def write_prediction(path, joints, vertices):
    """pred.json."""
    path.write_text(json.dumps([joints.tolist(), vertices.tolist()]))
