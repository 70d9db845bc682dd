"""A training batch with its labels drawn: what the network sees, and whether the labels fit it."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from amvur_jax.pictures import draw
from mano_jax import HandModel

TITLES = ("picture", "2D joints", "3D joints by K", "mesh by K")


def batch_picture(batch: Mapping[str, np.ndarray], hand: HandModel, count: int = 6) -> np.ndarray:
    """A sheet with one row a sample; labels that a sample lacks are not drawn.

    Args:
      batch: dict of the training iterator.
      hand: the mano_jax.HandModel of the labels.
      count: how many samples.

    Returns:
      (H, W, 3) uint8.
    """
    posed = hand.with_shape(jnp.asarray(batch["betas"])).with_pose(
        jnp.asarray(batch["pose"]).reshape(-1, 16, 3)
    )
    vertices = np.asarray(posed.vertices) + batch["trans"][:, None]
    rows = []
    for i in range(min(count, len(vertices))):
        image, K = batch["image"][i], batch["K"][i]
        size = len(image)
        big = draw.enlarge(image)
        pictures = [big] * len(TITLES)
        if batch["joints_valid"][i].any():
            pictures[1] = draw.skeleton(big, batch["joints_2d"][i])
        if batch["has_3d"][i]:
            seen = batch["joints_cam"][i] @ K.T
            pictures[2] = draw.skeleton(big, seen[:, :2] / seen[:, 2:] / size)
        if batch["has_mesh"][i]:
            pictures[3] = draw.mesh(vertices[i], hand.faces, K, size, image=image)
        rows.append(dict(zip(TITLES, pictures)))
    return draw.sheet(rows)


def contact_sheet(batch: Mapping[str, np.ndarray], columns: int = 8) -> np.ndarray:
    """The pictures of a batch side by side, every second row with its 2D joints.

    Args:
      batch: dict of the training iterator.
      columns: pictures in a row; what does not fill a row is left out.

    Returns:
      (H, W, 3) uint8.
    """
    rows: list[np.ndarray] = []
    for start in range(0, len(batch["image"]) - columns + 1, columns):
        chosen = range(start, start + columns)
        big = [draw.enlarge(batch["image"][i]) for i in chosen]
        if len(rows) % 2:
            big = [draw.skeleton(x, batch["joints_2d"][i]) for x, i in zip(big, chosen)]
        rows.append(np.concatenate(big, axis=1))
    return np.concatenate(rows)
