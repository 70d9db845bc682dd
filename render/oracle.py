"""A slow, plain rasteriser in numpy float64: the truth that the tests compare with.

It shares no formula with the fast one: it casts a ray through each pixel centre, solves for the
point where it meets each triangle in space, and keeps the nearest.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class OracleFragments:
    """Fields as in `render.Fragments` for one image (H, W, 1[, 3]), and the pixels in doubt.

    `doubtful` (H, W) bool marks the pixels where float32 rounding may decide: an outline passes
    within `doubt_px` of the centre, or the second face is within `doubt_depth` of the first.
    """

    pix_to_face: np.ndarray
    zbuf: np.ndarray
    bary_coords: np.ndarray
    dists: np.ndarray
    doubtful: np.ndarray


def rasterize(
    vertices_cam: np.ndarray,
    faces: np.ndarray,
    K: np.ndarray,
    image_size: tuple[int, int],
    doubt_px: float = 1e-3,
    doubt_depth: float = 1e-5,
) -> OracleFragments:
    """The nearest face of each pixel of one image; memory grows as F x H x W.

    Args:
      vertices_cam: (V, 3) camera frame, m.
      faces: (F, 3) int.
      K: (3, 3) intrinsics, px.
      image_size: (H, W).
      doubt_px: distance from an outline under which a pixel is doubtful, px.
      doubt_depth: relative depth difference under which a pixel is doubtful.

    Returns:
      the OracleFragments.
    """
    height, width = image_size
    corners = np.asarray(vertices_cam, np.float64)[np.asarray(faces)]
    K = np.asarray(K, np.float64)
    in_front = (corners[..., 2] > 0).all(axis=1)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    centres = np.stack([x, y], axis=-1)
    rays = np.concatenate([centres, np.ones((height, width, 1))], axis=-1) @ np.linalg.inv(K).T

    best_depth = np.full((height, width), np.inf)
    second_depth = best_depth.copy()
    pix_to_face = np.full((height, width), -1)
    barycentrics = np.full((height, width, 3), -1.0)
    dists = np.full((height, width), -1.0)
    outline = best_depth.copy()
    for face in np.flatnonzero(in_front):
        a, b, c = corners[face]
        distance = outline_distance(centres, (corners[face] / corners[face][:, 2:]) @ K.T[:, :2])
        volume = a @ np.cross(b, c)
        if abs(volume) < 1e-14 * max(np.linalg.norm(corners[face], axis=1)) ** 3:
            continue
        # ray = s0 a + s1 b + s2 c (Cramer): inside where all s >= 0; ray z = 1, so z = 1 / sum s.
        s = np.stack([rays @ np.cross(b, c), rays @ np.cross(c, a), rays @ np.cross(a, b)], axis=-1)
        s /= volume
        total = s.sum(axis=-1)
        inside = (s >= 0).all(axis=-1) & (total > 0)
        bary = s / np.where(total > 0, total, 1.0)[..., None]
        depth = np.where(inside, bary @ corners[face][:, 2], np.inf)
        outline = np.minimum(outline, distance)
        nearer = depth < best_depth
        second_depth = np.minimum(second_depth, np.where(nearer, best_depth, depth))
        best_depth = np.where(nearer, depth, best_depth)
        pix_to_face[nearer] = face
        barycentrics[nearer] = bary[nearer]
        dists[nearer] = -((distance[nearer] * 2.0 / min(image_size)) ** 2)
    empty = pix_to_face < 0
    depth = np.where(empty, 1.0, best_depth)
    close = (np.where(np.isfinite(second_depth), second_depth, np.inf) - depth) < (
        doubt_depth * depth
    )
    return OracleFragments(
        pix_to_face=pix_to_face[..., None],
        zbuf=np.where(empty, -1.0, best_depth)[..., None],
        bary_coords=barycentrics[..., None, :],
        dists=dists[..., None],
        doubtful=(outline < doubt_px) | (close & ~empty),
    )


def outline_distance(points: np.ndarray, triangle: np.ndarray) -> np.ndarray:
    """Distance of points (..., 2) to the outline of a triangle (3, 2)."""
    nearest = np.full(points.shape[:-1], np.inf)
    for start, end in zip(triangle, np.roll(triangle, -1, axis=0)):
        step = end - start
        length = max(step @ step, 1e-300)
        t = np.clip((points - start) @ step / length, 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(points - start - t[..., None] * step, axis=-1))
    return nearest
