"""Which vertices an image shows."""

import jax
import jax.numpy as jnp

from render.fragments import Fragments


def visible_vertices(fragments: Fragments, faces: jax.Array, num_vertices: int) -> jax.Array:
    """Marks the vertices of the faces that own at least one pixel; the gradient is zero.

    Args:
      fragments: of the mesh.
      faces: (F, 3) or (..., F, 3) int.
      num_vertices: V.

    Returns:
      (..., V) float32, 1 visible, 0 not.
    """
    shape = fragments.pix_to_face.shape
    batch = shape[:-3]
    faces = jnp.broadcast_to(faces, batch + faces.shape[-2:])

    def one(pix_to_face: jax.Array, faces: jax.Array) -> jax.Array:
        # Index F collects the empty pixels and is cut off.
        owner = jnp.where(pix_to_face >= 0, pix_to_face, faces.shape[0])
        owns = jnp.zeros(faces.shape[0] + 1).at[owner].set(1.0)[:-1]
        return jnp.zeros(num_vertices).at[faces.reshape(-1)].max(jnp.repeat(owns, 3))

    visible = jax.vmap(one)(
        fragments.pix_to_face.reshape(-1, shape[-3] * shape[-2] * shape[-1]),
        faces.reshape(-1, *faces.shape[-2:]),
    )
    return jax.lax.stop_gradient(visible.reshape(*batch, num_vertices))
