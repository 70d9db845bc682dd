"""The rasteriser: to be compared with a plain all-pixels x all-faces one."""

import jax
import jax.numpy as jnp
import numpy as np

import render
from amvur_jax.benchmarks import measure
from mano_jax import load_hand


def run(quick):
    """Yield one row a case."""
    hand = load_hand()
    images, side = (2, 64) if quick else (16, 224)
    vertices = hand.with_shape(jnp.zeros(10)).with_pose(jnp.zeros((16, 3))).vertices
    draws = np.random.default_rng(0)
    shifts = draws.uniform(-0.01, 0.01, (images, 1, 3)) + [0, 0, 0.5]
    vertices = vertices - vertices.mean(axis=0) + jnp.asarray(shifts, jnp.float32)
    K = jnp.array([[2.2 * side, 0, side / 2], [0, 2.2 * side, side / 2], [0, 0, 1]], jnp.float32)
    forward = jax.jit(
        lambda v: render.render_mesh(v, hand.faces, jnp.ones_like(v), K, (side, side))[0]
    )
    compiled, seconds, temporaries = measure.compile_jitted(forward, vertices)
    median = measure.median_seconds({"hard": lambda: compiled(vertices)}, 3 if quick else 9)
    yield {
        "case": "hard forward",
        "ms": 1e3 * median["hard"],
        "compile_s": seconds,
        "temporaries_mib": temporaries,
    }
