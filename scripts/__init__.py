"""Thin absl mains; in the wheel they are amvur_jax.scripts, behind the command `amvur`."""
