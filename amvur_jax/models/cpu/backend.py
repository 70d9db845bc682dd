"""Where code that is written for XLA's CPU backend takes the place of the plain one."""

import functools

import jax

# Its XLA has weaknesses on a CPU that later ones do not have.
JAX_0_10 = jax.__version_info__ < (0, 11)


def on_one_cpu():
    """Whether all runs on one CPU device: where code for XLA's CPU backend pays, and moves nothing."""
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def one_cpu_takes(fast):
    """Decorate a plain function: on one CPU device `fast`, of the same arguments, is called in its place."""

    def choose(plain):
        @functools.wraps(plain)
        def call(*args, **kwargs):
            return (fast if on_one_cpu() else plain)(*args, **kwargs)

        return call

    return choose
