"""What a builder finds wrong with labels that are read without complaint."""

import dataclasses

import numpy as np
import pytest
from trees import write_ho3d

from amvur_jax.data.frame_checks import problem
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.readers.kinematics import KinematicChain
from mano_jax import load_hand
from mano_jax.topology import HO3D_TO_MODEL


@pytest.fixture
def frame(tmp_path):
    """A frame whose joints are those of its MANO parameters, 0.6 m before the camera."""
    write_ho3d(tmp_path, train=1)
    frame, chain = HO3D(tmp_path).frame(0), KinematicChain(load_hand())
    joints16 = chain.joints(frame.pose, frame.betas)
    trans = np.array([0.0, 0.0, 0.6]) - joints16[0]
    joints = np.concatenate([joints16, joints16[[15, 3, 6, 12, 9]]])[HO3D_TO_MODEL] + trans
    return dataclasses.replace(
        frame, joints_cam=joints, trans=trans, box=np.array([250.0, 180.0, 420.0, 330.0])
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: {}, None),
        (lambda f: {"joints_cam": f.joints_cam + [0, 0, 0.004]}, None),
        (lambda f: {"joints_cam": f.joints_cam + [0, 0, 0.006]}, "6.0 mm apart"),
        (lambda f: {"joints_cam": f.joints_cam - [0, 0, 0.6]}, "behind the camera"),
        (lambda f: {"joints_cam": f.joints_cam + [9, 0, 0]}, "no joint projects into the picture"),
        (lambda f: {"box": f.box + 900}, "is not in the picture"),
    ],
)
def test_the_first_thing_that_is_wrong_is_said(frame, change, words):
    found = problem(dataclasses.replace(frame, **change(frame)), KinematicChain(load_hand()))
    assert found is None if words is None else words in found
