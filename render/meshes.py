"""Several meshes as one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def join_meshes(
    meshes: Sequence[tuple[jax.Array, jax.Array, jax.Array]],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Joins meshes into one scene, so that they hide each other.

    Args:
      meshes: (vertices (..., V_i, 3) m, faces (F_i, 3) or (..., F_i, 3) int, colors (..., V_i, C))
        of each mesh, all in one frame.

    Returns:
      vertices (..., V, 3), faces (F, 3) or (..., F, 3), colors (..., V, C) of the scene; the
      meshes' vertices and faces follow each other in the order given.

    Raises:
      ValueError: if there is no mesh.
    """
    if not meshes:
        raise ValueError("join_meshes needs at least one mesh")
    batch = jnp.broadcast_shapes(*(a.shape[:-2] for v, _, c in meshes for a in (v, c)))
    face_batch = jnp.broadcast_shapes(*(f.shape[:-2] for _, f, _ in meshes))
    vertices, faces, colors = [], [], []
    first = 0
    for mesh_vertices, mesh_faces, mesh_colors in meshes:
        vertices.append(jnp.broadcast_to(mesh_vertices, batch + mesh_vertices.shape[-2:]))
        faces.append(jnp.broadcast_to(mesh_faces, face_batch + mesh_faces.shape[-2:]) + first)
        colors.append(jnp.broadcast_to(mesh_colors, batch + mesh_colors.shape[-2:]))
        first += mesh_vertices.shape[-2]
    return (
        jnp.concatenate(vertices, axis=-2),
        jnp.concatenate(faces, axis=-2),
        jnp.concatenate(colors, axis=-2),
    )
