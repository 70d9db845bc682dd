"""Each mistake is named, with the number that betrays it; what is right is left alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from amvur_jax.predictions.writer import official
from amvur_jax.scoring.mistakes import find_mistakes
from mano_jax import load_hand
from mano_jax.topology import HO3D_TO_MODEL, MODEL_TO_HO3D, MODEL_TO_MANO21


@pytest.fixture(scope="module")
def truth():
    """24 hands in HO-3D's form, and predictions of them some millimetres off, wrist on wrist."""
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.3, (2, 24, 16, 3))
    pose[1] = pose[0] + rng.normal(0, 0.1, pose[0].shape)
    posed = load_hand().with_shape(jnp.zeros(10)).with_pose(jnp.asarray(pose))
    places = rng.normal([0, 0, 0.6], 0.05, (24, 1, 3))
    joints, vertices = np.asarray(posed.joints_21("ho3d")), np.asarray(posed.vertices)
    moved = places - joints[:, :, :1]
    pairs = [official(j, v, "ho3d_v2") for j, v in zip(joints + moved, vertices + moved)]
    return [*pairs[1], *pairs[0]]


def test_nothing_is_wrong_with_good_predictions(truth):
    assert find_mistakes(*truth) == []
    assert find_mistakes(*truth, dataset="ho3d") == []


def roll(x):
    return np.roll(x, 1, axis=1)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda j, v: (1000 * j, 1000 * v), ("joints", "vertices", "millimetres")),
        (lambda j, v: (100 * j, v), ("joints", "centimetres")),
        (lambda j, v: (j * [1, -1, -1], v * [1, -1, -1]), ("OpenCV", "OpenGL")),
        (lambda j, v: (j * [-1, 1, 1], v * [-1, 1, 1]), ("mirrored",)),
        (lambda j, v: (j[:, HO3D_TO_MODEL], v), ("order", "the model's")),
        (lambda j, v: (roll(j), v), ("order", "[1, 2, 3")),
        (lambda j, v: (j - j[:, :1], v - j[:, :1]), ("not aligned at the wrist",)),
        (lambda j, v: (j, v + [0, 0, 0.1]), ("apart", "fingertips")),
        (lambda j, v: (np.tile(j[:1], (24, 1, 1)), v), ("the same hand", "every frame")),
    ],
)
def test_a_mistake_is_named(truth, change, words):
    found = find_mistakes(*change(*truth[:2]), *truth[2:])
    text = " | ".join(found)
    for word in words:
        assert word in text


@pytest.mark.parametrize("points", [1, 12, 23, 24])
@pytest.mark.parametrize("which", [("joints",), ("vertices",), ("joints", "vertices")])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_hands_that_are_points_hide_no_other_mistake_and_stop_nothing(truth, points, which, value):
    joints, vertices, *rest = (x.copy() for x in truth)
    joints, vertices = 1000 * joints, 1000 * vertices
    for name in which:
        {"joints": joints, "vertices": vertices}[name][:points] = value
    found = " ".join(find_mistakes(joints, vertices, *rest))
    if points < 24:
        assert "the joints are" in found and "the vertices are" in found and "millimetres" in found
    elif len(which) == 1:
        (other,) = {"joints", "vertices"} - set(which)
        assert f"the {other} are" in found and "millimetres" in found
    else:
        assert not found


def test_a_fifth_of_wild_joints_is_no_other_unit(truth):
    joints, vertices, *rest = (x.copy() for x in truth)
    wild = np.random.default_rng(0).permutation(21)[:4]
    joints[:, wild] += np.random.default_rng(1).normal(0, 1.0, (24, 4, 3))
    assert not [text for text in find_mistakes(joints, vertices, *rest) if "times as large" in text]


def test_only_the_mistake_that_was_made_is_named(truth):
    joints, vertices, *rest = truth
    flip = [1, -1, -1]
    move = joints[:, :1] - joints[:, :1] * flip  # on the wrist all the same
    (only,) = find_mistakes(joints * flip + move, vertices * flip + move, *rest)
    assert "OpenCV" in only


@pytest.mark.parametrize(
    "program, words, order",
    [
        ("ho3d", "MANO's with tips", MODEL_TO_MANO21),
        ("ho3d", "the model's", range(21)),
        ("freihand", "MANO's with tips", MODEL_TO_MANO21),
        ("freihand", "HO-3D's", MODEL_TO_HO3D),
    ],
)
def test_an_order_is_named(truth, program, words, order):
    joints, vertices, gt_joints, gt_vertices = truth
    own = MODEL_TO_HO3D if program == "ho3d" else np.arange(21)
    model, gt_model = joints[:, HO3D_TO_MODEL], gt_joints[:, HO3D_TO_MODEL]
    found = find_mistakes(model[:, list(order)], vertices, gt_model[:, own], gt_vertices, program)
    assert any("another order" in text and words in text for text in found), found


def test_freihand_wants_no_wrist_and_the_models_order(truth):
    turned = [x * [1, -1, -1] for x in truth]
    joints, vertices, gt_joints, gt_vertices = turned
    joints, gt_joints = joints[:, HO3D_TO_MODEL], gt_joints[:, HO3D_TO_MODEL]
    far = joints + 0.3, vertices + 0.3
    assert find_mistakes(*far, gt_joints, gt_vertices, "freihand") == []
    (only,) = find_mistakes(truth[0] * [1, -1, -1], vertices, gt_joints, gt_vertices, "freihand")
    assert "HO-3D's" in only
