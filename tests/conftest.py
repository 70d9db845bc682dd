"""Settings of the tests, and what several files share: the recorded networks, made once."""

import os
import pathlib

# Tests run small things once: compiling dominates, so compile without LLVM's optimisations and keep
# what was compiled.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
ROOT = pathlib.Path(__file__).parents[1]
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))

if os.environ.get("TEST_CPU_LIBRARIES") == "scripts":  # in place of XLA's own choice
    from amvur_jax.runtime import startup

    startup.tune_cpu()

import jax  # noqa: E402
import pytest  # noqa: E402
import reference  # noqa: E402
from hypothesis import settings  # noqa: E402
from trees import write_ho3d  # noqa: E402

# `make test` draws the same examples every time, so that it never fails by chance; `make test-slow` draws
# ten times as many, others every time. A failing example that it finds is pinned with @example.
settings.register_profile("fast", max_examples=20, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "slow", max_examples=200, deadline=None, derandomize=False, print_blob=True
)
settings.load_profile("fast")


@pytest.fixture(scope="session")
def small_weights():
    """The state dict of the small recorded network."""
    return reference.state_dict("small")


@pytest.fixture(scope="session")
def small_state(small_weights):
    """Our state of the small recorded network."""
    return reference.state(small_weights)


@pytest.fixture(scope="session")
def full_weights():
    """The state dict of the published size: 204 M numbers, for the slow tests."""
    return reference.state_dict("full")


@pytest.fixture(scope="session")
def full_state(full_weights):
    """Our state of the published size."""
    return reference.state(full_weights)


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """An official HO-3D folder of 5 training and 3 evaluation frames, for those who only read it."""
    root = tmp_path_factory.mktemp("ho3d")
    write_ho3d(root, train=5, evaluation=3)
    return root


@pytest.fixture(scope="module")
def highest_precision():
    """Products in full float32 on every device, as the recorded runs had."""
    with jax.default_matmul_precision("highest"):
        yield
