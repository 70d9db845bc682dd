"""What a run would take, told whatever the device knows of itself."""

import re

import jax
import jax.numpy as jnp
import pytest

from amvur_jax.runtime import devices
from amvur_jax.runtime.startup import Stopwatch
from amvur_jax.training.estimate import describe


@pytest.mark.parametrize("known", [True, False])
def test_a_device_that_does_not_tell_its_memory_is_described_all_the_same(
    known, monkeypatch, capsys
):
    if not known:
        monkeypatch.setattr(jax.stages.Compiled, "memory_analysis", lambda self: None)
    step = jax.jit(lambda state, batch, paint: batch["x"] @ state["model"]["params"]["w"])
    shapes = {"model": {"params": {"w": jax.ShapeDtypeStruct((256, 512), jnp.float32)}}}
    describe(step, shapes, {"x": jnp.ones((512, 256))}, 0, devices.make_mesh(), Stopwatch())
    shown = capsys.readouterr().out
    # 2 * 512 * 256 * 512 operations; 512 * 256 + 256 * 512 numbers of four bytes
    for words in ("131,072", "0.13 GFLOP", "batch x", "float32[512, 256]"):
        assert words in shown
    parts = re.search(r"start-up, s +imports ([\d.]+), trace ([\d.]+), compile ([\d.]+)\n", shown)
    assert float(parts[1]) > 0
    assert ("1.0 MiB of state and batch" in shown) == known
    assert ("does not tell" in shown) != known
