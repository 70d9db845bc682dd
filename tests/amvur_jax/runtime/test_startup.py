"""What happens before the first step: XLA's flags, the cache of compiled code, other processes."""

import gc
import os
import platform
import subprocess
import sys

import jax
import pytest

from amvur_jax.errors import UserError
from amvur_jax.models.cpu.backend import JAX_0_10
from amvur_jax.runtime import startup

SCRIPT = """
import sys, jax, jax.numpy as jnp
from amvur_jax.runtime import startup
if sys.argv[1] == "tuned":
    startup.tune_cpu()
def convolve(x):
    return jax.lax.conv(x[None, :, None], x[:, :, None, None], (1, 1), "VALID")
for function in (jax.nn.softmax, lambda x: x @ x, convolve):
    text = jax.jit(function).lower(jnp.ones((512, 512))).compile().as_text()
    print(*(name for name in ("ynn", "onednn") if name in text), sep="+")
"""


@pytest.mark.skipif(
    jax.default_backend() != "cpu" or platform.machine() not in ("x86_64", "AMD64"),
    reason="looks at what XLA compiles for an x86 CPU: run it on one",
)
def test_a_tuned_cpu_has_the_libraries_of_its_release():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_COMP"))}
    plain, tuned = (
        subprocess.check_output(
            [sys.executable, "-c", SCRIPT, how], env=environment, text=True
        ).split("\n")[:3]
        for how in ("plain", "tuned")
    )
    assert plain == ["ynn", "ynn", "ynn"]
    assert tuned == (["", "ynn", ""] if JAX_0_10 else ["ynn", "ynn", ""])


CONVOLVE = """
import sys, jax, jax.monitoring, jax.numpy as jnp
from amvur_jax.runtime import startup
startup.tune_cpu()
startup.keep_compiled(sys.argv[1])
x, kernel = jnp.ones((8, 32, 32, 16)), jnp.ones((3, 3, 16, 32))
order = ("NHWC", "HWIO", "NHWC")
def convolve(x, kernel):
    x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order)
    return jax.nn.softmax(x)
lowered = jax.jit(convolve).lower(x, kernel)
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
lowered.compile()
print(events.count("/jax/compilation_cache/cache_hits"))
"""


def test_a_convolution_is_compiled_once_and_found_by_the_next_process(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_COMP"))}
    hits = []
    for _ in range(2):
        command = [sys.executable, "-c", CONVOLVE, tmp_path]
        hits.append(int(subprocess.check_output(command, env=environment, text=True)))
        assert len([*tmp_path.glob("jit_convolve-*-cache")]) == 1
    assert hits == [0, 1]


def tuned(monkeypatch, release, chosen=""):
    """XLA_FLAGS of a tuned CPU with this release of jax, on x86."""
    monkeypatch.setattr(jax, "__version_info__", release)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("XLA_FLAGS", chosen)
    startup.tune_cpu()
    return os.environ["XLA_FLAGS"]


def test_flags_that_are_chosen_stay(monkeypatch):
    fusions = "--xla_cpu_experimental_ynn_fusion_type="
    assert tuned(monkeypatch, (0, 10, 2), fusions + "dot") == fusions + "dot"
    level = "--xla_backend_optimization_level=0"
    assert tuned(monkeypatch, (0, 10, 2), level).startswith(f"{level} {fusions}-dot")
    onednn = "--xla_cpu_experimental_onednn_custom_call=true"
    assert tuned(monkeypatch, (0, 12, 0), onednn) == f"{onednn} {fusions}-individual_convolution"


def test_other_releases_and_processors_are_left_alone(monkeypatch):
    assert tuned(monkeypatch, (0, 13, 0)) == ""
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))
    startup.tune_cpu()
    assert os.environ["XLA_FLAGS"] == ""


@pytest.mark.parametrize(
    "release, chosen, flags",
    [
        ((0, 10, 2), "--other=1", "--other=1 --xla_cpu_use_fusion_emitters=false"),
        ((0, 10, 2), "--xla_cpu_use_fusion_emitters=true", "--xla_cpu_use_fusion_emitters=true"),
        ((0, 12, 0), "", ""),  # whose XLA ends the process at it
    ],
)
def test_a_small_compiler_is_asked_for_where_there_is_one(monkeypatch, release, chosen, flags):
    monkeypatch.setattr(jax, "__version_info__", release)
    monkeypatch.setenv("XLA_FLAGS", chosen)
    startup.compile_small()
    assert os.environ["XLA_FLAGS"] == flags


SMALL = """
import sys, jax, jax.numpy as jnp
from amvur_jax.runtime import startup
if sys.argv[1] == "small":
    startup.compile_small()
print(float(jax.jit(lambda x: jnp.tanh(x).sum())(jnp.arange(8.0))))
"""


def test_a_small_compiler_is_known_to_this_release_and_computes_the_same():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_COMP"))}
    found = [
        float(subprocess.check_output([sys.executable, "-c", SMALL, how], env=environment))
        for how in ("usual", "small")
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked: run it there")
def test_what_the_c_library_keeps_goes_back_to_the_system():
    script = (
        "import numpy as np, re; from amvur_jax.runtime import startup;"
        "held = lambda: int(re.search('VmRSS:\\\\s*(\\\\d+)', open('/proc/self/status').read())[1]) >> 10;"
        "blocks = [np.ones(1024) for _ in range(25_600)]; last = blocks[-1]; full = held(); del blocks;"
        "startup.return_memory(); print(full - held())"
    )
    freed = int(subprocess.check_output([sys.executable, "-c", script], text=True))
    assert 180 <= freed <= 220  # of 200 MiB


@pytest.mark.parametrize("users", [False, True])
def test_what_is_compiled_is_kept_where_it_was_said(tmp_path, users):
    script = (
        "import sys, jax; from amvur_jax.runtime import startup; startup.keep_compiled(sys.argv[1]);"
        "jax.jit(lambda x: x @ x)(jax.numpy.ones((8, 8)))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMP")}
    if users:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "users")
    command = [sys.executable, "-c", script, tmp_path / "ours"]
    subprocess.run(command, env=environment, check=True, timeout=300)
    assert [path.name for path in tmp_path.iterdir()] == ["users" if users else "ours"]
    assert any(tmp_path.glob("*/*"))


def test_what_stays_is_not_looked_through_for_garbage():
    before, looks = gc.get_threshold(), []
    gc.callbacks.append(lambda phase, info: looks.append(phase))
    try:
        startup.collect_rarely()
        kept = [[] for _ in range(40_000)]  # sixty looks, or twenty, of Python's own
        assert len(kept) == 40_000 and looks.count("start") <= 1
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*before)


def test_the_cache_is_below_the_users_own(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert startup.cache_folder() == "/somewhere/amvur_jax/xla"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert startup.cache_folder() == "/home/somebody/.cache/amvur_jax/xla"


def test_processes_meet_where_they_are_told_to(monkeypatch):
    met = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *where: met.append(where))
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    startup.meet_processes()  # a run of one
    startup.meet_processes("HOST0:9911", 2, 0)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    startup.meet_processes()
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    startup.meet_processes(distributed=True)
    assert met == [("HOST0:9911", 2, 0), (None, None, None), (None, None, None)]
    with pytest.raises(UserError, match="--distributed goes without"):
        startup.meet_processes("HOST0:9911", 2, 0, distributed=True)
    with pytest.raises(UserError, match="--coordinator, --processes and --process go together"):
        startup.meet_processes("HOST0:9911", 2)
