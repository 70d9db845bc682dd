"""The backbone's convolutions: JAX's own, and on one CPU what XLA is quicker at there."""

import jax
import jax.numpy as jnp

from amvur_jax.sharding import on_one_cpu


def convolve(x, kernel, strides, padding, **settings):
    """lax.conv_general_dilated, on one CPU by way of what XLA is quicker at there.

    Args:
      x: (B,H,W,C).
      kernel: (kh,kw,C,D).
      strides, padding: (sh,sw), ((top,bottom),(left,right)).
      settings: others of lax.conv_general_dilated, for convolutions of undilated, ungrouped NHWC.
    Returns:
      (B,H',W',D).
    """

    def whole(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **settings)

    size, stride = kernel.shape[0], strides[0]
    of_a_kind = kernel.shape[1] == size and [*map(tuple, padding)] == [(size // 2,) * 2] * 2
    if not on_one_cpu() or not of_a_kind or strides != (stride, stride):
        return whole(x, kernel)
    if size == 1 and stride == 1:
        b, h, w, c = x.shape
        return (x.reshape(-1, c) @ kernel[0, 0]).reshape(b, h, w, -1)
    if stride == 1 and min(x.shape[1:3]) < size:
        return convolve_by_taps(x, kernel)
    if (size, stride) == (3, 2) and x.shape[1] % 2 == x.shape[2] % 2 == 0:
        return with_input_gradient_of(whole, convolve_by_quarters, x, kernel)
    return whole(x, kernel)


def convolve_by_taps(x, kernel):
    """A padded convolution as the sum of one matrix product a tap of its kernel.

    On maps smaller than the kernel XLA's own takes ten times as long. Shapes as in `convolve`.
    """
    size, (_, h, w, _) = len(kernel), x.shape
    pad = size // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))).astype(jnp.float32)
    taps = [x[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(size) for j in range(size)]
    return sum(taps).astype(kernel.dtype)


def convolve_by_quarters(x, kernel):
    """A padded 3 x 3 convolution of stride 2 as one of 2 x 2 without stride, on four times the channels.

    XLA computes the gradient of a strided convolution's input on a grid with zeros in between, which this
    one spares. Shapes as in `convolve`, H and W even.
    """
    (b, h, w, c), d = x.shape, kernel.shape[-1]
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    kernel = jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0))).reshape(2, 2, 2, 2, c, d)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * c, d)
    return jax.lax.conv_general_dilated(
        x.reshape(b, h // 2, w // 2, 4 * c),
        kernel,
        (1, 1),
        ((1, 0), (1, 0)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def with_input_gradient_of(function, other, x, kernel):
    """function(x, kernel) of two that compute the same, with the gradient of x from the other."""

    @jax.custom_vjp
    def call(x, kernel):
        return function(x, kernel)

    def backward(saved, gradient):
        x, kernel = saved
        _, to_x = jax.vjp(lambda x: other(x, kernel), x)
        _, to_kernel = jax.vjp(lambda kernel: function(x, kernel), kernel)
        return *to_x(gradient), *to_kernel(gradient)

    call.defvjp(lambda x, kernel: (call(x, kernel), (x, kernel)), backward)
    return call(x, kernel)
