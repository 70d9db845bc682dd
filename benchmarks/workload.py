"""What the speed of the network is measured on: two sizes of it, batches of noise, the device's peak."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax import configuration
from amvur_jax.models.amvur import AmvurConfig
from amvur_jax.models.hrnet import HRNetSize
from amvur_jax.runtime import devices
from benchmarks import measure

# configs/synthetic_weak.py's, from which the demo learns; the published one is AmvurConfig's default.
SMALL = AmvurConfig(
    image_size=64,
    pose_components=15,
    backbone=HRNetSize(16, (1, 1, 1), (2, 2, 2), 1, 32, (8, 16, 32, 64), 512),
    hidden=(64, 32, 16),
    outputs=(64, 32, 3),
    layers=1,
    texture_hidden=48,
    texture_layers=1,
    texture_heads=2,
    dropout=0.0,
)
SIZES = {"small": SMALL, "w64": AmvurConfig(dropout=0.0)}


def cases(quick, only="", more=()):
    """(name of the size, batch, dtype) of every case: what the device can do in minutes.

    only: a size, to leave out the other. more: cases for a CPU.
    """
    if quick:
        found = [("small", 2, "float32")]
    elif jax.default_backend() == "cpu":
        # Few CPUs compute in bfloat16: one case shows what it costs or gives.
        small = [("small", n, "float32") for n in (1, 8, 64)] + [("small", 8, "bfloat16")]
        found = [*small, ("w64", 1, "float32"), ("w64", 4, "float32"), *more]
    else:
        found = itertools.product(SIZES, (1, 8, 64), ("float32", "bfloat16"))
    return [case for case in found if only in ("", case[0])]


def settings(size, dtype):
    """The AmvurConfig of a case."""
    return dataclasses.replace(SIZES[size], dtype=dtype)


def batch(size, count):
    """A training batch of noise, of amvur_jax.data.sample' shapes, on the device."""
    rng = np.random.default_rng(0)
    side = SIZES[size].image_size
    arrays = {
        "image": rng.integers(0, 255, (count, side, side, 3), np.uint8),
        "K": np.tile(
            np.array([[2 * side, 0, side / 2], [0, 2 * side, side / 2], [0, 0, 1]]), (count, 1, 1)
        ),
        "joints_2d": rng.uniform(0.3, 0.7, (count, 21, 2)),
        "joints_cam": rng.normal([0, 0, 0.6], 0.05, (count, 21, 3)),
        "joints_valid": np.ones((count, 21)),
        "betas": np.zeros((count, 10)),
        "pose": np.zeros((count, 48)),
        **{name: np.ones(count) for name in ("has_image", "has_3d", "has_mesh")},
    }
    images = arrays.pop("image")
    arrays = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    return jax.device_put(
        arrays | {"image": images, "index": np.arange(count, dtype=np.int32)},
        devices.over_batch(devices.make_mesh(jax.devices()[:1])),
    )


@functools.cache
def peak_flops(dtype, quick=False):
    """Measured operations a second of a large matrix product."""
    n = 512 if quick else 2048 if jax.default_backend() == "cpu" else 8192
    a = jnp.ones((n, n), dtype)
    product = jax.jit(jnp.matmul)
    seconds = measure.median_seconds({"product": lambda: product(a, a)})["product"]
    return 2 * n**3 / seconds


def hand():
    """The embedded hand."""
    return configuration.hand({"hand": ""})


def rows(case, functions, flops, quick, more):
    """Measure contenders in turns; yield a row each: time, images a second, share of the measured peak.

    Args:
      case: of `cases`.
      functions: {contender: function of no arguments}; "ours" is what the others are compared with.
      flops: {contender: operations}; another network's are taken to be ours.
      quick: one turn.
      more: {contender: further columns}.
    """
    size, count, dtype = case
    seconds = measure.median_seconds(functions, 1 if quick else 3)
    for name, value in seconds.items():
        work = flops.get(name, flops["ours"])
        yield {
            "case": f"{size}, batch {count}, {dtype}: {name}",
            "ms": 1e3 * value,
            "images_s": count / value,
            "gflop": work / 1e9,
            "share_of_peak": work / value / peak_flops(dtype, quick),
            "of_ours": value / seconds["ours"],
            **more.get(name, {}),
        }
