"""A stage of a loop's body whose results are stored before anything reads them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def apart(i: jax.Array, function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments), in a program of its own where XLA compiles for a CPU.

    There a fusion has one result, and what several fusions read is computed anew in each. XLA does not see
    through a condition; elsewhere a condition would cost more than it saves.

    Args:
      i: a number that is not negative, of which XLA does not know that: the loop's.
      function: of arrays, or trees of them, to the same.
      arguments: its own.
    """

    def nothing(*arguments: Any) -> Any:
        shapes = jax.eval_shape(function, *arguments)
        return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

    def stored(*arguments: Any) -> Any:
        return lax.cond(i >= 0, function, nothing, *arguments)

    return lax.platform_dependent(*arguments, cpu=stored, default=function)
