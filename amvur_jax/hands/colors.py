"""Colours for the vertices of a hand, and what glTF wants of them."""

from __future__ import annotations

import cv2
import numpy as np

GREY = 0.7  # of a hand of which nothing is seen


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Outward unit normals (V,3) of vertices (V,3), means over faces (F,3), by area."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    normals, each = np.zeros_like(vertices), np.cross(b - a, c - a)
    for i in range(3):
        np.add.at(normals, faces[:, i], each)
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30)


def off_picture(
    image: np.ndarray, vertices_cam: np.ndarray, faces: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """The colours (V,3) in [0, 1] that a photograph shows where the surface faces its camera.

    Vertices that face away or lie beside the picture get the median of those that don't.

    Args:
      image: (H, W, 3) uint8 RGB.
      vertices_cam: (V,3) m.
      faces: (F,3) counter-clockwise from outside.
      K: (3,3) px.
    """
    seen_at = vertices_cam @ K.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = seen_at[:, :2] / seen_at[:, 2:]
    facing = (vertex_normals(vertices_cam, faces) * vertices_cam).sum(-1) < 0
    inside = ((pixels > 0) & (pixels < image.shape[1::-1])).all(-1)
    seen = facing & inside & (vertices_cam[:, 2] > 0)
    if not seen.any():
        return np.full(vertices_cam.shape, GREY)
    # OpenCV puts pixel centres at integers, ours are half a pixel further.
    x, y = (pixels[seen] - 0.5).astype(np.float32).T
    found = cv2.remap(
        image, x[:, None], y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    colors = np.empty(vertices_cam.shape)
    colors[seen] = found[:, 0] / 255
    colors[~seen] = np.median(colors[seen], 0)
    return colors


def linear(colors: np.ndarray) -> np.ndarray:
    """Linear light of sRGB numbers, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
