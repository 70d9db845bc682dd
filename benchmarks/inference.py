"""Speed of inference, and beside it the same network in PyTorch where that is installed."""

import functools
import importlib.util

import jax

from amvur_jax.models.colors import normalize
from amvur_jax.models.functional import COMPILE_QUICKLY, Network
from benchmarks import measure, workload


def run(quick, only=""):
    """Yield one row a case and contender: `ours` is the network, `ours, rendered` with texture and image."""
    hand = workload.hand()
    torch_too = importlib.util.find_spec("torch") and importlib.util.find_spec("timm")
    for size, count, dtype in workload.cases(quick, only):
        network = Network(workload.settings(size, dtype))
        state = jax.jit(network.init, compiler_options=COMPILE_QUICKLY)(jax.random.key(0))
        images = workload.batch(size, count)["image"]
        functions, flops, more = {}, {}, {}
        for name, paint in (("ours", 0), ("ours, rendered", None)):
            forward = jax.jit(
                lambda state, images, network=network, paint=paint: network.apply(
                    state, normalize(images), hand, paint=paint
                )[0]
            )
            compiled, flops[name], compile_s, temporaries = measure.compile_jitted(
                forward, state, images
            )
            more[name] = {"compile_s": compile_s, "temporaries_mib": temporaries}
            functions[name] = functools.partial(compiled, state, images)
        if torch_too:
            from benchmarks import torch_network

            functions |= torch_network.inference(network.config, count, dtype)
        yield from workload.rows((size, count, dtype), functions, flops, quick, more)
