"""AMVUR in JAX: a probabilistic hand mesh, camera and texture from one picture."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amvur_jax.hands.reconstruct import reconstruct as reconstruct
else:

    def __getattr__(name):
        """`reconstruct`, which brings the network with it, is imported when it is asked for."""
        if name != "reconstruct":
            raise AttributeError(f"module 'amvur_jax' has no attribute {name!r}")
        from amvur_jax.hands.reconstruct import reconstruct

        return reconstruct
