"""An animated GLB, read and skinned again by the letter of its format."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glb import posed, read_glb
from hands import hand

import mano_jax
from amvur_jax.hands.animation import Animation
from amvur_jax.hands.colors import linear
from mano_jax.limits import sample_pose

GL_AXES = np.array([1, -1, -1])
TIMES = [0.5, 0.54, 0.6, 0.64, 0.7, 0.74]
# The tracks of each frame: the left hand comes later, goes and comes back.
TRACKS = [(0,), (0, 1), (0, 1), (0,), (0, 1), (0,)]


@jax.jit
def skinned(model, pose, betas):
    return model.with_shape(betas).with_pose(pose).vertices


def bent(side, seed, betas, correct):
    """A hand of the model, with or without its pose correctives."""
    rng = np.random.default_rng(seed)
    model = mano_jax.load_hand(side=side)
    if not correct:
        model = dataclasses.replace(model, posedirs=jnp.zeros_like(model.posedirs))
    pose = np.asarray(sample_pose(rng, 1)[0], np.float64)
    if side == "left":
        pose *= [1, -1, -1]
    pose[0] = rng.normal(size=3)
    translation = rng.normal(size=3)
    vertices = np.asarray(skinned(model, pose, betas), np.float64) + translation
    return hand(side, seed=seed)._replace(
        vertices_cam=vertices,
        wrist_rotation=pose[0],
        finger_pose=pose[1:],
        betas=betas,
        translation=translation,
    )


def made(correct=False, shapes=0.0):
    """The GLB of six frames of two hands, and the hands of each frame."""
    rng = np.random.default_rng(0)
    animation, frames = Animation(mano_jax.load_hand()), []
    mean = rng.normal(size=(2, 10))
    for i, (time, tracks) in enumerate(zip(TIMES, TRACKS)):
        hands = {
            t: bent(
                ("right", "left")[t], 10 * i + t, mean[t] + shapes * rng.normal(size=10), correct
            )
            for t in tracks
        }
        animation.add(time, hands.items())
        frames.append(hands)
    return animation.glb(), frames


def off_mm(tree, arrays, frames):
    """Distances, mm, of each hand's vertices from those that the file has at its time, (n,V)."""
    found = []
    for time, hands in zip(TIMES, frames):
        there = posed(tree, arrays, time)
        for track, own in hands.items():
            vertices = there[f"{own.side} hand {track + 1} mesh"] * GL_AXES
            found.append(np.linalg.norm(vertices - own.vertices_cam, axis=-1))
    return 1000 * np.array(found)


def test_at_each_frame_the_meshes_are_the_hands():
    data, frames = made()
    tree, arrays = read_glb(data)
    assert off_mm(tree, arrays, frames).max() < 0.01


def test_what_the_correctives_make_is_small():
    data, frames = made(correct=True)
    off = off_mm(*read_glb(data), frames)
    # docs/video.md
    assert off.mean() < 0.3 and off.max() < 5
    assert off.max() > 0.1  # they are there


def test_the_shape_is_the_tracks_mean_and_the_wrist_where_it_was():
    data, frames = made(shapes=0.3)
    tree, arrays = read_glb(data)
    assert 0.2 < off_mm(tree, arrays, frames).mean() < 3
    model = mano_jax.load_hand()
    for time, hands in zip(TIMES, frames):
        rest = model.with_shape(hands[0].betas).joints[0]
        wrist = np.asarray(rest, np.float64) + hands[0].translation
        (node,) = [i for i, n in enumerate(tree["nodes"]) if n["name"] == "right hand 1 joint 0"]
        (channel,) = [
            c
            for c in tree["animations"][0]["channels"]
            if c["target"] == {"node": node, "path": "translation"}
        ]
        sampler = tree["animations"][0]["samplers"][channel["sampler"]]
        (row,) = np.flatnonzero(arrays[sampler["input"]][:, 0] == np.float32(time))
        np.testing.assert_allclose(arrays[sampler["output"]][row], wrist, atol=1e-6)


@pytest.mark.parametrize(
    ("time", "shown"),
    [(0.5, False), (0.53, False), (0.57, True), (0.65, False), (0.72, True), (0.74, False)],
)
def test_a_hand_has_no_size_where_it_is_not_seen(time, shown):
    tree, arrays = read_glb(made()[0])
    there = posed(tree, arrays, time)
    assert (np.ptp(there["left hand 2 mesh"], axis=0).max() > 0.05) == shown
    assert np.ptp(there["right hand 1 mesh"], axis=0).max() > 0.05


def test_meshes_have_mean_colours_and_sigma_four_weights_and_look_outwards():
    data, frames = made()
    tree, arrays = read_glb(data)
    for track, side in enumerate(("right", "left")):
        own = [hands[track] for hands in frames if track in hands]
        (node,) = [n for n in tree["nodes"] if n["name"] == f"{side} hand {track + 1} mesh"]
        (part,) = tree["meshes"][node["mesh"]]["primitives"]
        of = {name: arrays[i] for name, i in part["attributes"].items()}
        colors = np.mean([hand.colors for hand in own], 0)
        np.testing.assert_allclose(of["COLOR_0"], linear(colors), atol=1e-6)
        sigma = np.mean([hand.vertices_sigma_mm for hand in own], 0)
        np.testing.assert_allclose(of["_SIGMA"][:, 0], sigma, rtol=1e-5)
        np.testing.assert_allclose(of["WEIGHTS_0"].sum(1), 1, atol=1e-6)
        assert (of["JOINTS_0"][of["WEIGHTS_0"] == 0] == 0).all()
        a, b, c = (of["POSITION"][arrays[part["indices"]].reshape(-1, 3)[:, i]] for i in range(3))
        middle = of["POSITION"].mean(0)
        assert 1e-4 < ((a - middle) * np.cross(b - middle, c - middle)).sum() / 6 < 1e-3


def test_quaternions_are_units_and_take_the_shorter_way():
    tree, arrays = read_glb(made()[0])
    for channel in tree["animations"][0]["channels"]:
        sampler = tree["animations"][0]["samplers"][channel["sampler"]]
        times, values = arrays[sampler["input"]][:, 0], arrays[sampler["output"]]
        assert len(times) == len(values) and (np.diff(times) > 0).all()
        if channel["target"]["path"] == "rotation":
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
            assert ((values[1:] * values[:-1]).sum(1) >= 0).all()
