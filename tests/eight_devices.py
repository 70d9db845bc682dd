"""Eight simulated devices, in a process of its own; prints what test_sharding.py looks at as JSON."""

import json
import os
import sys
import tempfile

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)

import jax
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


def run(config, optimizer, devices, batches):
    """Train on so many devices: (state, losses)."""
    make = (configuration.network, configuration.hand, configuration.loss)
    network, hand, loss = (part(config) for part in make)
    mesh = sharding.make_mesh(jax.devices()[:devices])

    def init(key):
        return init_state(network, optimizer, config.train, key)

    shapes = jax.eval_shape(init, jax.random.key(0))
    shardings = sharding.of_state(shapes, mesh, config.train.shard_parameters)
    state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
    step = make_step(network, hand, loss, optimizer, config.train, 0, mesh, shardings)
    losses = []
    for batch in batches:
        state, metrics = step(state, jax.device_put(batch, sharding.over_batch(mesh)), 0)
        losses.append(float(metrics["total"]))
    return state, losses


def main():
    steps = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        root = checkpoint.pathlib.Path(folder)
        write_ho3d(root, train=2 * BATCH, evaluation=1)
        stream = train_batches(HO3D(root), 32, BATCH, seed=0)
        batches = [next(stream) for _ in range(steps)]

        config = tiniest_config(root, batch_size=BATCH, warmup_steps=0, learning_rate=0.01)
        first = batches[:1]
        one, _ = run(config, optax.identity(), 1, first)
        eight, _ = run(config, optax.identity(), 8, first)
        fresh, _ = run(config, optax.identity(), 1, [])

        def norm(a, b):
            leaves = jax.tree.map(lambda x, y: np.asarray(x) - np.asarray(y), a, b)
            return float(optax.tree.norm(leaves))

        results = {
            "moved": norm(one["model"]["params"], fresh["model"]["params"]),
            "params": norm(one["model"]["params"], eight["model"]["params"]),
            "batch_stats": norm(one["model"]["batch_stats"], eight["model"]["batch_stats"]),
            "stats_moved": norm(one["model"]["batch_stats"], fresh["model"]["batch_stats"]),
        }
        if steps > 1:
            config.train.update({"learning_rate": 1e-3})
            _, results["one"] = run(config, make_optimizer(), 1, batches)
            config.train.shard_parameters = True
            state, results["eight"] = run(config, make_optimizer(), 8, batches)
            kernel = state["model"]["params"]["prior"]["step_3d"]["hidden"]["kernel"]
            results["kernel"] = [list(kernel.shape), list(kernel.addressable_shards[0].data.shape)]
            saver = checkpoint.Saver(checkpoint.manager(root / "run"), {})
            saver.save(1, state, {})
            saver.finish()
            saver.close()
            mesh = sharding.make_mesh(jax.devices()[:3])
            shardings = sharding.of_state(state, mesh, True)
            shapes = sharding.with_shardings(state, shardings)
            restored, _ = checkpoint.restore_state(root / "run", shapes)
            results["restored"] = norm(restored["model"], state["model"])
            results["restored_devices"] = len(
                restored["model"]["params"]["prior"]["step_3d"]["hidden"]["kernel"].devices()
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
