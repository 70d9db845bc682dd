"""Speed of inference, and beside it the same network in PyTorch where that is installed.

The shipped network, too, beside what `scripts/export.py` makes of it, and ONNX Runtime where it is installed.
"""

import functools
import importlib.util

import jax
import numpy as np

from amvur_jax import inference
from amvur_jax.exported import program as programs
from amvur_jax.models.colors import normalize
from amvur_jax.models.cpu.backend import on_one_cpu
from amvur_jax.models.cpu.ready import is_a_part, ready
from amvur_jax.models.functional import Network
from benchmarks import measure, workload

_IN_BFLOAT16 = [("w64", count, "bfloat16") for count in (1, 4)]


def run(quick, only=""):
    """Yield one row a case and contender: `ours` is the network, `ours, rendered` with texture and image.

    `ours, XLA's convolutions` is the network with kernels as they were trained, on a CPU.
    """
    if only in ("", "shipped"):
        yield from shipped(quick)
    hand = workload.hand()
    torch_too = importlib.util.find_spec("torch") and importlib.util.find_spec("timm")
    for size, count, dtype in workload.cases(quick, only, more=_IN_BFLOAT16):
        network = Network(workload.settings(size, dtype))
        state = jax.device_put(network.init(0))
        contenders = {"ours": (state, 0), "ours, rendered": (state, None)}
        if on_one_cpu():
            prepared = ready(state, network.config.image_size, dtype)  # as Predictor has it
            contenders = {"ours": (prepared, 0), "ours, rendered": (prepared, None)}
            contenders["ours, XLA's convolutions"] = (state, 0)
        images = workload.batch(size, count)["image"]
        functions, flops, more = {}, {}, {}
        for name, (state, paint) in contenders.items():

            def forward(state, images, network=network, paint=paint):
                return network.apply(state, normalize(images), hand, paint=paint)[0]

            given = (state, images)
            if is_a_part(state):  # as Predictor has it
                forward, given = functools.partial(forward, state), (images,)
            compiled, flops[name], compile_s, temporaries = measure.compile_jitted(
                jax.jit(forward), *given
            )
            more[name] = {"compile_s": compile_s, "temporaries_mib": temporaries}
            functions[name] = functools.partial(compiled, *given)
        if torch_too:
            from benchmarks import torch_network

            functions |= torch_network.inference(network.config, count, dtype)
            if all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))):
                # in float32 beside ours in bfloat16 too: that is what it is quickest with
                functions |= torch_network.onnx_runtime(network.config, count)
        yield from workload.rows((size, count, dtype), functions, flops, quick, more)


def shipped(quick):
    """Yield one row a batch and contender: `ours` is `Predictor.answered`, with landmarks as in `predict`."""
    predictor = inference.load()
    program = programs.program(predictor)
    exported = jax.jit(programs.stablehlo(program).call)
    arrays, session = jax.device_put(program.arrays), None
    if not quick and all(map(importlib.util.find_spec, ("jax2onnx", "onnxruntime"))):
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)  # not what it leaves out
        onnx = programs.onnx(program)  # minutes
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    for count in (2,) if quick else (1, 16):
        rng, side = np.random.default_rng(0), predictor.size
        given = {
            "images": rng.integers(0, 256, (count, side, side, 3), np.uint8),
            "joints": rng.uniform(0.2 * side, 0.8 * side, (count, 21, 2)).astype(np.float32),
            "depth": np.zeros((count, 21), np.float32),
            "off": np.full(count, inference.OFF, np.float32),
        }
        functions = {
            "ours": functools.partial(predictor.answered, paint=0, **given),
            "exported": functools.partial(exported, arrays, *given.values()),
        }
        if session:
            functions["ONNX Runtime"] = functools.partial(session.run, None, given)
        seconds = measure.median_seconds(functions, 1 if quick else 3)
        for name, value in seconds.items():
            yield {
                "case": f"shipped, batch {count}: {name}",
                "ms": 1e3 * value,
                "images_s": count / value,
                "of_ours": value / seconds["ours"],
            }
