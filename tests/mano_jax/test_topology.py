"""Joint orders, bones and fingertips against the names of the joints."""

import numpy as np
import pytest

from mano_jax import topology
from mano_jax.topology import FINGERS, HO3D_TO_MODEL, JOINT_NAMES, MANO_JOINT_NAMES, MODEL_TO_HO3D

HO3D_NAMES = [*MANO_JOINT_NAMES, *(f"{finger}4" for finger in FINGERS)]


def test_orders_follow_the_names():
    assert [HO3D_NAMES[i] for i in HO3D_TO_MODEL] == list(JOINT_NAMES)
    assert [JOINT_NAMES[i] for i in MODEL_TO_HO3D] == HO3D_NAMES
    published = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]
    assert MODEL_TO_HO3D.tolist() == published
    mano = [JOINT_NAMES[i] for i in topology.MODEL_TO_MANO21]
    fingers = ("index", "middle", "pinky", "ring", "thumb")
    assert mano == ["wrist", *(f"{f}{i}" for f in fingers for i in (1, 2, 3, 4))]


def test_bones_are_the_parents_by_name():
    bones = {(JOINT_NAMES[a], JOINT_NAMES[b]) for a, b in topology.BONES}
    names = MANO_JOINT_NAMES
    chain = {(names[p], names[j]) for j, p in enumerate(topology.PARENTS) if p >= 0}
    assert bones == chain | {(f"{finger}3", f"{finger}4") for finger in FINGERS}


def test_fingertip_presets():
    assert topology.fingertip_vertices("ho3d").tolist() == [744, 333, 444, 555, 672]
    assert topology.fingertip_vertices("amvur").tolist() == [745, 317, 445, 556, 673]
    with pytest.raises(ValueError, match="manopth"):
        topology.fingertip_vertices("left")


def test_manopth_has_its_own_middle_tip_of_a_left_hand():
    """The lists in manopth/manolayer.py: a side each; other presets know no side."""
    published = {"right": [745, 317, 444, 556, 673], "left": [745, 317, 445, 556, 673]}
    for side, tips in published.items():
        assert topology.fingertip_vertices("manopth", side).tolist() == tips
    for preset in ("ho3d", "freihand", "amvur"):
        left, right = (topology.fingertip_vertices(preset, side) for side in ("left", "right"))
        assert left.tolist() == right.tolist()
    with pytest.raises(ValueError, match="side='both'"):
        topology.fingertip_vertices("manopth", "both")


def test_ascii_hand_shows_every_joint():
    picture = topology.__doc__.split("\n\n")[2]
    shown = sorted(
        int(n) for n in picture.replace("wrist", "").split() if n.strip("\\|/").isdigit()
    )
    assert shown == list(np.arange(21))
