"""The backbone's convolutions: JAX's own, and on one CPU what XLA is quicker at there."""

import functools

import jax
import jax.numpy as jnp

from amvur_jax.sharding import JAX_0_10, on_one_cpu

# Of how many numbers to one of the kernel's a map is still small beside it.
_FEW = 2 if JAX_0_10 else 0.5


def convolve(x, kernel, strides, padding, **settings):
    """lax.conv_general_dilated, on one CPU by way of what XLA is quicker at there.

    Which way is taken where was timed on two cores with HRNet-W64's maps and those of the small network.

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

    def by_sample(x, kernel):
        """XLA takes twice as long for the kernel's gradient of a few large maps together."""
        return jnp.concatenate([whole(x[i : i + 1], kernel) for i in range(len(x))])

    size, stride = kernel.shape[0], strides[0]
    of_a_kind = kernel.shape[1] == size and [*map(tuple, padding)] == [(size // 2,) * 2] * 2
    if not on_one_cpu() or not of_a_kind or strides != (stride, stride):
        return whole(x, kernel)
    if size == 1 and stride == 1:
        b, h, w, c = x.shape
        return (x.reshape(-1, c) @ kernel[0, 0]).reshape(b, h, w, -1)
    patches = functools.partial(convolve_patches, stride=stride)
    if (stride == 1 and min(x.shape[1:3]) < size) or x.size < kernel.size / 4:
        return patches(x, kernel)
    if stride > 1 or x.size < _FEW * kernel.size:
        return with_gradients_of(whole, patches, x, kernel)
    if not JAX_0_10 and 1 < len(x) <= 8 and x[0].size > 2**16:
        return with_gradients_of(whole, by_sample, x, kernel)
    return whole(x, kernel)


def convolve_patches(x, kernel, stride):
    """A padded convolution as one matrix product, of the map's patches and the kernel.

    XLA's own takes many times as long on maps smaller than the kernel's side; for the gradients it transposes
    the kernel, slowly, which matters where the map is small beside it, and puts zeros between the numbers of
    a strided convolution's map. Shapes as in `convolve`.
    """
    size, (_, h, w, _), d = len(kernel), x.shape, kernel.shape[-1]
    pad = size // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [x[:, i : i + h : stride, j : j + w : stride] for i in range(size) for j in range(size)]
    patches = jnp.concatenate(taps, -1)
    product = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, d)
    return product.reshape(*patches.shape[:-1], d)


def with_gradients_of(function, other, x, kernel):
    """function(x, kernel), with the gradients of `other` that computes the same; shapes of `convolve`."""

    @jax.custom_vjp
    def call(x, kernel):
        return function(x, kernel)

    call.defvjp(
        lambda x, kernel: (call(x, kernel), (x, kernel)),
        lambda saved, gradient: jax.vjp(other, *saved)[1](gradient),
    )
    return call(x, kernel)
