"""The backbone's convolutions: JAX's own, and on one CPU what XLA is quicker at there."""

import functools

import jax
import jax.numpy as jnp

from amvur_jax.sharding import on_one_cpu


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

    size, stride = kernel.shape[0], strides[0]
    of_a_kind = kernel.shape[1] == size and [*map(tuple, padding)] == [(size // 2,) * 2] * 2
    if not on_one_cpu() or not of_a_kind or strides != (stride, stride):
        return whole(x, kernel)
    if size == 1 and stride == 1:
        b, h, w, c = x.shape
        return (x.reshape(-1, c) @ kernel[0, 0]).reshape(b, h, w, -1)
    if (stride == 1 and min(x.shape[1:3]) < size) or x.size < kernel.size / 4:
        return convolve_patches(x, kernel, stride)
    if x.size < 2 * kernel.size:
        patches = functools.partial(convolve_patches, stride=stride)
        return with_gradients_of(whole, x, kernel, of_x=patches, of_kernel=patches)
    if (size, stride) == (3, 2) and x.shape[1] % 2 == x.shape[2] % 2 == 0:
        return with_gradients_of(whole, x, kernel, of_x=convolve_quarters, of_kernel=whole)
    return whole(x, kernel)


def convolve_patches(x, kernel, stride):
    """A padded convolution as one matrix product, of the map's patches and the kernel.

    XLA's own takes many times as long on maps smaller than the kernel's side, and for the gradients it
    transposes the kernel, slowly, which matters where the map is small beside it. Shapes as in `convolve`.
    """
    size, (_, h, w, _), d = len(kernel), x.shape, kernel.shape[-1]
    pad = size // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [x[:, i : i + h : stride, j : j + w : stride] for i in range(size) for j in range(size)]
    patches = jnp.concatenate(taps, -1)
    product = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, d)
    return product.reshape(*patches.shape[:-1], d)


def convolve_quarters(x, kernel):
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


def with_gradients_of(function, x, kernel, *, of_x, of_kernel):
    """function(x, kernel), with its gradients from two that compute the same; shapes as in `convolve`."""

    @jax.custom_vjp
    def call(x, kernel):
        return function(x, kernel)

    def backward(saved, gradient):
        x, kernel = saved
        _, to_x = jax.vjp(lambda x: of_x(x, kernel), x)
        _, to_kernel = jax.vjp(lambda kernel: of_kernel(x, kernel), kernel)
        return *to_x(gradient), *to_kernel(gradient)

    call.defvjp(lambda x, kernel: (call(x, kernel), (x, kernel)), backward)
    return call(x, kernel)
