"""Slow, plain rasterisers in numpy float64: the truth that the tests compare with.

The hard one shares no formula with the fast one: it casts a ray through each pixel centre, solves
for the point where it meets each triangle in space, and keeps the nearest. The soft ones write
SoftRas' and PyTorch3D's definitions out face by face.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class OracleFragments:
    """Fields as in `render.Fragments` for one image (H, W, 1[, 3]), and the pixels in doubt.

    `doubtful` (H, W) bool marks the pixels where float32 rounding may decide: an outline passes
    within `doubt_px` of the centre, or within float32's step at its farthest corner, or the second
    face is within `doubt_depth` of the first.
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
    on_outline = np.zeros((height, width), bool)
    for face in np.flatnonzero(in_front):
        a, b, c = corners[face]
        screen = (corners[face] / corners[face][:, 2:]) @ K.T[:, :2]
        distance = outline_distance(centres, screen)
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
        on_outline |= distance < max(doubt_px, np.spacing(np.float32(np.abs(screen).max())))
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
        doubtful=on_outline | (close & ~empty),
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


def soft_face(
    corners: np.ndarray, K: np.ndarray, image_size: tuple[int, int], clip: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """One face at all pixel centres: PyTorch3D's depth, barycentrics and signed squared distance.

    Args:
      corners: (3, 3) camera frame, m.
      K: (3, 3) px.
      image_size: (H, W).
      clip: clip the barycentrics to the face.

    Returns:
      depth (H, W), barycentrics (H, W, 3), distance (H, W) in normalised units, negative inside;
      None where the face is not drawn.
    """
    height, width = image_size
    unit = 2.0 / min(image_size)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    centres = np.stack([x, y], axis=-1) * unit
    depth = corners[:, 2]
    if not (np.isfinite(corners).all() and (depth > 1e-8).all()):
        return None
    a, b, c = screen = (corners / depth[:, None]) @ K.T[:, :2] * unit

    def area(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (r[..., 0] - p[..., 0]) * (q[1] - p[..., 1]) - (r[..., 1] - p[..., 1]) * (
            q[0] - p[..., 0]
        )

    whole = area(a, b, c)
    if abs(whole) <= 1e-8:
        return None
    weights = np.stack([area(centres, q, r) for q, r in ((b, c), (c, a), (a, b))], axis=-1)
    weights = (
        weights
        / (whole + 1e-8)
        * np.array([depth[1] * depth[2], depth[2] * depth[0], depth[0] * depth[1]])
    )
    weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-8)
    inside = (weights > 0).all(axis=-1)
    if clip:
        weights = np.maximum(weights, 0.0)
        weights = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-5)
    distance = outline_distance(centres, screen) ** 2
    return weights @ depth, weights, np.where(inside, -distance, distance)


def rasterize_soft(
    vertices_cam: np.ndarray,
    faces: np.ndarray,
    K: np.ndarray,
    image_size: tuple[int, int],
    faces_per_pixel: int,
    blur_radius: float,
) -> dict[str, np.ndarray]:
    """The nearest faces of each pixel of one image, perspective-correct, clipped where blurred.

    Args:
      vertices_cam: (V, 3) camera frame, m.
      faces: (F, 3) int.
      K: (3, 3) px.
      image_size: (H, W).
      faces_per_pixel: P.
      blur_radius: normalised units, squared.

    Returns:
      the fields of `render.Fragments`, (H, W, P[, 3]), and all_dists (F, H, W), infinite where a
      face does not count.
    """
    corners = np.asarray(vertices_cam, np.float64)[np.asarray(faces)]
    depths = np.full((len(corners), *image_size), np.inf)
    barycentrics, dists = np.full((*depths.shape, 3), -1.0), np.full(depths.shape, np.inf)
    for i, face in enumerate(corners):
        drawn = soft_face(face, np.asarray(K, np.float64), image_size, blur_radius > 0)
        if drawn is not None:
            kept = (drawn[0] >= 0) & ((drawn[2] < 0) | (drawn[2] < blur_radius))
            depths[i], barycentrics[i], dists[i] = (
                np.where(kept, drawn[0], np.inf),
                drawn[1],
                drawn[2],
            )
            dists[i][~kept] = np.inf
    order = np.argsort(depths, axis=0, kind="stable")[:faces_per_pixel]
    taken = np.take_along_axis(depths, order, axis=0)
    empty = ~np.isfinite(taken)

    def layers(values: np.ndarray, order: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.take_along_axis(values, order, axis=0), 0, 2)

    empty_last = np.moveaxis(empty, 0, -1)
    return {
        "pix_to_face": np.where(empty_last, -1, np.moveaxis(order, 0, -1)),
        "zbuf": np.where(empty_last, -1.0, np.moveaxis(taken, 0, -1)),
        "bary_coords": np.where(
            empty_last[..., None], -1.0, layers(barycentrics, order[..., None])
        ),
        "dists": np.where(empty_last, -1.0, layers(dists, order)),
        "all_dists": dists,
    }


def silhouette(
    vertices_cam: np.ndarray,
    faces: np.ndarray,
    K: np.ndarray,
    image_size: tuple[int, int],
    sigma: float,
    blur_radius: float,
) -> np.ndarray:
    """1 - prod_f (1 - sigmoid(-d_f / sigma)) over all faces: (H, W); arguments as above."""
    dists = rasterize_soft(vertices_cam, faces, K, image_size, 1, blur_radius)["all_dists"]
    with np.errstate(over="ignore"):
        return 1.0 - np.prod(1.0 - 1.0 / (1.0 + np.exp(dists / sigma)), axis=0)
