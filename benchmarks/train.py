"""Speed of the training step, and beside it the same network in PyTorch where that is installed."""

import functools
import gc
import importlib.util
import time

import jax
from ml_collections import ConfigDict

from amvur_jax.models.functional import Network
from amvur_jax.runtime import devices
from amvur_jax.training.objective import LossConfig
from amvur_jax.training.optimizer import make_optimizer
from amvur_jax.training.step import make_step, state_of
from benchmarks import measure, workload

SETTINGS = ConfigDict(
    {
        "learning_rate": 1e-5,
        "steps": 1000,
        "schedule": "step",
        "optimizer": "adam",
        "warmup_steps": 0,
        "clip_norm": 0.0,
        "accumulate": 1,
        "skeletons": 0,
        "remat": False,
        "ema_decay": 0.0,
        "freeze_batch_norm": False,
    }
)


def run(quick, only=""):
    """Yield one row a size's fresh state, and one a case and contender.

    `ours` has no rendered loss, as PyTorch's has not; `ours, rendered` renders every sample.
    """
    hand = workload.hand()
    torch_too = importlib.util.find_spec("torch") and importlib.util.find_spec("timm")
    mesh, optimizer = devices.make_mesh(jax.devices()[:1]), make_optimizer(SETTINGS)
    for size, count, dtype in workload.cases(quick, only):
        network = Network(workload.settings(size, dtype))
        start = time.perf_counter()
        fresh = functools.partial(state_of, optimizer=optimizer, settings=SETTINGS)
        state = jax.block_until_ready(jax.jit(fresh)(network.init(0)))
        yield {"case": f"{size}: fresh state", "s": time.perf_counter() - start}
        shardings = devices.of_state(state, mesh)
        step = make_step(
            network, hand, LossConfig(data_term="mu"), optimizer, SETTINGS, 0, mesh, shardings
        )
        batch = workload.batch(size, count)
        held = [
            jax.device_put(state, shardings)
        ]  # one, which all steps change: HRNet-W64's is large
        del state
        functions, flops, more = {}, {}, {}
        for name, paint in (("ours", 0), ("ours, rendered", None)):
            compiled, flops[name], compile_s, temporaries = measure.compile_jitted(
                step, held[0], batch, paint
            )
            more[name] = {"compile_s": compile_s, "temporaries_mib": temporaries}
            functions[name] = _stepper(compiled, held, batch)
        if torch_too:
            from benchmarks import torch_network

            functions |= torch_network.training(network.config, count, dtype)
        yield from workload.rows((size, count, dtype), functions, flops, quick, more)
        del functions, held, compiled, step
        gc.collect()  # before the next size is made
    if only in ("", "small"):
        yield from _accumulated(quick, hand)


def _accumulated(quick, hand, parts=4, count=4):
    """Yield the small network's step of a batch in parts, and as many single steps of a part's samples."""
    network, optimizer = Network(workload.SMALL), make_optimizer(SETTINGS)
    mesh = devices.make_mesh(jax.devices()[:1])
    fresh = functools.partial(state_of, optimizer=optimizer, settings=SETTINGS)
    state = jax.jit(fresh)(network.init(0))
    shardings = devices.of_state(state, mesh)
    functions, compile_s = {}, {}
    for name, accumulate in (("single steps", 1), ("accumulated", parts)):
        settings = ConfigDict({**SETTINGS, "accumulate": accumulate})
        step = make_step(
            network, hand, LossConfig(data_term="mu"), optimizer, settings, 0, mesh, shardings
        )
        placed = jax.tree.map(jax.numpy.copy, jax.device_put(state, shardings))
        batch = workload.batch("small", accumulate * count)
        compiled, _, compile_s[name], _ = measure.compile_jitted(step, placed, batch, 0)
        functions[name] = _stepper(compiled, [placed], batch, parts // accumulate)
    seconds = measure.median_seconds(functions, 1 if quick else 3)
    for name, value in seconds.items():
        yield {
            "case": f"small, {parts} times {count} samples, float32: {name}",
            "ms": 1e3 * value,
            "of_single_steps": value / seconds["single steps"],
            "compile_s": compile_s[name],
        }


def _stepper(compiled, held, batch, steps=1):
    """A function of no arguments that takes the next steps with the state in `held`, a list of one."""

    def step():
        for _ in range(steps):
            held[0], metrics = compiled(held[0], batch)
        return metrics

    return step
