"""What inference computes once of a state changes no output."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny import tiniest_config

from amvur_jax import configuration
from amvur_jax.models.cpu.convolution import winograd, winograd_kernels
from amvur_jax.models.cpu.ready import ready
from amvur_jax.models.functional import Network, merge_dicts, split_state
from amvur_jax.models.hrnet import HRNet, HRNetSize
from amvur_jax.models.initial import Draws


@pytest.mark.parametrize("results", [2, 4])
@pytest.mark.parametrize("shape", [(1, 8, 8, 5, 7), (2, 7, 9, 4, 3), (1, 5, 6, 3, 2)])
def test_winograds_convolution_is_the_plain_one(shape, results):
    b, h, w, c, d = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(b, h, w, c)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, c, d)).astype(np.float32)
    order = ("NHWC", "HWIO", "NHWC")
    want = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order)
    found = winograd(jnp.asarray(x), jnp.asarray(winograd_kernels(kernel, results)))
    np.testing.assert_allclose(found, want, atol=5e-6 * np.abs(want).max())


@pytest.mark.skipif(
    jax.default_backend() != "cpu" or jax.device_count() > 1,
    reason="kernels are made ready for one CPU device: run it there",
)
def test_a_ready_backbone_gives_what_the_plain_one_does():
    size = dataclasses.replace(
        HRNetSize(), modules=(1, 1, 1), blocks=(1, 1, 1), stage1_blocks=1, features=32
    )
    model = HRNet(size, rngs=Draws(0))
    graphdef, state = nnx.split(model)[0], split_state(model)
    rng = np.random.default_rng(0)  # all but kernels as of a trained network, not 0 and 1
    state = jax.tree.map(
        lambda x: x + (x.ndim == 1) * rng.uniform(0, 0.5, x.shape).astype(np.float32), state
    )
    whole = {name: {"backbone": part} for name, part in state.items()}
    made = {name: part["backbone"] for name, part in ready(whole, 128).items()}
    changed = [
        new.shape[0]
        for new, old in zip(jax.tree.leaves(made["params"]), jax.tree.leaves(state["params"]))
        if new.shape != old.shape
    ]
    # Every BatchNorm is in its kernel.
    assert changed.count(0) == len(jax.tree.leaves(state["batch_stats"])) / 2
    assert not any(x.size for x in jax.tree.leaves(made["batch_stats"]))
    # On the map of 32 four results of a tile's side: stage 1, transition, two of each stage's branch.
    assert changed.count(36) == 1 + 1 + 3 * 2
    # On those of 16 and 8 two: of the branches of three and two stages and of the head; on 4 none.
    assert changed.count(16) == 3 * 2 + 2 * 2 + 2

    @jax.jit
    def run(params, stats, image):
        return nnx.merge(graphdef, nnx.State(merge_dicts(params, stats)))(image)

    def results(state, dtype="float32"):
        found = jax.tree.leaves(run(state["params"], state["batch_stats"], image.astype(dtype)))
        return [np.asarray(x, np.float32) for x in found]

    image = jnp.asarray(rng.normal(size=(1, 128, 128, 3)), jnp.float32)
    wanted = results(state)
    for found, want in zip(results(made), wanted, strict=True):
        np.testing.assert_allclose(found, want, atol=1e-5 * np.abs(want).max())
    # In bfloat16 it is not twice as far from float32 as the plain network is: 1.0 and 1.6 times.
    in_half = {name: part["backbone"] for name, part in ready(whole, 128, "bfloat16").items()}
    kernels = {x.dtype for x in jax.tree.leaves(in_half["params"]) if x.ndim > 1}
    assert kernels == {jnp.dtype("bfloat16")}
    for found, plain, want in zip(
        results(in_half, "bfloat16"), results(state, "bfloat16"), wanted, strict=True
    ):
        off, usual = (np.sqrt(np.square(x - want).mean()) for x in (found, plain))
        assert 0 < off < 2 * usual


def test_attention_in_bfloat16_has_its_kernels_rounded_once_and_nothing_else(tmp_path):
    config = configuration.network(configuration.to_dict(tiniest_config(tmp_path))).config
    network = Network(dataclasses.replace(config, dtype="bfloat16"))
    state = network.init(0)
    made = ready(state, config.image_size, "bfloat16")
    for block in ("encoder0", "encoder2", "texture"):
        types = jax.tree.map(lambda x: x.dtype.name, made["params"][block])
        attention = types["layers"]["layer0"]["attention"]["query"]
        assert attention == {"kernel": "bfloat16", "bias": "float32"}
        assert types["head"]["kernel"] == types["residual"]["kernel"] == "float32"
    rng = np.random.default_rng(0)
    tokens, g = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((216, 3), (2, config.backbone.features))
    )
    encode = jax.jit(lambda state: network.apply(state, tokens, g, method="encode")[0])
    for found, want in zip(encode(made), encode(state), strict=True):
        np.testing.assert_allclose(found, want, atol=1e-2 * np.abs(want).max())
