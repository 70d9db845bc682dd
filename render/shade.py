"""Colours of the pixels: interpolation over faces and Phong's light."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from render.camera import pixel_rays
from render.covered import PixelFunction, map_covered
from render.fragments import Fragments
from render.triangles import nearness, planes, screen_corners, take_vertices

NORM_FLOOR = 1e-6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PointLight:
    """One white point light; ambient, diffuse, specular are products of light and material.

    Attributes:
      position_cam: (..., 3) camera frame, m; may differ per image.
      ambient, diffuse: strengths, each a number or (...) per image.
      specular: strength of the highlight, likewise; None (no highlight) is cheaper than 0.
      shininess: exponent of the highlight.
    """

    position_cam: jax.Array | tuple[float, float, float] = (0.0, 0.0, -2.0)
    ambient: jax.Array | float = 0.5
    diffuse: jax.Array | float = 0.3
    specular: jax.Array | float | None = None
    shininess: jax.Array | float = 64.0


def vertex_normals(vertices: jax.Array, faces: jax.Array) -> jax.Array:
    """Area-weighted unit normals: normalised sum of (v1 - v0) x (v2 - v0) over a vertex's faces.

    Args:
      vertices: (..., V, 3), any frame, m.
      faces: (F, 3) or (..., F, 3) int.

    Returns:
      (..., V, 3); shorter than 1 only where the sum is below 1e-6 m^2.
    """
    batch = jnp.broadcast_shapes(vertices.shape[:-2], faces.shape[:-2])
    faces = jnp.broadcast_to(faces, batch + faces.shape[-2:])
    images, count = math.prod(batch), vertices.shape[-2]
    corner = take_vertices(vertices, faces, batch)
    a, b, c = ([corner[:, 3 * i + k] for k in range(3)] for i in range(3))
    u, v = [p - q for p, q in zip(b, a)], [p - q for p, q in zip(c, a)]
    normal = jnp.stack([u[i - 2] * v[i - 1] - u[i - 1] * v[i - 2] for i in range(3)], axis=-1)
    first = jnp.arange(images, dtype=jnp.int32)[:, None, None] * count
    index = (faces.reshape(images, faces.shape[-2], 3) + first).reshape(-1, 3)
    total = jnp.zeros((images * count, 3), vertices.dtype)
    for i in range(3):
        total = total.at[index[:, i]].add(normal)
    unit = _unit([total[:, k] for k in range(3)])
    return jnp.stack(unit, axis=-1).reshape(*batch, count, 3)


def interpolate(fragments: Fragments, faces: jax.Array, attributes: jax.Array) -> jax.Array:
    """Per-vertex attributes at the pixels, by the barycentric coordinates.

    Args:
      fragments: of the faces.
      faces: (F, 3) or (..., F, 3) int.
      attributes: (..., V, C).

    Returns:
      (..., H, W, P, C), 0 where empty.
    """
    return _by_barycentrics(_as_they_are, fragments, faces, [attributes])


def shade(
    fragments: Fragments,
    vertices_cam: jax.Array,
    faces: jax.Array,
    colors: jax.Array,
    light: PointLight | None,
) -> jax.Array:
    """Colours of the drawn pixels, Phong-shaded or (light None) as they are.

    colour * (ambient + diffuse max(0, n.l)) + specular max(0, v.r)^shininess, one-sided, where n
    is the interpolated vertex normal (Phong, 1975).

    Args:
      fragments: of the mesh.
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int.
      colors: (..., V, C).
      light: the light, or None.

    Returns:
      (..., H, W, P, C), 0 where empty.
    """
    if light is None:
        return interpolate(fragments, faces, colors)
    batch = fragments.pix_to_face.shape[:-3]
    normals = vertex_normals(vertices_cam, faces)
    return _by_barycentrics(
        _lit_at_place,
        fragments,
        faces,
        [colors, normals, vertices_cam],
        light_numbers(light, batch, colors.dtype),
    )


def shade_faces(
    pix_to_face: jax.Array,
    vertices_cam: jax.Array,
    faces: jax.Array,
    colors: jax.Array,
    K: jax.Array,
    light: PointLight | None,
    background: float = 0.0,
) -> jax.Array:
    """`shade` of faces that cover the pixels' centres, in one pass that needs no other fragments.

    The same values and gradients as `shade` of the Fragments of `rasterize`, several times cheaper.

    Args:
      pix_to_face: (..., H, W, P) int, of `rasterize`.
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int.
      colors: (..., V, C).
      K: (..., 3, 3) intrinsics, px.
      light: the light, or None for the colours as they are.
      background: what all channels hold where empty.

    Returns:
      (..., H, W, P, C).
    """
    corners, batch = screen_corners(vertices_cam, faces, K)
    shape, channels = pix_to_face.shape, colors.shape[-1]
    attributes, of_images = [colors], []
    if light is not None:
        attributes.append(vertex_normals(vertices_cam, faces))
        inverse = jnp.broadcast_to(pixel_rays(K), (*batch, 2, 3)).reshape(-1, 6)
        of_images = [inverse[:, k] for k in range(6)] + light_numbers(light, batch, colors.dtype)
    # By perspective, what is affine on the screen is 1/z and attribute/z.
    near = nearness(vertices_cam[..., 2:])
    rows = corner_values([near, *(near * a for a in attributes)], faces, batch)
    (image,) = map_covered(
        functools.partial(_colors_of_planes, channels),
        pix_to_face.reshape(-1, *shape[-3:]),
        *planes(corners, rows, (shape[-3], shape[-2])),
        image_values=of_images,
        empty=((background,) * channels,),
        spare=(1.0,) + (0.0,) * (rows.shape[-1] - 1),
    )
    return image.reshape(*shape, channels)


def _colors_of_planes(
    channels: int,
    values: Sequence[jax.Array],
    x: jax.Array,
    y: jax.Array,
    of_image: Sequence[jax.Array],
) -> list[jax.Array]:
    depth = 1.0 / values[0]
    seen = [value * depth for value in values[1:]]
    if not of_image:
        return seen
    ray = [of_image[3 * k] * x + of_image[3 * k + 1] * y + of_image[3 * k + 2] for k in range(2)]
    place = [ray[0] * depth, ray[1] * depth, depth]
    return lit(seen[:channels], seen[channels:], place, of_image[6:])


def _lit_at_place(
    values: Sequence[jax.Array], x: jax.Array, y: jax.Array, light: Sequence[jax.Array]
) -> list[jax.Array]:
    *color, nx, ny, nz, px, py, pz = values
    return lit(color, [nx, ny, nz], [px, py, pz], light)


def _as_they_are(
    values: list[jax.Array], x: jax.Array, y: jax.Array, of_image: Sequence[jax.Array]
) -> list[jax.Array]:
    return values


def _by_barycentrics(
    function: PixelFunction,
    fragments: Fragments,
    faces: jax.Array,
    attributes: Sequence[jax.Array],
    of_images: Sequence[jax.Array] = (),
) -> jax.Array:
    """function of attributes [(..., V, C_i)] interpolated by barycentrics: (..., H, W, P, C_0)."""
    shape = fragments.pix_to_face.shape
    (image,) = map_covered(
        function,
        fragments.pix_to_face.reshape(-1, *shape[-3:]),
        corner_values(attributes, faces, shape[:-3]),
        basis=[fragments.bary_coords[..., k].reshape(-1, *shape[-3:]) for k in range(3)],
        image_values=of_images,
        empty=((0.0,) * attributes[0].shape[-1],),
    )
    return image.reshape(*shape, image.shape[-1])


def corner_values(
    attributes: Sequence[jax.Array], faces: jax.Array, batch: tuple[int, ...]
) -> jax.Array:
    """Attributes [(..., V, C_i)] at the corners of faces: (N, F, 3, C), C the sum of C_i."""
    joined = jnp.concatenate(
        [jnp.broadcast_to(a, (*batch, *a.shape[-2:])) for a in attributes], axis=-1
    )
    values = take_vertices(joined, faces, batch)
    return values.reshape(math.prod(batch), faces.shape[-2], 3, joined.shape[-1])


def light_numbers(light: PointLight, batch: tuple[int, ...], dtype: DTypeLike) -> list[jax.Array]:
    """The light's numbers, arrays (N,), those of the highlight (if there is one) at the end."""
    position = jnp.asarray(light.position_cam, dtype)
    numbers = [light.ambient, light.diffuse, *(position[..., k] for k in range(3))]
    if light.specular is not None:
        numbers += [light.specular, light.shininess]
    return [jnp.broadcast_to(jnp.asarray(n, dtype), batch).reshape(-1) for n in numbers]


def lit(
    color: Sequence[jax.Array],
    normal: Sequence[jax.Array],
    place: Sequence[jax.Array],
    light: Sequence[jax.Array],
) -> list[jax.Array]:
    """Phong's colours of a surface with a normal (of any length) at a place, camera frame."""
    ambient, diffuse, *position = light[:5]
    normal = _unit(normal)
    to_light = _unit([a - b for a, b in zip(position, place)])
    cosine = _dot(normal, to_light)
    strength = ambient + diffuse * jnp.maximum(cosine, 0.0)
    shaded = [c * strength for c in color]
    if len(light) > 5:
        specular, shininess = light[5:]
        reflected = [2.0 * cosine * n - ray for n, ray in zip(normal, to_light)]
        toward = -_dot(_unit(place), reflected)
        lit = (cosine > 0) & (toward > 0)
        # Double where: the power of a number <= 0 has no gradient.
        highlight = jnp.where(lit, jnp.where(lit, toward, 1.0) ** shininess, 0.0)
        shaded = [c + specular * highlight for c in shaded]
    return shaded


def _dot(a: Sequence[jax.Array], b: Sequence[jax.Array]) -> jax.Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(vector: Sequence[jax.Array]) -> list[jax.Array]:
    """vector / max(norm, 1e-6) of three coordinates, with a finite gradient at zero."""
    squared = _dot(vector, vector)
    long = squared > NORM_FLOOR**2
    scale = jnp.where(long, jax.lax.rsqrt(jnp.where(long, squared, 1.0)), 1 / NORM_FLOOR)
    return [scale * v for v in vector]
