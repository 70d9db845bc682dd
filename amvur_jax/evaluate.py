"""Evaluation: predictions of a split, written in the official format and scored."""

import json
import os
import pathlib

import jax
import numpy as np
from tqdm import tqdm

from amvur_jax.data.frame import project
from amvur_jax.data.pipeline import evaluation_batches
from amvur_jax.data.sources import open_dataset
from amvur_jax.errors import UserError
from amvur_jax.export import PredictionWriter
from amvur_jax.metrics import Scores
from mano_jax.topology import MODEL_TO_HO3D

REPORT_SIZE = 224  # 2D errors are given in pixels of a crop of this side


def predictions(predictor, dataset, batch_size, workers=0):
    """Yield one dictionary a frame, in the dataset's order, with a progress bar.

    joints_cam (21,3) and vertices_cam (V,3) m, joints_2d (21,2) in [0,1] of the crop, the frame's
    wrist_cam (3,), K (3,3) of the crop and index.
    """

    def predict(batch):
        outputs = predictor(batch["image"])
        estimate = predictor.answer(outputs)
        return {
            "joints_cam": estimate.joints.mu,
            "vertices_cam": estimate.vertices.mu,
            "joints_2d": predictor.joints_2d(outputs),
        }

    batches = evaluation_batches(dataset, predictor.size, batch_size, workers=workers)
    with tqdm(total=len(dataset), unit="image", desc="evaluate", dynamic_ncols=True) as progress:
        for batch in batches:
            arrays = jax.device_get(predict(batch))
            arrays |= {name: batch[name] for name in ("wrist_cam", "K", "index")}
            for i in np.flatnonzero(batch["valid"]):
                yield {name: values[i] for name, values in arrays.items()}
            progress.update(int(batch["valid"].sum()))


class Scoring:
    """The official scores and the 2D error, over a stream of predictions."""

    def __init__(self, ground_truth):
        self.joints, self.vertices = ground_truth
        self.scores = Scores("ho3d")
        self.errors_2d_px = []

    def add(self, prediction, size):
        """Add one dictionary of `predictions`; size is the crop's side, px."""
        i = prediction["index"]
        joints, vertices = self.joints[i], self.vertices[i]
        move = prediction["wrist_cam"] - prediction["joints_cam"][0]
        self.scores.add(
            (prediction["joints_cam"] + move)[MODEL_TO_HO3D],
            prediction["vertices_cam"] + move,
            joints[MODEL_TO_HO3D],
            vertices,
        )
        target = project(joints, prediction["K"]) / size
        error = np.linalg.norm(prediction["joints_2d"] - target, axis=-1).mean()
        self.errors_2d_px.append(REPORT_SIZE * error)

    def summary(self):
        """The scores, with joints_2d_px, the mean 2D error in px of a 224 crop."""
        return self.scores.summary() | {"joints_2d_px": float(np.mean(self.errors_2d_px))}


def evaluate(predictor, output, data_root=None, batch_size=32):
    """Write output/pred.zip and, where ground truth is there, output/scores.json.

    Args:
      predictor: amvur_jax.inference.Predictor.
      output: folder.
      data_root: the data set; None for the one in the checkpoint's config.
      batch_size: images at a time.
    Returns:
      The scores, or None without ground truth.
    Raises:
      UserError: the data set is not as it should be, or the folder cannot be written to.
    """
    output = pathlib.Path(output)
    root = data_root or predictor.config["data"]["root"]
    dataset = open_dataset(root, "evaluation", hand=predictor.hand)
    ground_truth = dataset.ground_truth
    scoring = Scoring(ground_truth) if ground_truth else None
    workers = predictor.config["data"]["workers"]
    with PredictionWriter(output / "pred.zip", len(dataset)) as writer:
        for prediction in predictions(predictor, dataset, batch_size, workers):
            writer.add(
                prediction["joints_cam"], prediction["vertices_cam"], prediction["wrist_cam"]
            )
            if scoring:
                scoring.add(prediction, predictor.size)
    if not scoring:
        return None
    scores = scoring.summary()
    write_json(output / "scores.json", scores)
    return scores


def write_json(path, values):
    """Write a JSON file that appears whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose another folder"
        ) from None
