"""The fit by gradients through the rasteriser: it comes near a hand that it was not told."""

import os
import pathlib
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

import render
from amvur_jax.fitting import fit, rig
from amvur_jax.fitting import trial as trials
from mano_jax import load_hand
from mano_jax.rotations import rotation_matrix

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def hand():
    return load_hand()


# They differ in nothing that is compiled, so that one step is, and without the picture: the slow
# test has it.
ALIKE = {"shrink": 1, "sigma": 2e-4, "photometric": 0.0}
STAGES = (
    fit.Stage(share=0.3, rate=(2.0, 2.0), rigid=True, **ALIKE),
    fit.Stage(share=0.7, rate=(2.0, 0.3), **ALIKE),
)


@pytest.fixture(scope="module")
def small(hand):
    """A trial of two starts, and the track of its fit."""
    trial = trials.make_trial(hand, 2, seed=1, size=32)
    given = (trial.colors, trial.rig, trial.observation, trial.starts)
    return trial, fit.descend(hand, *given, steps=30, stages=STAGES)


def test_starts_come_near_the_target(small):
    trial, track = small
    first, last = trials.at(track, 0), trials.at(track, -1)
    before, after = (trials.vertex_error_mm(trial, p) for p in (first, last))
    assert np.all(before > 20) and np.all(after < 0.5 * before)
    assert all(np.isfinite(x).all() for x in track.parameters)


def test_the_first_stage_moves_the_hand_as_a_whole(small):
    _, track = small
    rigid = round(STAGES[0].share * len(track.loss))
    for name in ("focal", "pose", "betas"):
        values = getattr(track.parameters, name)
        assert np.all(values[: rigid + 1] == values[0]) and np.any(values[rigid + 1] != values[0])
    assert np.any(track.parameters.rotation[1] != track.parameters.rotation[0])


def test_starts_are_within_thirty_degrees(small):
    trial, _ = small
    turns = np.asarray(rotation_matrix(trial.starts.rotation))
    cosine = (np.einsum("bij,ij->b", turns, np.asarray(trial.rotation)) - 1) / 2
    degrees = np.rad2deg(np.arccos(cosine))
    assert degrees == pytest.approx(trial.degrees, abs=0.05)
    assert np.all((degrees > 5) & (degrees < 30))


def test_focal_length_scales_pictures_about_their_middle():
    cameras, points = rig.make_rig(64), jnp.array([[0.02, -0.03, 0.05], [-0.08, 0.01, 0.0]])
    near, far = (render.project(*cameras.seen(points, jnp.log(f))) for f in (1.0, 1.5))
    assert np.asarray(far) - 32 == pytest.approx(1.5 * (np.asarray(near) - 32), abs=1e-4)


def test_a_smaller_observation_is_what_smaller_pictures_show(small):
    trial, _ = small
    observation, cameras = (x.shrunk(2) for x in (trial.observation, trial.rig))
    assert observation.masks.shape == (3, 16, 16) and observation.picture.shape == (16, 16, 3)
    masks = np.asarray(trial.observation.masks)
    assert np.asarray(observation.masks[1, 3, 5]) == pytest.approx(masks[1, 6:8, 10:12].mean())
    points = jnp.array([[0.02, -0.03, 0.05], [-0.08, 0.01, 0.0]])
    large, half = (render.project(*r.seen(points, jnp.zeros(()))) for r in (trial.rig, cameras))
    assert np.asarray(half) == pytest.approx(np.asarray(large) / 2, abs=1e-4)


@pytest.mark.slow
def test_nine_of_ten_starts_converge(tmp_path):
    # Hundreds of steps pay for what the other tests compile without.
    environment = {name: text for name, text in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, str(ROOT / "scripts" / "fit_hand.py"), f"--output={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert result.returncode == 0, result.stderr
    converged = re.search(r"^(\d+) of 10 converged", result.stdout, re.MULTILINE)
    assert int(converged[1]) >= 9, result.stdout
    assert (tmp_path / "fit.jpg").stat().st_size > 20_000
