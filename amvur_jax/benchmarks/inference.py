"""Speed of inference, and beside it the same network in PyTorch where that is installed."""

import functools
import importlib.util

import jax

from amvur_jax.benchmarks import measure, workload
from amvur_jax.functional import COMPILE_QUICKLY, Network
from amvur_jax.images import normalize


def run(quick):
    """Yield one row a case and contender: `ours` is the network, `ours, rendered` with texture and image."""
    hand = workload.hand()
    torch_too = importlib.util.find_spec("torch") and importlib.util.find_spec("timm")
    for size, count, dtype in workload.cases(quick):
        network = Network(workload.settings(size, dtype))
        state = jax.jit(network.init, compiler_options=COMPILE_QUICKLY)(jax.random.key(0))
        images = workload.batch(size, count)["image"]
        functions, flops, compile_s = {}, {}, {}
        for name, paint in (("ours", 0), ("ours, rendered", None)):
            forward = jax.jit(
                lambda state, images, network=network, paint=paint: network.apply(
                    state, normalize(images), hand, paint=paint
                )[0]
            )
            compiled, compile_s[name], _ = measure.compile_jitted(forward, state, images)
            flops[name] = compiled.cost_analysis().get("flops", float("nan"))
            functions[name] = functools.partial(compiled, state, images)
        if torch_too:
            from amvur_jax.benchmarks import torch_network

            functions |= torch_network.inference(network.config, count, dtype)
        seconds = measure.median_seconds(functions, 3 if quick else 7)
        for name, value in seconds.items():
            yield workload.row(
                f"{size}, batch {count}, {dtype}: {name}",
                value,
                count,
                flops.get(name, flops["ours"]),
                dtype,
                quick,
                of_ours=value / seconds["ours"],
                **({"compile_s": compile_s[name]} if name in compile_s else {}),
            )
