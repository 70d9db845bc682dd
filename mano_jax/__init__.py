"""A pure JAX hand model with MANO's interface, and a hand of its own."""

from mano_jax.coarse import coarse_matrix, read_downsampling
from mano_jax.errors import FileFormatError
from mano_jax.hand_files import load_hand, save_hand
from mano_jax.model import HandModel, PosedHand, ShapedHand

__all__ = [
    "FileFormatError",
    "HandModel",
    "PosedHand",
    "ShapedHand",
    "coarse_matrix",
    "load_hand",
    "read_downsampling",
    "save_hand",
]
