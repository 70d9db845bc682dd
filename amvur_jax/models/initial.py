"""How parameters begin. NumPy draws them: there is no program to compile.

HRNet-W64's 1,333 arrays as one program of JAX's draws took XLA longer to compile than the training step, 89 s
beside 72, and 22 s to run (jax 0.12, an EPYC with two cores); here they are there after 5.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

Rng: TypeAlias = np.random.Generator | None  # None: for the shape alone
# (rng, shape, dtype) -> the parameter
Initializer: TypeAlias = Callable[..., np.ndarray]

# Normal numbers without those beyond two deviations have this deviation (jax.nn.initializers).
_TRUNCATED = 0.87962566103423978


class Draws:
    """In the place of nnx.Rngs where a module is made: a generator of its own for each parameter.

    flax asks it for `params()` alone, and gives what comes to an initialiser.

    seed: None to make a module for its shapes alone, with zeros.
    """

    def __init__(self, seed: int | None) -> None:
        self._seed, self._count = seed, itertools.count()

    def params(self) -> np.random.Generator | None:
        """The next parameter's."""
        count = next(self._count)
        return None if self._seed is None else np.random.default_rng([self._seed, count])


def normal(std: float, *, truncated: bool = False) -> Initializer:
    """Normal numbers of this deviation; truncated: none beyond two deviations of what was drawn."""

    def initial(rng: Rng, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
        if rng is None:
            return np.zeros(shape, dtype)
        x = rng.standard_normal(shape, np.float32)
        if not truncated:
            return (x * np.float32(std)).astype(dtype, copy=False)
        while (far := np.abs(x) > 2).any():
            x[far] = rng.standard_normal(far.sum(), np.float32)
        return (x * np.float32(std / _TRUNCATED)).astype(dtype, copy=False)

    return initial


def constant(values: Sequence[float]) -> Initializer:
    """These values."""

    def initial(rng: Rng, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, dtype), shape).copy()

    return initial


def torch_uniform(rng: Rng, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """PyTorch's default for Linear: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    if rng is None:
        return np.zeros(shape, dtype)
    limit = np.float32(1 / math.sqrt(_fan(shape, "in")))
    return ((2 * rng.random(shape, np.float32) - 1) * limit).astype(dtype, copy=False)


def he_normal(rng: Rng, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """He et al., Delving Deep into Rectifiers (ICCV 2015), by the inputs, truncated as JAX's."""
    return normal(math.sqrt(2 / _fan(shape, "in")), truncated=True)(rng, shape, dtype)


def he_normal_out(rng: Rng, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """The same by the outputs, not truncated: torchvision's for convolutions."""
    return normal(math.sqrt(2 / _fan(shape, "out")))(rng, shape, dtype)


def lecun_normal(rng: Rng, shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """flax's default for kernels: truncated, of variance 1/fan_in."""
    return normal(math.sqrt(1 / _fan(shape, "in")), truncated=True)(rng, shape, dtype)


def _fan(shape: Sequence[int], side: Literal["in", "out"]) -> int:
    """How many inputs or outputs a kernel (...,in,out) has."""
    return math.prod(shape[:-2]) * shape[-2 if side == "in" else -1]
