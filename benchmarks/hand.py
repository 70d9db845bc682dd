"""One hand and many posed and skinned by mano_jax, beside body-models where it is installed (JAX, jitted).

Milliseconds of processor time, and of wall time, a call; the least of many turns: what is left of
a call when nothing is in its way. `pip install body-models==0.26`
"""

import contextlib
import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

import mano_jax
from amvur_jax.files.whole import writing


def run(quick):
    """Yield a row a number of hands and library."""
    hand = mano_jax.load_hand()
    peer = _body_models(hand)
    for count in (1, 16, 256):
        rng = np.random.default_rng(0)
        batch = () if count == 1 else (count,)
        betas = jnp.asarray(rng.normal(0, 1, (*batch, 10)), jnp.float32)
        pose = jnp.asarray(rng.normal(0, 0.3, (*batch, 16, 3)), jnp.float32)
        calls = {"mano_jax": jax.jit(lambda b, p: hand.with_shape(b).with_pose(p).vertices)}
        calls["mano_jax, gradient"] = jax.jit(
            jax.grad(lambda b, p: hand.with_shape(b).with_pose(p).vertices.sum(), (0, 1))
        )
        if peer:
            calls["body-models"] = peer
            np.testing.assert_allclose(
                *(_from_first(calls[name](betas, pose)) for name in ("mano_jax", "body-models")),
                atol=1e-6,
            )
        spent = _least(calls, betas, pose, turns=2 if quick else 60, repeats=max(2, 20 // count))
        for name, (processor, wall) in spent.items():
            row = {"case": f"{count} hands, {name}", "processor_ms": processor, "ms": wall}
            if peer:
                row["of_body_models"] = processor / spent["body-models"][0]
            yield row


def _body_models(hand):
    """vertices(betas, pose) of body-models with this hand, or None where it is not installed."""
    with contextlib.suppress(ImportError):
        from body_models.mano.jax import MANO

        parents = np.array([0, *hand.parents[1:]])
        arrays = {
            "v_template": hand.v_template,
            "f": hand.faces,
            "weights": hand.weights,
            "shapedirs": hand.shapedirs,
            "posedirs": hand.posedirs,
            "J_regressor": hand.joint_regressor,
            "kintree_table": np.stack([parents, np.arange(16)]),
            "hands_mean": hand.mean_pose,
            "hands_components": hand.components,
        }
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "hand.npz"
            with writing(path) as file:
                np.savez(file, **{name: np.asarray(array) for name, array in arrays.items()})
            model = MANO(model_path=path, flat_hand_mean=True)
        return jax.jit(
            lambda betas, pose: model.forward_vertices(
                pose[..., 1:, :], wrist_rotation=pose[..., 0, :], shape=betas
            )
        )


def _from_first(vertices):
    """Vertices about the first: the two have their origin elsewhere."""
    return np.asarray(vertices - vertices[..., :1, :])


def _least(calls, betas, pose, turns, repeats):
    """{name: (processor ms, wall ms)} of a call, the least of turns of so many."""
    best = {}
    for call in calls.values():
        jax.block_until_ready(call(betas, pose))
    for _ in range(turns):
        for name, call in calls.items():
            clocks = time.process_time(), time.perf_counter()
            for _ in range(repeats):
                jax.block_until_ready(call(betas, pose))
            spent = time.process_time() - clocks[0], time.perf_counter() - clocks[1]
            spent = [1e3 * s / repeats for s in spent]
            best[name] = tuple(map(min, spent, best.get(name, spent)))
    return best
