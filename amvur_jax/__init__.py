"""AMVUR in JAX: a probabilistic hand mesh, camera and texture from one picture."""
