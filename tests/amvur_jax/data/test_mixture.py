"""Several data sets in one run: their shares, their names, and samples that lack labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from trees import write_ho3d

from amvur_jax.data.batches import train_batches
from amvur_jax.data.mixture import Mixture
from amvur_jax.data.open import open_training
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.views import LABELS
from amvur_jax.errors import UserError
from amvur_jax.models.outputs import Estimate, Gaussian, Outputs, Texture
from amvur_jax.training.objective import LossConfig, objective
from mano_jax import load_hand

SIZES = (5, 9)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    roots = [tmp_path_factory.mktemp(f"tree{count}") for count in SIZES]
    for root, count in zip(roots, SIZES):
        write_ho3d(root, train=count, evaluation=1, suffix=".jpg", seed=count)
    return roots


def open_mix(*entries):
    return open_training(ConfigDict({"mix": entries, "root": "nowhere"}))


class Frames:
    """As much of a data set as the order needs; Grain's shuffle is slow for a handful of frames."""

    endless = False

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def test_each_set_has_its_share_and_all_its_frames_each_epoch():
    counts = (500, 900)
    order = Mixture(tuple(map(Frames, counts)), (3.0, 1.0)).order(seed=1)
    places = [order[i] for i in range(4000)]
    drawn = [np.array([i for source, i in places if source == n]) for n in (0, 1)]
    assert abs(len(drawn[0]) - 3000) <= 1
    for frames, count in zip(drawn, counts):
        epochs = frames[: len(frames) // count * count].reshape(-1, count)
        assert (np.sort(epochs, axis=1) == np.arange(count)).all()
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)
    # Any stretch of the order is mixed: no batch is of one set alone.
    sources = np.array([source for source, _ in places]).reshape(-1, 8)
    assert (sources.mean(axis=1) == 0.25).all()


def test_frames_are_counted_but_for_those_without_end():
    class Endless(Frames):
        endless = True

    assert Mixture((Frames(5), Frames(9))).count() == "14 frames"
    assert Mixture((Endless(2**31 - 1),)).count() == "frames drawn without end"
    both = Mixture((Frames(5), Endless(2**31 - 1)))
    assert both.count() == "5 frames and frames drawn without end"


def test_without_weights_the_shares_follow_the_sizes():
    order = Mixture((Frames(500), Frames(900))).order(seed=0)
    share = np.mean([order[i][0] for i in range(1400)])
    assert share == pytest.approx(900 / 1400, abs=0.002)


def test_batches_name_their_frames(trees):
    mixture = open_mix((str(trees[0]), 1.0), (str(trees[1]), 1.0))
    batches = train_batches(mixture, 32, 6, seed=0)
    batch = next(batches)
    assert batches.names(batch) == [
        f"{trees[source]}: {HO3D(trees[source]).names[i]}"
        for source, i in zip(batch["source"], batch["index"])
    ]
    assert len(batch["source"]) == 6


@pytest.mark.parametrize("labels", LABELS)
def test_only_the_wanted_labels_are_in_the_batch(trees, labels):
    batch = next(train_batches(open_mix((str(trees[0]), 1.0, labels)), 32, 5, seed=0))
    whole = next(train_batches(HO3D(trees[0]), 32, 5, seed=0))
    np.testing.assert_allclose(batch["joints_2d"], whole["joints_2d"], atol=1e-5)
    assert batch["joints_valid"].all() and batch["has_image"].all()
    assert (batch["has_3d"] == (labels != "2d")).all()
    assert (batch["has_mesh"] == (labels == "all")).all()
    assert batch["joints_cam"].any() == (labels != "2d")
    assert batch["pose"].any() == (labels == "all")


@pytest.mark.parametrize(
    "entry", [("x",), ("x", 0.0), ("x", -1), ("x", "much"), ("x", 1, "4d"), (1, 1), "x"]
)
def test_a_bad_entry_is_named(entry):
    with pytest.raises(UserError, match=r"config\.data\.mix: "):
        open_mix(entry)


def gaussian(key, *shape):
    sample, mu, log_var = jax.random.normal(jax.random.key(key), (3, *shape))
    return Gaussian(sample, mu, log_var)


@pytest.mark.parametrize("mode", ["supervised", "weak"])
def test_a_sample_trains_only_what_it_has_labels_for(mode):
    hand, size, count = load_hand(), 32, 4
    batch = {
        "K": jnp.array([[60.0, 0, 16], [0, 60, 16], [0, 0, 1]]) + jnp.zeros((count, 1, 1)),
        "joints_2d": jax.random.uniform(jax.random.key(0), (count, 21, 2)),
        "joints_cam": 0.1 * jax.random.normal(jax.random.key(1), (count, 21, 3)),
        "pose": 0.1 * jax.random.normal(jax.random.key(2), (count, 48)),
        "betas": jnp.zeros((count, 10)),
        # All labels, no mesh, 2D alone, a frame that could not be read.
        "has_mesh": jnp.array([1.0, 0, 0, 0]),
        "has_3d": jnp.array([1.0, 1, 0, 0]),
        "joints_valid": jnp.array([1.0, 1, 1, 0])[:, None] * jnp.ones(21),
        "has_image": jnp.array([1.0, 1, 1, 0]),
    }
    image = jax.random.normal(jax.random.key(3), (count, size, size, 3))
    regressor = hand.joint_regressor_21("ho3d")
    config = LossConfig(mode=mode, data_term="mu", kl=0.0, tsa_pose=0.0, photometric=1.0)

    def make(key):
        estimates = [
            Estimate(
                gaussian(key + n, count, 21, 3),
                gaussian(key + n + 1, count, 778, 3),
                gaussian(key + n + 2, count, 21, 2),
            )
            for n in (0, 3)
        ]
        camera = gaussian(key + 7, count, 4 if mode == "weak" else 3)
        drawn = jax.random.normal(jax.random.key(key), (count, size, size, 3))
        return Outputs(
            camera=camera if mode == "weak" else camera.mu,
            prior=estimates[0],
            posterior=estimates[1],
            tsa_poses=jnp.zeros((count, 16, 3)),
            jv_log_var=jnp.zeros((count, 799, 3)),
            betas=jnp.zeros((count, 10)),
            pose_coefficients=jnp.zeros((count, 30)),
            joints_2d_map=None,
            spread=None,
            texture=Texture(None, None, drawn, jnp.ones((count, size, size))),
        )

    def total(outputs, batch):
        return objective(outputs, batch, image, regressor, hand, config, size)[0]

    outputs = make(10)
    gradient = jax.jit(jax.grad(total))(outputs, batch)

    def moved(array):
        return [bool(array[i].any()) for i in range(count)]

    prior = gradient.prior
    if mode == "supervised":
        assert moved(prior.vertices.mu) == [True, False, False, False]
        assert moved(prior.joints.mu) == [True, True, False, False]
    assert moved(prior.joints_2d.mu) == [True, True, True, False]
    assert moved(gradient.texture.image) == [True, True, True, False]
    # What stands in the place of a missing label is of no account.
    other = batch | {
        "pose": batch["pose"].at[1:].set(7.0),
        "joints_cam": batch["joints_cam"].at[2:].set(7.0),
        "joints_2d": batch["joints_2d"].at[3:].set(7.0),
        "K": batch["K"].at[3].set(jnp.eye(3)),
    }
    with_kl = LossConfig(mode=mode, data_term="mu", photometric=1.0)
    values = [
        objective(outputs, b, image, regressor, hand, with_kl, size)[0] for b in (batch, other)
    ]
    assert values[0] == values[1]
