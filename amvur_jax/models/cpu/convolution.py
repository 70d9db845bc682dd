"""The backbone's convolutions and their gradients by what XLA's CPU code is quick at."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax.models.cpu.backend import JAX_0_10

# Of how many numbers to one of the kernel's a map is still small beside it.
_FEW = 2 if JAX_0_10 else 0.5
# Channels from which on Winograd's gradients take less time to multiply than they take to transform.
_MANY_CHANNELS = 128 if JAX_0_10 else 64


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **settings: Any,
) -> jax.Array:
    """lax.conv_general_dilated, by way of what is quicker at each shape.

    Which way is taken where was timed with HRNet-W64's maps and those of the small network.

    Args:
      x: (B,H,W,C).
      kernel: (kh,kw,C,D), or of `winograd_kernels`.
      strides, padding: (sh,sw), ((top,bottom),(left,right)).
      settings: others of lax.conv_general_dilated, for convolutions of undilated, ungrouped NHWC.
    Returns:
      (B,H',W',D).
    """

    if kernel.ndim == 3:
        return winograd(x, kernel)

    def whole(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **settings)

    size, stride = kernel.shape[0], strides[0]
    of_a_kind = kernel.shape[1] == size and [*map(tuple, padding)] == [(size // 2,) * 2] * 2
    if not of_a_kind or strides != (stride, stride):
        return whole(x, kernel)
    if size == 1 and stride == 1:
        b, h, w, c = x.shape
        return (x.reshape(-1, c) @ kernel[0, 0]).reshape(b, h, w, -1)
    patches = functools.partial(convolve_patches, stride=stride)
    if min(x.shape[1:3]) < size or (kernel.size > 2**20 and x.size < kernel.size / 16):
        gathered = functools.partial(convolve_gathered, stride=stride)
        return with_gradients(gathered, gradients_of(patches), x, kernel)
    if _suits_winograd(x, size, stride):
        return with_gradients(whole, winograd_gradients, x, kernel)
    if stride > 1 or x.size < _FEW * kernel.size:
        # Of strided ones in bfloat16 XLA turns all into float32 first.
        forward = patches if stride > 1 and x.dtype == jnp.bfloat16 else whole
        return with_gradients(forward, gradients_of(patches), x, kernel)
    return with_gradients(whole, laid_out_gradients, x, kernel)


def _suits_winograd(x: jax.Array, size: int, stride: int) -> bool:
    """Whether winograd_gradients is for such a convolution, and quicker at it than XLA."""
    _, h, w, channels = x.shape
    of_a_kind = (size, stride, x.dtype, h % 2, w % 2) == (3, 1, jnp.float32, 0, 0)
    return of_a_kind and min(h, w) >= 8 and channels >= _MANY_CHANNELS


def convolve_patches(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """A padded convolution as one matrix product, of the map's patches and the kernel.

    XLA's own takes many times as long on maps smaller than the kernel's side (10 to 20 times on 2x2); for the
    gradients it transposes the kernel, slowly, which matters where the map is small beside it (7x7x512: 23 to
    10 ms), and puts zeros between the numbers of a strided convolution's map (all jax 0.10).
    Shapes as in `convolve`.
    """
    size, (_, h, w, _), d = len(kernel), x.shape, kernel.shape[-1]
    pad = size // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [x[:, i : i + h : stride, j : j + w : stride] for i in range(size) for j in range(size)]
    patches = jnp.concatenate(taps, -1)
    product = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, d)
    return product.reshape(*patches.shape[:-1], d)


def convolve_gathered(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`convolve_patches` with the patches looked up, one loop to compile in the place of ten."""
    size, (b, h, w, c) = len(kernel), x.shape
    pad = size // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = (np.arange(0, n, stride)[:, None] + np.arange(size) for n in (h, w))
    places = rows[:, None, :, None] * x.shape[2] + columns[:, None]
    patches = x.reshape(b, -1, c).at[:, places.ravel()].get(mode="promise_in_bounds")
    product = patches.reshape(-1, size * size * c) @ kernel.reshape(-1, kernel.shape[-1])
    return product.reshape(b, len(rows), len(columns), -1)


def gradients_of(
    function: Callable[[jax.Array, jax.Array], jax.Array],
) -> Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """(x, kernel, slope) -> the gradients of function(x, kernel), by JAX."""
    return lambda x, kernel, slope: jax.vjp(function, x, kernel)[1](slope)


def with_gradients(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    gradients: Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]],
    x: jax.Array,
    kernel: jax.Array,
) -> jax.Array:
    """function(x, kernel), with gradients(x, kernel, slope) as its gradients; shapes of `convolve`."""

    @jax.custom_vjp
    def call(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return function(x, kernel)

    call.defvjp(
        lambda x, kernel: (call(x, kernel), (x, kernel)),
        lambda saved, slope: gradients(saved[0], saved[1], slope),
    )
    return call(x, kernel)


def laid_out_gradients(
    x: jax.Array, kernel: jax.Array, slope: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradients of a padded convolution of stride 1, their operands in the order that XLA wants.

    XLA moves them there by itself, but not in a loop, as that of accumulated gradients: there those of a
    3x3 convolution of 8x16x16x32 take 3.7 s in place of 6 ms (jax 0.12 with oneDNN), or 260 in place of 7 ms
    (0.10). Elsewhere nothing changes. Shapes as in `winograd_gradients`.
    """
    pad = (kernel.shape[0] // 2,) * 2

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        order = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), (pad, pad), dimension_numbers=order)

    of_maps = convolve(slope, kernel[::-1, ::-1].swapaxes(2, 3))
    of_kernel = convolve(jnp.einsum("bhwc->chwb", x), jnp.einsum("bhwd->hwbd", slope))
    return of_maps, jnp.einsum("cijd->ijcd", of_kernel)


# Lavin and Gray's transforms of F(m x m, 3 x 3), section 4: of a tile (B'), a kernel (G) and a result (A').
_TRANSFORMS: dict[int, tuple[list[list[float]], ...]] = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


def winograd_kernels(kernel: np.ndarray, results: int) -> np.ndarray:
    """A kernel (3,3,C,D) as `winograd` takes it, ((results + 2)^2,C,D), made once for all calls.

    results: of a tile's side, 2 or 4, with 4/9 or 1/4 of the multiplications.
    """
    _, g, _ = (np.asarray(matrix, np.float64) for matrix in _TRANSFORMS[results])
    flat = np.asarray(kernel, np.float64).reshape(9, -1)
    return (np.kron(g, g) @ flat).reshape(-1, *kernel.shape[2:]).astype(kernel.dtype)


def winograd(x: jax.Array, kernels: jax.Array) -> jax.Array:
    """A padded 3x3 convolution of stride 1: (B,H,W,C), ((m+2)^2,C,D) -> (B,H,W,D).

    Products are of the map's type, what goes before and after in float32.
    XLA transforms nothing beforehand and convolves with all multiplications. HRNet-W64 as a whole, a picture,
    two cores of a Xeon, jax 0.12: 425 ms by XLA's own, 282 with these.
    """
    (b, h, w, c), d = x.shape, kernels.shape[-1]
    side = math.isqrt(len(kernels))
    m = side - 2
    of_tiles, _, of_results = _TRANSFORMS[m]
    rows, columns = -(-h // m), -(-w // m)
    dtype, x = x.dtype, x.astype(jnp.float32)
    x = jnp.pad(x, ((0, 0), (1, m * rows - h + 1), (1, m * columns - w + 1), (0, 0)))

    def parts(axis: int, count: int) -> list[jax.Array]:
        """Each number of the tiles, of all tiles along an axis of x."""
        return [jax.lax.slice_in_dim(x, i, i + (count - 1) * m + 1, m, axis) for i in range(side)]

    # Along rows for all columns, then along these: at once, XLA's loops take four times as long to compile.
    x = jnp.stack(_combined(of_tiles, parts(1, rows)))
    x = jnp.stack([part.astype(dtype) for part in _combined(of_tiles, parts(3, columns))], 1)
    x = x.reshape(side * side, -1, c)
    products = jnp.einsum("ktc,kcd->ktd", x, kernels, preferred_element_type=jnp.float32)
    products = products.reshape(side, side, b, rows, columns, d)
    lines = jnp.stack(_combined(of_results, list(products)), 3)  # (side,b,rows,m,columns,d)
    y = jnp.stack(_combined(of_results, list(lines)), 4)
    return y.reshape(b, rows * m, columns * m, d)[:, :h, :w].astype(dtype)


def _combined(matrix: list[list[float]], parts: list[jax.Array]) -> list[jax.Array]:
    """matrix @ parts, without what is multiplied by 0."""
    return [
        functools.reduce(
            jnp.add, (part if a == 1 else a * part for a, part in zip(row, parts) if a)
        )
        for row in matrix
    ]


def winograd_gradients(
    x: jax.Array, kernel: jax.Array, slope: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradients of a 3x3 convolution of stride 1, with four ninths of its multiplications.

    The convolution is A'[(G k G') (B' x B)]A for each tile x of 4x4 at every second row and column, k the
    kernel: F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016),
    section 4.1. Its gradients are the transposes, as matrix products; XLA convolves with whole maps. With
    BatchNorm forward and back, 16x28x28x128: 72 to 39 ms with jax 0.12; 4x14x14x256: 12.6 to 10.2 with 0.10.

    Args:
      x: (B,H,W,C), H and W even.
      kernel: (3,3,C,D).
      slope: (B,H,W,D), the gradient of the result.
    Returns:
      (B,H,W,C), (3,3,C,D).
    """
    (b, h, w, c), d = x.shape, slope.shape[-1]
    # XLA may transform what is there before the slope is, and keep it, a GiB of HRNet-W64's at batch 4: both
    # wait for a number of the slope. A NaN there makes all of them NaN, and such a step is left out.
    here = slope[0, 0, 0, 0] == slope[0, 0, 0, 0]
    x, kernel = (jnp.where(here, a, jnp.nan) for a in (x, kernel))
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Each transform stacks its results along a new first axis: a map's axes move by one.
    maps = _of_tiles(_of_tiles(padded, 1), 3).reshape(16, -1, c)
    slopes = _of_results(_of_results(slope, 1), 3).reshape(16, -1, d)
    kernels = _of_kernel(_of_kernel(kernel, 0), 1).reshape(16, c, d)

    of_kernel = jnp.einsum("ktc,ktd->kcd", maps, slopes).reshape(4, 4, c, d)
    of_kernel = _to_kernel(_to_kernel(of_kernel).swapaxes(0, 1))
    of_maps = jnp.einsum("ktd,kcd->ktc", slopes, kernels).reshape(4, 4, b, h // 2, w // 2, c)
    return _to_map(_to_map(of_maps, 3), 1), of_kernel


def _of_tiles(x: jax.Array, axis: int) -> jax.Array:
    """B': (...,2n+2,...) -> (4,...,n,...), of the tiles of four that start at every second."""
    end = x.shape[axis] - 3
    a, b, c, d = (jax.lax.slice_in_dim(x, i, i + end, 2, axis) for i in range(4))
    return jnp.stack([a - c, b + c, c - b, b - d])


def _of_results(slope: jax.Array, axis: int) -> jax.Array:
    """A: (...,2n,...) -> (4,...,n,...), of the two results of each tile."""
    a, b = (jax.lax.slice_in_dim(slope, i, slope.shape[axis], 2, axis) for i in range(2))
    return jnp.stack([a, a + b, a - b, -b])


def _of_kernel(kernel: jax.Array, axis: int) -> jax.Array:
    """G: (...,3,...) -> (4,...)."""
    a, b, c = (jax.lax.index_in_dim(kernel, i, axis, keepdims=False) for i in range(3))
    return jnp.stack([a, (a + b + c) / 2, (a - b + c) / 2, c])


def _to_kernel(parts: jax.Array) -> jax.Array:
    """G': (4,...) -> (3,...)."""
    a, b, c, d = parts
    return jnp.stack([a + (b + c) / 2, (b - c) / 2, (b + c) / 2 + d])


def _to_map(parts: jax.Array, axis: int) -> jax.Array:
    """B, the tiles added up where they overlap, without the padding: (4,...,n,...) -> (...,2n,...)."""
    a, b, c, d = parts

    def moved(x: jax.Array, by: int) -> jax.Array:
        edges = [(0, 0, 0)] * x.ndim
        edges[axis] = (by, -by, 0)
        return jax.lax.pad(x, jnp.zeros((), x.dtype), edges)

    even, odd = b - c + d + moved(-d, 1), b + c - a + moved(a, -1)
    shape = a.shape[:axis] + (2 * a.shape[axis],) + a.shape[axis + 1 :]
    return jnp.stack([even, odd], axis + 1).reshape(shape)
