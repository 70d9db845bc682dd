"""Reading rows of a table at the pixels, channel by channel."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def gather_columns(table: jax.Array, index: jax.Array) -> list[jax.Array]:
    """Columns of table[index], as a list: XLA is slow on minor axes of 3.

    Args:
      table: (M, C).
      index: (N, ...) int, N images, from 0 to M; M, as of an empty pixel, reads zeros.

    Returns:
      C arrays (N, ...).
    """
    seen = jnp.concatenate([table, jnp.zeros((1, table.shape[1]), table.dtype)])[index]
    return [seen[..., k] for k in range(table.shape[1])]


def _forward(table, index):
    return gather_columns(table, index), (index, table.shape[0])


def _backward(residual, gradients):
    index, rows = residual
    images = index.shape[0]

    # A loop over images makes XLA's CPU backend compute the gradients once, before the scatter,
    # rather than anew inside of it for each column.
    def add_image(total, image):
        image_index, image_gradients = image
        return total.at[image_index].add(jnp.stack(image_gradients, axis=-1)), None

    total = jnp.zeros((rows + 1, len(gradients)), gradients[0].dtype)
    flat = [gradient.reshape(images, -1) for gradient in gradients]
    total, _ = jax.lax.scan(add_image, total, (index.reshape(images, -1), flat))
    return total[:-1], None


gather_columns.defvjp(_forward, _backward)
