"""The soft silhouette of all faces: no number of faces per pixel, no sorting.

alpha = 1 - prod_f (1 - sigmoid(-d_f / sigma)) (Liu et al., ICCV 2019) is a sum of logarithms over
faces: they are added up block by block, forward and backward.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from render.apart import apart
from render.blend import blur_radius
from render.blocks import BLOCK, BLOCK_READ, SIDE, strip_grid, strip_rows, to_image, to_strips
from render.camera import ndc_per_pixel
from render.soft import nearest_edge, soft_drawable, soft_pairs
from render.triangles import screen_corners

CHUNK = 4096  # pairs of a face and a block of 64 pixels


@functools.partial(jax.jit, static_argnames=("image_size", "sigma"))
def silhouette(
    vertices_cam: jax.Array,
    faces: jax.Array,
    K: jax.Array,
    image_size: tuple[int, int],
    sigma: float = 1e-4,
) -> jax.Array:
    """Soft coverage of the image by a mesh, all faces counted; differentiable in vertices and K.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int vertex indices.
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.
      sigma: squared softness, normalised units (the shorter image side spans [-1, 1]), static;
        beyond the distance where a face's coverage falls to 1e-4 it counts as 0.

    Returns:
      (..., H, W) in [0, 1].

    Raises:
      ValueError: if pixels, vertices or faces are more than an int32 can number.
    """
    corners, batch = screen_corners(vertices_cam, faces, K)
    if not corners.shape[0]:
        return jnp.zeros((*batch, *image_size))
    log_miss = _log_miss(image_size, sigma, corners)
    return -jnp.expm1(log_miss).reshape(*batch, *image_size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _log_miss(image_size: tuple[int, int], sigma: float, corners: jax.Array) -> jax.Array:
    """Logarithm (N, H, W) of the share of light that passes all faces (N, F, 9)."""
    walk = _Walk(image_size, sigma, corners)

    def step(face: jax.Array, row: jax.Array, strip: jax.Array, total: jax.Array) -> jax.Array:
        start, x, y = walk.places(face, row, strip)
        added = walk.log_miss(face, walk.columns(face), x, y)
        return lax.scatter_add(total, start, added, BLOCK, mode="promise_in_bounds")

    total = walk.pairs.walk(CHUNK, step, jnp.zeros(walk.buffer))
    return to_image(total, corners.shape[0], image_size)


def _forward(
    image_size: tuple[int, int], sigma: float, corners: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return _log_miss(image_size, sigma, corners), corners


def _backward(
    image_size: tuple[int, int], sigma: float, corners: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array]:
    walk = _Walk(image_size, sigma, corners)
    cotangent = to_strips(cotangent)

    def step(
        face: jax.Array, row: jax.Array, strip: jax.Array, total: list[jax.Array]
    ) -> list[jax.Array]:
        start, x, y = walk.places(face, row, strip)
        columns = apart(face[0], walk.columns, face)
        signed, edge, along = apart(face[0], lambda c: walk.nearest(face, c, x, y), columns)

        def pull(signed: jax.Array) -> jax.Array:
            """The result's gradient to the squared distance, with the 2 of the square's own derivative."""
            given = lax.gather(cotangent, start, BLOCK_READ, (SIDE, SIDE), mode="promise_in_bounds")
            pulled = given * jax.nn.sigmoid(-signed / sigma) * (2.0 * walk.unit / sigma)
            return jnp.where(signed < jnp.inf, jnp.where(signed < 0, -pulled, pulled), 0.0)

        pulled = apart(face[0], pull, signed)
        # The nearest point is a mean of the corners, by weights of which one is 0.
        first, last = jnp.where(edge == 2, 0.0, 1.0 - along), jnp.where(edge == 0, 0.0, along)
        weights = [first, 1.0 - first - last, last]
        to_point = [
            pulled
            * walk.unit
            * functools.reduce(jnp.add, [w * (c - centre) for w, c in zip(weights, columns[k::2])])
            for k, centre in enumerate((x, y))
        ]
        added = [jnp.sum(w * g, axis=(1, 2)) for w in weights for g in to_point]
        return [t.at[face].add(a, mode="promise_in_bounds") for t, a in zip(total, added)]

    total = [jnp.zeros(walk.corners.shape[0]) for _ in range(6)]
    total = walk.pairs.walk(CHUNK, step, total)
    zero = jnp.zeros_like(total[0])
    rows = jnp.stack([*total[0:2], zero, *total[2:4], zero, *total[4:6], zero], axis=-1)
    return (rows[:-1].reshape(corners.shape).astype(corners.dtype),)


_log_miss.defvjp(_forward, _backward)


class _Walk:
    """The (face, block) pairs of a silhouette, and what they look like."""

    def __init__(self, image_size: tuple[int, int], sigma: float, corners: jax.Array) -> None:
        self.images, self.num_faces = corners.shape[:2]
        self.across, self.rows = strip_grid(image_size)
        self.buffer = (strip_rows(self.images, image_size), SIDE)
        self.unit, self.sigma, self.radius = ndc_per_pixel(image_size), sigma, blur_radius(sigma)
        corners = jnp.pad(corners.astype(jnp.float32).reshape(-1, 9), ((0, 1), (0, 0)))
        drawn = soft_drawable(corners, self.unit).at[-1].set(False)
        self.pairs = soft_pairs(corners, image_size, self.radius, drawn)
        self.corners = jnp.where(drawn[:, None], corners, 0.0)

    def places(
        self, face: jax.Array, row: jax.Array, strip: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Where the blocks of pairs start in the buffer (C, 1), and the pixel centres, px."""
        image = jnp.minimum(face // max(self.num_faces, 1), self.images - 1)
        offset = jnp.arange(SIDE) + 0.5
        x = (strip[:, None] * SIDE + offset)[:, None, :]
        y = (row[:, None] + offset)[:, :, None]
        return ((image * self.across + strip) * self.rows + row)[:, None], x, y

    def columns(self, face: jax.Array) -> list[jax.Array]:
        """x and y of the corners of faces, six arrays (C, 1, 1)."""
        seen = self.corners.at[face].get(mode="promise_in_bounds")
        return [seen[:, k, None, None] for k in (0, 1, 3, 4, 6, 7)]

    def log_miss(
        self, face: jax.Array, columns: list[jax.Array], x: jax.Array, y: jax.Array
    ) -> jax.Array:
        """log(1 - sigmoid(-d / sigma)) of faces at pixels, 0 beyond the blur radius."""
        return jax.nn.log_sigmoid(self.nearest(face, columns, x, y)[0] / self.sigma)

    def nearest(
        self, face: jax.Array, columns: list[jax.Array], x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Signed squared distance of pixels to faces, infinite beyond the blur radius; on which edge the
        nearest point of the outline lies (01, 02, 12), and how far along."""
        px = [(c - x) * self.unit for c in columns[0::2]]
        py = [(c - y) * self.unit for c in columns[1::2]]
        side = [px[i - 2] * py[i - 1] - px[i - 1] * py[i - 2] for i in range(3)]
        inside = (side[0] > 0) & (side[1] > 0) & (side[2] > 0)
        inside |= (side[0] < 0) & (side[1] < 0) & (side[2] < 0)
        distance, edge, along = nearest_edge(px, py)
        drawn = (face < self.corners.shape[0] - 1)[:, None, None]
        near = drawn & (inside | (distance < self.radius))
        signed = jnp.where(inside, -distance, distance)
        return jnp.where(near, signed, jnp.inf), edge, along
