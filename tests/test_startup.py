"""What happens before the first step: XLA's flags."""

import os
import subprocess
import sys

import jax
import pytest

from amvur_jax import startup

SCRIPT = """
import sys, jax, jax.numpy as jnp
from amvur_jax import startup
if sys.argv[1] == "tuned":
    startup.tune_cpu()
for function in (jax.nn.softmax, lambda x: x @ x):
    print("ynn" in jax.jit(function).lower(jnp.ones((256, 256))).compile().as_text())
"""


@pytest.mark.skipif(
    jax.__version_info__[:2] != (0, 10) or jax.default_backend() != "cpu",
    reason="only jax 0.10 on a CPU has the flag's default that is turned off: install it to run this",
)
def test_a_tuned_cpu_has_ynn_for_products_alone():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_COMP"))}
    found = [
        subprocess.check_output(
            [sys.executable, "-c", SCRIPT, how], env=environment, text=True
        ).split()
        for how in ("plain", "tuned")
    ]
    assert found == [["True", "True"], ["False", "True"]]


def test_flags_that_are_chosen_stay(monkeypatch):
    monkeypatch.setattr(jax, "__version_info__", (0, 10, 2))
    chosen = "--xla_cpu_experimental_ynn_fusion_type=dot"
    monkeypatch.setenv("XLA_FLAGS", chosen)
    startup.tune_cpu()
    assert os.environ["XLA_FLAGS"] == chosen
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    startup.tune_cpu()
    assert os.environ["XLA_FLAGS"].startswith("--xla_backend_optimization_level=0 --xla_cpu_")
    monkeypatch.setattr(jax, "__version_info__", (0, 13, 0))
    monkeypatch.setenv("XLA_FLAGS", "")
    startup.tune_cpu()
    assert os.environ["XLA_FLAGS"] == ""
