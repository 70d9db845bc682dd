"""Scoring: anyone's predictions against the published ground truth, as numbers, tables and a picture."""

import contextlib
import pathlib
from typing import Any

from amvur_jax.data.readers import ground_truth
from amvur_jax.errors import UserError
from amvur_jax.files.whole import write_json, write_whole
from amvur_jax.predictions.reader import open_predictions
from amvur_jax.scoring import plots
from amvur_jax.scoring.scores import official_text
from amvur_jax.scoring.tables import Scored, Uneven, score


def score_files(
    prediction: str | pathlib.Path, root: str | pathlib.Path, dataset: str = "ho3d"
) -> Scored:
    """Score a file of predictions against the ground truth in a folder.

    Args:
      prediction: pred.zip, pred.json or .npz.
      root: the folder of evaluation_xyz.json and evaluation_verts.json.
      dataset: a key of amvur_jax.data.layouts.PROGRAMS.

    Returns:
      Scored.

    Raises:
      UserError: a file is missing or malformed, or there are not as many predictions as samples.
    """
    gt_joints = ground_truth.joints(root)
    names = ground_truth.sample_names(root)
    if names and len(names) != len(gt_joints):
        raise UserError(
            f"{root}: evaluation.txt names {len(names)} samples, {ground_truth.JOINTS_FILE} has "
            f"{len(gt_joints)}; take both from the same release"
        )
    with (
        open_predictions(prediction) as (joints, vertices),
        contextlib.closing(ground_truth.vertices(root)) as gt_vertices,
    ):
        if len(joints) != len(gt_joints):
            raise UserError(
                f"{prediction}: {len(joints)} samples, but {pathlib.Path(root)} has {len(gt_joints)}; "
                "predict the whole evaluation split, in its order"
            )
        try:
            return score(joints, vertices, gt_joints, gt_vertices, dataset, names)
        except Uneven as error:
            raise UserError(
                f"{root}: {ground_truth.VERTICES_FILE} has not the {len(gt_joints)} samples of "
                f"{ground_truth.JOINTS_FILE} ({error}); take both from the same release"
            ) from error


def write_scores(scored: Scored, output: str | pathlib.Path) -> dict[str, Any]:
    """Write scores.json, scores.txt and pck.png into a folder; returns what scores.json holds.

    Raises:
      UserError: the folder cannot be written to.
    """
    output, values = pathlib.Path(output), scored.summary()
    text = official_text(values, scored.scores.dataset)
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_whole(output / "scores.txt", text.encode())
        write_whole(output / "pck.png", plots.png(plots.pck, scored.scores))
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    write_json(output / "scores.json", values)
    return values
