"""A trained network is found again with its own hand model, and says which sigma is its answer's."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiniest_config

import mano_jax
from amvur_jax import checkpoint, configuration, inference
from amvur_jax.data.readers.kinematics import hand_id
from amvur_jax.errors import UserError
from amvur_jax.models.outputs import Estimate, Gaussian

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """The folder of a run with a hand model of its own, which has moved from there/ to elsewhere/."""
    hand = mano_jax.load_hand()
    hand = dataclasses.replace(hand, v_template=hand.v_template * 1.01)
    (tmp_path / "there").mkdir()
    mano_jax.save_hand(tmp_path / "there" / "hand.npz", hand)
    config = configuration.to_dict(tiniest_config(tmp_path))
    config |= {"hand": str(tmp_path / "there" / "hand.npz"), "hand_id": hand_id(hand)}
    shapes = configuration.network(config).shapes
    state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    checkpoint.save_model(tmp_path / "run", state, config)
    shutil.move(tmp_path / "there", tmp_path / "elsewhere")
    return tmp_path / "run"


def test_a_hand_that_has_moved_is_given_anew_and_another_is_refused(run):
    with pytest.raises(mano_jax.FileFormatError, match=r"there/hand\.npz: no such file"):
        inference.load(run)
    moved = run.parent / "elsewhere" / "hand.npz"
    predictor = inference.load(run, str(moved))
    np.testing.assert_array_equal(predictor.hand.v_template, mano_jax.load_hand(moved).v_template)
    with pytest.raises(UserError, match=r"another hand model than the embedded one; .*--hand"):
        inference.load(run, "")


@pytest.mark.parametrize("script", ["evaluate", "predict"])
def test_the_flag_reaches_the_network(run, script):
    output = run.parent / "out"
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), f"--checkpoint={run}"]
    command += ["--hand=", f"--output={output}"] + ["--input=photo.jpg"] * (script == "predict")
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1 and "another hand model than the embedded one" in result.stderr
    assert not output.exists()


def test_the_published_sigma_is_taken_where_it_is_asked_for_or_there_is_no_other():
    def gaussian(points, log_var):
        return Gaussian(None, jnp.zeros((1, points, 3)), jnp.full((1, points, 3), log_var))

    answer = Estimate(gaussian(21, -1.0), gaussian(778, -2.0), None)
    heads = (jnp.full((1, 21), -3.0), jnp.full((1, 778), -4.0))
    for spread, asked, want in (
        (heads, False, (-3, -4)),
        (heads, True, (-1, -2)),
        (None, False, (-1, -2)),
    ):
        outputs = types.SimpleNamespace(spread=spread, answer=lambda mode: answer)
        predictor = inference.Predictor(
            None, None, {}, {"loss": {"mode": "weak"}}, published_sigma=asked
        )
        sigma = predictor.sigma(outputs)
        np.testing.assert_array_equal(sigma.joints, np.full((1, 21, 3), want[0]))
        np.testing.assert_array_equal(sigma.vertices, np.full((1, 778, 3), want[1]))


def test_the_answer_alone_is_that_of_all_outputs(tmp_path):
    config = configuration.to_dict(tiniest_config(tmp_path))
    predictor = inference.untrained(config)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    outputs, alone = predictor(images, paint=0), predictor.answered(images, paint=0)
    wanted = predictor.view(outputs), predictor.sigma(outputs)
    for a, b in zip(jax.tree.leaves(alone[:2]), jax.tree.leaves(wanted)):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(alone.fingers, outputs.tsa_poses[:, 1:], atol=1e-5)
    np.testing.assert_allclose(alone.betas, outputs.betas, atol=1e-5)
    assert alone.texture is None
    # XLA counts what is left: the encoders of the posterior, which is not the answer, are not.
    arrays = predictor._arrays(images, None, None, None)
    flops = predictor._answered.lower(predictor.state, predictor.hand, arrays, 0).compile()
    whole = inference._run.lower(
        predictor.network, predictor.state, predictor.hand, images, 0, None, None
    ).compile()
    assert flops.cost_analysis()["flops"] < 0.9 * whole.cost_analysis()["flops"]
