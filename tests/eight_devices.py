"""Eight simulated devices, in a process of its own; prints what test_sharding.py looks at as JSON."""

import functools
import json
import os
import pathlib
import tempfile

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tiny import tiniest_config
from trees import write_ho3d

from amvur_jax import checkpoint, configuration, sharding
from amvur_jax.data.ho3d import HO3D
from amvur_jax.data.pipeline import train_batches
from amvur_jax.optimizer import make_optimizer
from amvur_jax.train_step import init_state, make_step

BATCH = 8


def either():
    """Adam or plain descent, by a flag in its state: each number of devices compiles one step for both."""
    adam = make_optimizer()

    def init(params):
        return {"adam": adam.init(params), "plain": jnp.array(False)}

    def update(gradients, state, params):
        directions, moments = adam.update(gradients, state["adam"], params)
        chosen = jax.tree.map(
            lambda g, d: jnp.where(state["plain"], 10 * g, d), gradients, directions
        )
        return chosen, {"adam": moments, "plain": state["plain"]}

    return optax.GradientTransformation(init, update)


def runner(config, devices):
    """Functions of so many devices: a fresh state, and (state, batches) -> (state, losses)."""
    make = (configuration.network, configuration.hand, configuration.loss)
    network, hand, loss = (part(config) for part in make)
    mesh, optimizer = sharding.make_mesh(jax.devices()[:devices]), either()
    init = functools.partial(init_state, network, optimizer, config.train)
    shapes = jax.eval_shape(init, jax.random.key(0))
    shardings = sharding.of_state(shapes, mesh, shard_parameters=devices > 1)
    step = make_step(network, hand, loss, optimizer, config.train, 0, mesh, shardings)
    born = jax.jit(init, out_shardings=shardings)

    def run(state, batches, plain):
        flag = jax.device_put(plain, shardings["optimizer"]["plain"])
        state = state | {"optimizer": state["optimizer"] | {"plain": flag}}
        losses = []
        for batch in batches:
            state, metrics = step(state, jax.device_put(batch, sharding.over_batch(mesh)), 0)
            losses.append(float(metrics["total"]))
        return state, losses

    return lambda: born(jax.random.key(0)), run


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        write_ho3d(root, train=2 * BATCH, evaluation=1)
        stream = train_batches(HO3D(root), 32, BATCH, seed=0)
        batches = [next(stream) for _ in range(20)]
        config = tiniest_config(root, batch_size=BATCH, warmup_steps=0, learning_rate=1e-3)
        (new_one, run_one), (new_eight, run_eight) = runner(config, 1), runner(config, 8)

        def norm(a, b):
            leaves = jax.tree.map(lambda x, y: np.asarray(x) - np.asarray(y), a, b)
            return float(optax.tree.norm(leaves))

        fresh = new_one()["model"]
        one, eight = (
            run(new(), batches[:1], plain=True)[0]["model"]
            for new, run in ((new_one, run_one), (new_eight, run_eight))
        )
        results = {
            "moved": norm(one["params"], fresh["params"]),
            "params": norm(one["params"], eight["params"]),
            "stats_moved": norm(one["batch_stats"], fresh["batch_stats"]),
            "batch_stats": norm(one["batch_stats"], eight["batch_stats"]),
        }
        results["one"] = run_one(new_one(), batches, plain=False)[1]
        # the last batch, with its noise, on parameters that have learned nothing
        last = jax.device_put(jnp.int32(len(batches) - 1), new_one()["step"].sharding)
        (results["untrained"],) = run_one(new_one() | {"step": last}, batches[-1:], plain=False)[1]
        state, results["eight"] = run_eight(new_eight(), batches, plain=False)

        def large(state):
            return state["model"]["params"]["prior"]["step_3d"]["hidden"]["kernel"]

        shape = large(state).addressable_shards[0].data.shape
        results["kernel"] = [list(large(state).shape), list(shape)]
        saver = checkpoint.Saver(checkpoint.manager(root / "run"), {})
        saver.save(1, state, {})
        saver.finish()
        saver.close()
        mesh = sharding.make_mesh(jax.devices()[:3])
        shapes = sharding.with_shardings(state, sharding.of_state(state, mesh, True))
        restored, _ = checkpoint.restore_state(root / "run", shapes)
        results["restored"] = norm(restored["model"], state["model"])
        results["restored_devices"] = len(large(restored).devices())
    print(json.dumps(results))


if __name__ == "__main__":
    main()
