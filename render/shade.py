"""Colours of the pixels: interpolation over faces and Phong's light."""

import dataclasses

import jax
import jax.numpy as jnp

from render.fragments import Fragments
from render.gather import gather_columns

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
    flat = jnp.broadcast_to(vertices, batch + vertices.shape[-2:]).reshape(-1, 3)
    count = vertices.shape[-2]
    index = _flat_faces(faces, batch, count)
    corner = flat[index]
    normal = jnp.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = jnp.zeros_like(flat).at[index.reshape(-1)].add(jnp.repeat(normal, 3, axis=0))
    unit = _unit([total[:, 0], total[:, 1], total[:, 2]])
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
    return jnp.stack(_interpolate(fragments, faces, attributes), axis=-1)


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
    channels = colors.shape[-1]
    batch = fragments.pix_to_face.shape[:-3]
    parts = [colors, vertex_normals(vertices_cam, faces), vertices_cam]
    seen = _interpolate(
        fragments,
        faces,
        jnp.concatenate([jnp.broadcast_to(p, batch + p.shape[-2:]) for p in parts], axis=-1),
    )

    def per_image(value):
        value = jnp.broadcast_to(jnp.asarray(value, seen[0].dtype), batch)
        return value[..., None, None, None]

    light_at = jnp.asarray(light.position_cam, seen[0].dtype)
    point = seen[channels + 3 :]
    normal = _unit(seen[channels : channels + 3])
    to_light = _unit([per_image(light_at[..., i]) - point[i] for i in range(3)])
    cosine = _dot(normal, to_light)
    strength = per_image(light.ambient) + per_image(light.diffuse) * jnp.maximum(cosine, 0.0)
    shaded = [color * strength for color in seen[:channels]]
    if light.specular is not None:
        reflected = [2.0 * cosine * n - ray for n, ray in zip(normal, to_light)]
        toward = -_dot(_unit(point), reflected)
        lit = (cosine > 0) & (toward > 0)
        # Double where: the power of a number <= 0 has no gradient.
        highlight = jnp.where(lit, jnp.where(lit, toward, 1.0) ** per_image(light.shininess), 0.0)
        shaded = [color + per_image(light.specular) * highlight for color in shaded]
    return jnp.stack([jnp.where(fragments.mask, color, 0.0) for color in shaded], axis=-1)


def _interpolate(fragments, faces, attributes):
    """`interpolate` as a list of channels: XLA is slow on minor axes of 3."""
    shape = fragments.pix_to_face.shape
    batch = shape[:-3]
    count, channels = attributes.shape[-2:]
    flat = jnp.broadcast_to(attributes, (*batch, count, channels)).reshape(-1, channels)
    index = _flat_faces(faces, batch, count)
    table = flat[index].reshape(-1, 3 * channels)
    pix_to_face = fragments.pix_to_face.reshape(-1, *shape[-3:])
    first = jnp.arange(pix_to_face.shape[0]) * faces.shape[-2]
    face = jnp.where(pix_to_face >= 0, pix_to_face + first[:, None, None, None], table.shape[0])
    corners = [c.reshape(shape) for c in gather_columns(table, face)]
    bary = [jnp.where(fragments.mask, fragments.bary_coords[..., k], 0.0) for k in range(3)]
    return [
        sum(bary[k] * corners[k * channels + channel] for k in range(3))
        for channel in range(channels)
    ]


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(vector):
    """vector / max(norm, 1e-6) of three coordinates, with a finite gradient at zero."""
    squared = _dot(vector, vector)
    long = squared > NORM_FLOOR**2
    scale = jnp.where(long, jax.lax.rsqrt(jnp.where(long, squared, 1.0)), 1 / NORM_FLOOR)
    return [scale * v for v in vector]


def _flat_faces(faces, batch, num_vertices):
    """(N F, 3) indices into (N V) flattened vertices."""
    faces = jnp.broadcast_to(faces, batch + faces.shape[-2:]).reshape(-1, *faces.shape[-2:])
    first = jnp.arange(faces.shape[0])[:, None, None] * num_vertices
    return (faces + first).reshape(-1, 3)
