"""A contact sheet of frames: crop, ground truth, prediction, uncertainty, texture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from amvur_jax.data.frame import Dataset, project
from amvur_jax.data.sample import make_sample
from amvur_jax.pictures import draw

if TYPE_CHECKING:
    from amvur_jax.inference import Predictor


def overview(predictor: Predictor, dataset: Dataset, count: int = 6) -> np.ndarray:
    """Draw what is predicted for `count` frames, evenly spread over a data set.

    Args:
      predictor: amvur_jax.inference.Predictor.
      dataset: of amvur_jax.data.open; its ground truth is drawn where it is there.
      count: rows.
    Returns:
      (H,W,3) uint8.
    """
    chosen = np.linspace(0, len(dataset) - 1, count).astype(int)
    frames, scale = [dataset.frame(int(i)) for i in chosen], predictor.crop_scale
    samples = [make_sample(frame, predictor.size, crop_scale=scale) for frame in frames]
    sharp = [make_sample(frame, draw.PANEL, crop_scale=scale) for frame in frames]
    images = np.stack([s["image"] for s in samples])
    outputs = jax.device_get(predictor(images))
    sigmas = draw.sigma_mm(predictor.sigma(outputs).vertices, predictor.temperature)
    rows, colors = [], draw.extent(sigmas)
    for n, i in enumerate(chosen):
        crop, K = sharp[n]["image"], sharp[n]["K"]
        row = {"crop": crop}
        if dataset.ground_truth:
            joints, vertices = (part[i] for part in dataset.ground_truth)
            truth = draw.mesh(vertices, predictor.hand.faces, K, draw.PANEL, image=crop)
            row["ground truth"] = draw.skeleton(truth, project(joints, K) / draw.PANEL)
        rows.append(row | draw.panels(predictor, outputs, images, n, crop, colors))
    return draw.sheet(rows)
