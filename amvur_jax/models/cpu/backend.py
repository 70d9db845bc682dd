"""Where code that is written for XLA's CPU backend takes the place of the plain one."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import jax

# Its XLA has weaknesses on a CPU that later ones do not have.
JAX_0_10 = jax.__version_info__ < (0, 11)

Q = ParamSpec("Q")
R = TypeVar("R")


_PLAIN = contextvars.ContextVar("plain", default=False)


def on_one_cpu() -> bool:
    """Whether all runs on one CPU device: where code for XLA's CPU backend pays, and moves nothing."""
    return not _PLAIN.get() and jax.default_backend() == "cpu" and jax.device_count() == 1


@contextlib.contextmanager
def plain_forms() -> Iterator[None]:
    """What is traced here and not under a jax.jit of its own takes the plain forms: to run elsewhere."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def one_cpu_takes(fast: Callable[..., R]) -> Callable[[Callable[Q, R]], Callable[Q, R]]:
    """Decorate a plain function: on one CPU device `fast`, of the same arguments, is called in its place."""

    def choose(plain: Callable[Q, R]) -> Callable[Q, R]:
        @functools.wraps(plain)
        def call(*args: Q.args, **kwargs: Q.kwargs) -> R:
            return (fast if on_one_cpu() else plain)(*args, **kwargs)

        return call

    return choose
