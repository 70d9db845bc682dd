"""The network's answer as one function of plain arrays, and as StableHLO for any batch, on CPU and CUDA."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters.partial_eval import dce_jaxpr

from amvur_jax import weights
from amvur_jax.inference import Predictor, keypoints_of
from amvur_jax.models.colors import normalize
from amvur_jax.models.cpu.backend import plain_forms

PLATFORMS = ("cpu", "cuda")
# What XLA computes by itself, wherever it is: it checks the symbolic batch as the program is loaded.
CUSTOM_CALLS = {"shape_assertion"}

Arrays = dict[str, jax.Array]


def arrays_of(predictor: Predictor) -> Arrays:
    """All that `answer` reads of a network: its state and hand model, by names with slashes."""
    hand = {name: value for name, value in vars(predictor.hand).items() if hasattr(value, "shape")}
    return dict(weights.flat({**predictor.state, "hand": hand}))


def inputs_of(predictor: Predictor) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shape, without the batch, and dtype of each input but the weights, in the order of `answer`."""
    found: dict[str, tuple[tuple[int, ...], Any]] = {
        "images": ((predictor.size, predictor.size, 3), np.uint8)
    }
    if predictor.network.config.keypoints != "map":
        found |= {
            "joints": ((21, 2), np.float32),
            "depth": ((21,), np.float32),
            "off": ((), np.float32),
        }
    return found


def answer(predictor: Predictor) -> Callable[..., Arrays]:
    """The function (arrays, *inputs) -> outputs of a network, each of them with the batch in front.

    Written for one sample and mapped over the batch, whose size need not be known.
    """
    config, mode = predictor.network.config, predictor.config["loss"]["mode"]
    shaped = config.predict_shape or config.pose_head == "residual"
    temperatures = (predictor.temperature or 1.0, predictor.temperature_given or 1.0)

    def batch_of_one(arrays: Arrays, image: jax.Array, *seen: jax.Array) -> Arrays:
        state = weights.nested(arrays)
        hand = dataclasses.replace(predictor.hand, **state.pop("hand"))
        keypoints, given = None, None
        if seen:
            joints, depth, off = seen
            keypoints, given = keypoints_of(joints, depth, off, predictor.size)
        is_given = jnp.zeros(1) if given is None else given
        with plain_forms():
            outputs, _ = predictor.network.apply(
                state, normalize(image), hand, paint=0, keypoints=keypoints, given=given
            )
        view, sigma = predictor.view(outputs), predictor.sigma(outputs)
        temperature = jnp.where(is_given > 0, temperatures[1], temperatures[0])[:, None]

        def millimetres(log_var: jax.Array) -> jax.Array:
            return 1000 * jnp.sqrt(temperature * jnp.exp(log_var).mean(-1))

        found = {
            "vertices": view.vertices,
            "joints": view.joints,
            "K": view.K,
            "vertices_sigma_mm": millimetres(sigma.vertices),
            "joints_sigma_mm": millimetres(sigma.joints),
            "finger_pose": outputs.tsa_poses[:, 1:],
            "betas": outputs.betas if shaped else jnp.zeros_like(outputs.betas),
        }
        if outputs.turns is not None and mode == "weak":
            # points = R (X (x - wrist) + wrist) + t, X the root's own half turn about x.
            rotation, _, betas, shift = (x[-1] for x in outputs.turns.pose)
            wrist = hand.with_shape(betas).joints[:, 0]
            found["wrist_matrix"] = rotation * jnp.array([1.0, -1.0, -1.0])
            turned = jnp.einsum("bij,bj->bi", rotation, wrist, precision="highest")
            found["translation"] = turned + shift - wrist
        return found

    def batch(arrays: Arrays, *inputs: jax.Array) -> Arrays:
        def sample(*one: jax.Array) -> Arrays:
            return jax.tree.map(lambda x: x[0], batch_of_one(arrays, *(x[None] for x in one)))

        return jax.vmap(sample)(*inputs)

    return batch


class Program(NamedTuple):
    """What a network computes: `function` (arrays, *inputs) -> outputs, its inputs' shapes, its arrays."""

    function: Callable[..., Arrays]
    inputs: dict[str, jax.ShapeDtypeStruct]
    outputs: dict[str, jax.ShapeDtypeStruct]
    arrays: dict[str, np.ndarray]


def program(predictor: Predictor) -> Program:
    """The answer for a batch of any size, traced, and those arrays that it has a need of."""
    arrays = arrays_of(predictor)
    (batch,) = jax.export.symbolic_shape("batch")
    inputs = {
        name: jax.ShapeDtypeStruct((batch, *shape), dtype)
        for name, (shape, dtype) in inputs_of(predictor).items()
    }
    traced, outputs = jax.make_jaxpr(answer(predictor), return_shape=True)(arrays, *inputs.values())
    # With a symbolic batch jax.export keeps every argument, of a weakly supervised network the posterior's
    # too (findings/jax_export_keeps_unused_arguments_of_a_symbolic_batch.sh).
    every = [True] * len(traced.jaxpr.outvars)
    needed, used = dce_jaxpr(traced.jaxpr, every, [False] * len(arrays) + [True] * len(inputs))
    call = jaxpr_as_fun(ClosedJaxpr(needed, traced.consts))
    kept = [name for name, is_used in zip(sorted(arrays), used) if is_used]

    def function(arrays: Arrays, *inputs: jax.Array) -> Arrays:
        return dict(zip(sorted(outputs), call(*(arrays[name] for name in kept), *inputs)))

    return Program(function, inputs, outputs, {name: np.asarray(arrays[name]) for name in kept})


def stablehlo(program: Program) -> jax.export.Exported:
    """The program for PLATFORMS, without our files' names in it.

    Raises:
      ValueError: it calls what not every machine or release has.
    """
    limit = jax.config.jax_traceback_in_locations_limit  # type: ignore[attr-defined]
    jax.config.update("jax_traceback_in_locations_limit", 0)
    try:
        exported = jax.export.export(jax.jit(program.function), platforms=PLATFORMS)(
            program.arrays, *program.inputs.values()
        )
    finally:
        jax.config.update("jax_traceback_in_locations_limit", limit)
    called = set(re.findall(r"custom_call @(\w+)", exported.mlir_module())) - CUSTOM_CALLS
    if called:
        raise ValueError(f"the program calls {', '.join(sorted(called))}")
    return exported


def onnx(program: Program) -> bytes:
    """The program and its arrays as one ONNX model, whose outputs are called NAME_out: joints go in, too."""
    from jax2onnx import to_onnx

    def function(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        found = program.function(program.arrays, *inputs)
        return tuple(found[name] for name in sorted(program.outputs))

    model = to_onnx(
        function,
        inputs=[*program.inputs.values()],
        model_name="hand",
        input_names=[*program.inputs],
        output_names=[f"{name}_out" for name in sorted(program.outputs)],
    )
    return model.SerializeToString()
