"""One small file of a network: what comes back, what is refused, and the file that ships."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from tiny import tiniest_config

from amvur_jax import configuration, evaluate, inference, weights
from amvur_jax.data.readers.photos import Photos
from amvur_jax.data.sample import make_sample
from amvur_jax.errors import UserError


@pytest.fixture(scope="module")
def predictor():
    config = configuration.to_dict(tiniest_config(""))
    return inference.untrained(config)


@pytest.fixture
def file(predictor, tmp_path):
    path = tmp_path / "hand.npz"
    weights.write_weights(path, predictor)
    return path


def test_a_network_comes_back_to_sixteen_bits(predictor, file):
    again = inference.load(file)
    assert again.network == predictor.network and again.temperature is None
    assert jax.tree.structure(again.state) == jax.tree.structure(predictor.state)
    for kept, given in zip(jax.tree.leaves(again.state), jax.tree.leaves(predictor.state)):
        assert kept.dtype == np.float32
        np.testing.assert_array_equal(kept, np.asarray(given).astype(np.float16))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found, wanted = (p(images, paint=0).prior.vertices.mu for p in (again, predictor))
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_temperatures_come_back(predictor, tmp_path):
    path = tmp_path / "hand.npz"
    fitted = dataclasses.replace(predictor, temperature=2.0, temperature_given=3.0)
    weights.write_weights(path, fitted)
    again = inference.load(path)
    assert (again.temperature, again.temperature_given) == (2.0, 3.0)
    # Files of before 0.3 have the first alone.
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    del about["temperature_given"]
    np.savez(path, **arrays | {"about": np.array(json.dumps(about))})
    again = inference.load(path)
    assert (again.temperature, again.temperature_given) == (2.0, None)


def test_a_temperature_is_written_into_a_file_of_weights_and_nothing_else_of_it_changes(
    predictor, file
):
    before = weights.read_weights(file)
    found = {"temperature": 3.0, "calibration_samples": 5}
    evaluate.store_temperature(found, file, "temperature_given")
    after = weights.read_weights(file)
    assert (after.temperature, after.temperature_given) == (before.temperature, 3.0)
    assert after.config == before.config
    jax.tree.map(np.testing.assert_array_equal, after.state, before.state)


def test_a_mean_of_states_is_that_of_each_number_without_a_temperature(predictor):
    other = jax.tree.map(lambda x: 3 * x + 1, predictor.state)
    other = dataclasses.replace(predictor, state=other, temperature=2.0)
    mean = weights.mean_of([other, predictor], [0.25, 0.75])
    for found, x in zip(jax.tree.leaves(mean.state), jax.tree.leaves(predictor.state)):
        np.testing.assert_allclose(found, 1.5 * np.asarray(x) + 0.25, rtol=1e-6, atol=1e-6)
    assert mean.temperature is None and mean.config == predictor.config


def test_a_mean_of_other_networks_or_with_shares_that_do_not_fit_is_refused(predictor):
    with pytest.raises(UserError, match=r"0\.5, 0\.6: give one for each network, 1 in all"):
        weights.mean_of([predictor, predictor], [0.5, 0.6])
    with pytest.raises(UserError, match="give one for each"):
        weights.mean_of([predictor, predictor], [1.0])
    config = predictor.config | {"model": predictor.config["model"] | {"image_size": 64}}
    with pytest.raises(UserError, match="of different ones"):
        weights.mean_of([predictor, inference.untrained(config)], [0.5, 0.5])


def test_reading_compiles_nothing(file, caplog):
    jax.clear_caches()
    with jax.log_compiles():
        weights.read_weights(file)
        assert not caplog.records
        jax.numpy.asarray(np.zeros(3, np.float16), np.float32)
    assert "convert_element_type" in caplog.text


def test_a_model_takes_the_parts_that_it_has(predictor, file):
    stored = weights.read_weights(file).state
    fresh = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), predictor.state)
    fresh["params"]["new"] = {"kernel": np.ones(3)}
    merged = weights.part_of(file, stored, fresh)
    np.testing.assert_array_equal(merged["params"]["new"]["kernel"], 1)
    for name, part in stored["params"].items():
        jax.tree.map(np.testing.assert_array_equal, merged["params"][name], part)
    fresh["params"]["backbone"] = {"other": np.zeros(2)}
    with pytest.raises(UserError, match=r"hand\.npz: backbone/|is missing|not of this network"):
        weights.part_of(file, stored, fresh)
    with pytest.raises(UserError, match="has nothing that this network has"):
        weights.part_of(file, stored, {"params": {"x": {}}, "batch_stats": {}})


def test_what_is_damaged_or_another_file_is_refused(file, tmp_path):
    data = file.read_bytes()
    for bad in (data[: len(data) // 2], b"nonsense", b""):
        file.write_bytes(bad)
        with pytest.raises(UserError, match=r"hand\.npz: .*get it again"):
            inference.load(file)
    with pytest.raises(UserError, match="cannot be read"):
        inference.load(tmp_path / "nowhere.npz")
    about = np.array(json.dumps({"config": {}, "temperature": None}))
    for arrays in (
        {"x": np.zeros(3)},
        {"about": np.array("{")},
        {"about": about, "params/x": np.zeros(3)},
        {"about": about, "params/x": np.full(3, np.nan, np.float16)},
        {"about": np.array([{}], object)},
    ):
        np.savez(file, **arrays)
        with pytest.raises(UserError, match=r"hand\.npz"):
            weights.read_weights(file)


def test_a_number_beyond_sixteen_bits_is_not_written(predictor, tmp_path):
    state = jax.tree.map(lambda x: x + 1e6, predictor.state)
    huge = inference.Predictor(predictor.network, predictor.hand, state, predictor.config)
    with pytest.raises(UserError, match="16 bits"):
        weights.write_weights(tmp_path / "x.npz", huge)
    assert not list(tmp_path.iterdir())


def test_the_shipped_weights_are_small_and_fit_their_config():
    assert weights.SHIPPED.stat().st_size < 10e6
    for name in ("", "shipped"):
        assert weights.file_of(name) == weights.SHIPPED
    assert weights.file_of("runs/hand") is None
    shipped = inference.load()
    assert shipped.network.config.keypoints == "either"


def test_the_shipped_weights_lay_a_hand_on_the_landmarks_of_a_photograph():
    """Ten photographs of digits: the mesh is nearer to the joints than a twelfth of the hand's box."""
    predictor, photos = inference.load(), Photos(weights.SHIPPED.parent / "photos")
    samples = [
        make_sample(photos.frame(i), predictor.size, crop_scale=predictor.crop_scale)
        for i in range(len(photos))
    ]
    joints = np.stack([s["joints_2d"] for s in samples]) * predictor.size
    outputs = predictor(np.stack([s["image"] for s in samples]), paint=0, joints=joints)
    seen = np.asarray(predictor.joints_2d(outputs)) * predictor.size
    side = np.ptp(joints, axis=1).max(-1)[:, None]
    error = np.linalg.norm(seen - joints, axis=-1) / side
    assert error.mean() < 1 / 12
    # Turned by a quarter they are far: the test can tell.
    turned = np.stack([joints[..., 1], predictor.size - joints[..., 0]], -1)
    assert (np.linalg.norm(seen - turned, axis=-1) / side).mean() > 1 / 4
