"""The training step: what its options change and what they leave, and what a bad batch cannot do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import tiniest_config
from trees import write_ho3d

from amvur_jax import configuration
from amvur_jax.data.batches import train_batches
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.runtime import devices
from amvur_jax.training.optimizer import make_optimizer, moving_average
from amvur_jax.training.step import changed_if, make_step, state_of

RATE = 0.01


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    root = tmp_path_factory.mktemp("ho3d")
    write_ho3d(root, train=4, evaluation=1)
    return jax.device_put(next(train_batches(HO3D(root), 32, 4, seed=0)))


def step_of(batch, dtype="float32", keypoints=None, occlusion=None, compared=None, **settings):
    """(fresh state, step) of the smallest network with plain gradient descent, a step's rate RATE.

    keypoints: config.model.keypoints of the residual pose head; None for the published one.
    compared: weights of the terms that compare samples of one sequence, by name.
    occlusion: config.loss.occlusion, and all samples are rendered; None for no photometric term.
    """
    config = tiniest_config("", batch_size=4, warmup_steps=0, learning_rate=RATE, steps=10**6)
    config.train.update(settings)
    if keypoints:
        config.model.update(pose_head="residual", keypoints=keypoints, pose_hidden=16)
        config.loss.update(pose=1.0, use_3d=True)
    if compared:
        config.data.group = 2
        config.loss.update(compared)
    if occlusion:
        config.loss.update(photometric=1.0, occlusion=occlusion)
    configuration.check(config)
    config.model.dtype = dtype
    make = (configuration.network, configuration.loss, configuration.hand)
    network, loss, hand = (part(config) for part in make)
    optimizer = make_optimizer(config.train, optax.identity())
    mesh = devices.make_mesh(jax.devices()[:1])
    state = jax.jit(lambda model: state_of(model, optimizer, config.train))(network.init(0))
    shardings = devices.of_state(state, mesh)
    step = make_step(network, hand, loss, optimizer, config.train, 0, mesh, shardings)
    return jax.device_get(state), lambda state, batch: step(
        jax.device_put(state), batch, None if occlusion else 0
    )


@pytest.fixture(scope="module")
def frozen_step(batch):
    """(fresh state, step) with frozen BatchNorm."""
    return step_of(batch, freeze_batch_norm=True)


@pytest.fixture(scope="module")
def frozen(frozen_step, batch):
    """A step of the whole batch with frozen BatchNorm: before, after, metrics."""
    state, step = frozen_step
    after, metrics = step(state, batch)
    return state, jax.device_get(after), jax.device_get(metrics)


def difference(a, b):
    """Norm of the difference of two trees."""
    return float(optax.tree.norm(jax.tree.map(np.subtract, a, b)))


def norms(params):
    """The BatchNorm parameters, as {path: array}."""
    leaves = jax.tree_util.tree_leaves_with_path(params["backbone"])
    return {str(path): leaf for path, leaf in leaves if "'norm'" in str(path)}


def test_frozen_batch_norm_stays_and_the_rest_moves(frozen):
    before, after, _ = frozen
    same = jax.tree.map(np.array_equal, before["model"], after["model"])
    assert all(jax.tree.leaves(same["batch_stats"]))
    assert norms(same["params"]) and all(norms(same["params"]).values())
    assert not same["params"]["backbone"]["stem1"]["conv"]["kernel"]


def test_a_step_of_descent_is_the_gradient_times_the_rate(frozen):
    before, after, metrics = frozen
    moved = difference(before["model"]["params"], after["model"]["params"])
    assert moved == pytest.approx(RATE * metrics["gradient_norm"], rel=1e-3)
    assert metrics["learning_rate"] == pytest.approx(RATE)
    assert (metrics["frames"]["index"] >= 0).all() and len(metrics["frames"]["index"]) == 4


def with_labels(batch, pattern):
    """The batch with a pattern of labels: all, joints, 2d, the image alone, or unusable (x)."""
    flags = {
        "has_mesh": [p in "a" for p in pattern],
        "has_3d": [p in "aj" for p in pattern],
        "has_image": [p in "aj2i" for p in pattern],
    }
    seen = np.array([p in "aj2" for p in pattern], np.float32)
    flags["joints_valid"] = seen[:, None] * np.ones(21, np.float32)
    return batch | {name: jnp.asarray(value, jnp.float32) for name, value in flags.items()}


PATTERNS = ["aaaa", "aj2i", "a22x", "xx2a", "ixxx", "2xix"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_parts_with_any_labels_add_up_to_the_whole_batch(frozen_step, in_parts, batch, pattern):
    given = with_labels(batch, pattern)
    state, step = frozen_step
    whole, metrics = step(state, given)
    parts, again = in_parts[1](in_parts[0], given)
    size = difference(whole["model"]["params"], state["model"]["params"])
    apart = difference(parts["model"]["params"], whole["model"]["params"])
    assert size > 0 and apart < 1e-4 * size
    for name in ("total", "kl_joints", "p_joints_2d", "nll"):
        assert float(again[name]) == pytest.approx(float(metrics[name]), rel=1e-5, abs=1e-6), name


@pytest.fixture(scope="module")
def residual_steps(batch):
    """The residual pose head's (state, step): of the whole batch, and in two parts."""
    # What is made up for a part is drawn for that part: nothing is, then.
    settings = {"keypoints": "map", "freeze_batch_norm": True, "skeletons": 0}
    return step_of(batch, **settings), step_of(batch, accumulate=2, **settings)


@pytest.mark.parametrize("pattern", PATTERNS[:4])
def test_parts_add_up_with_the_residual_head_too(residual_steps, batch, pattern):
    given = with_labels(batch, pattern)
    ((state, step), (same, in_two)) = residual_steps
    (whole, metrics), (parts, again) = step(state, given), in_two(same, given)
    size = difference(whole["model"]["params"], state["model"]["params"])
    apart = difference(parts["model"]["params"], whole["model"]["params"])
    assert size > 0 and apart < 1e-5 * size
    for name in ("total", "pose_joints", "pose_rotation", "pose_2d", "pose_camera", "depth_map"):
        assert float(again[name]) == pytest.approx(float(metrics[name]), rel=1e-5, abs=1e-6), name


COMPARED = {"same_shape": 1e3, "smooth_pose": 2e3}


def filmed(batch, *sequence):
    """The batch with samples of these sequences, -1 for none, one after the other."""
    moment = {"sequence": np.array(sequence, np.int32), "time": np.arange(4, dtype=np.float32)}
    return batch | {name: jnp.asarray(value) for name, value in moment.items()}


@pytest.fixture(scope="module")
def comparing_step(batch):
    """(fresh state, step) with the residual pose head and the terms that compare samples."""
    return step_of(batch, keypoints="either", skeletons=0, compared=COMPARED)


def test_what_samples_of_a_sequence_differ_in_is_added_by_its_weight(comparing_step, batch):
    state, step = comparing_step
    _, together = step(state, filmed(batch, 5, 5, 5, 2))
    _, apart = step(state, filmed(batch, 5, -1, 2, -1))
    added = 0.0
    for name, weight in COMPARED.items():
        assert float(together[name]) > 0 == float(apart[name])
        added += weight * float(together[name])
    assert float(together["total"]) - float(apart["total"]) == pytest.approx(added, rel=1e-3)


def test_confidence_weighs_the_loss_and_is_nothing_that_the_network_sees(comparing_step, batch):
    """Joints given with half the confidence are given all the same: each 2D term is half of what it was."""
    state, step = comparing_step
    sure = with_labels(filmed(batch, -1, -1, -1, -1), "2222")
    unsure = sure | {"joints_valid": 0.5 * sure["joints_valid"]}
    _, whole = step(state, sure)
    _, half = step(state, unsure)
    for name in ("p_vertices_2d", "p_projected_2d", "p_joints_2d", "pose_2d"):
        assert float(half[name]) == pytest.approx(0.5 * float(whole[name]), rel=1e-5), name
        assert float(whole[name]) > 0
    assert float(half["nll"]) == pytest.approx(
        float(whole["nll"]), rel=1e-5
    )  # a mean by the weights


@pytest.mark.parametrize("head", ["published", "residual"])
def test_a_picture_with_nothing_to_learn_moves_nothing(batch, comparing_step, head):
    state, step = comparing_step if head == "residual" else step_of(batch)
    batch = filmed(batch, 1, 1, 1, 1) if head == "residual" else batch
    given = with_labels(batch, "aax2")
    outcomes = []
    for fill in (0, 255):  # whatever it shows and whatever stands in its labels
        other = dict(given)
        other["image"] = given["image"].at[2].set(fill)
        for name in ("joints_2d", "joints_cam", "pose", "betas"):
            other[name] = given[name].at[2].set(0.01 * fill)
        after, metrics = step(state, other)
        outcomes.append(jax.device_get((after["model"], metrics["gradient_norm"])))
    jax.tree.map(np.testing.assert_array_equal, *outcomes)
    # and where there is nothing else, no parameter and no statistic moves at all
    after, _ = step(state, with_labels(batch, "xxxx"))
    jax.tree.map(np.testing.assert_array_equal, after["model"], state["model"])


@pytest.fixture(scope="module")
def in_parts(batch):
    """The same step in two parts, rematerialised, averaged: (state, step)."""
    return step_of(batch, freeze_batch_norm=True, accumulate=2, remat=True, ema_decay=0.9)


def test_two_parts_and_rematerialisation_change_nothing_but_rounding(frozen, in_parts, batch):
    before, whole, metrics = frozen
    state, step = in_parts
    after, again = step(state, batch)
    size = difference(before["model"]["params"], whole["model"]["params"])
    assert difference(after["model"]["params"], whole["model"]["params"]) < 1e-4 * size
    # every sample has all labels, so that the mean of two means is the mean
    assert float(again["total"]) == pytest.approx(float(metrics["total"]), rel=1e-5)


@pytest.mark.slow
def test_statistics_see_a_part_at_a_time(batch):
    """Of two pictures twice: two parts that see both are two updates of the running mean, at a tenth each."""
    same = {name: jnp.repeat(values[:2], 2, axis=0) for name, values in batch.items()}
    means = []
    for parts in (1, 2):  # sample i is in part i % parts
        state, step = step_of(batch, accumulate=parts)
        after, metrics = jax.device_get(step(state, same))
        assert after["skipped"] == 0, metrics
        leaves = jax.tree_util.tree_leaves_with_path(after["model"]["batch_stats"])
        means.append([leaf for path, leaf in leaves if "mean" in str(path[-1])])
    assert len(means[0]) > 4
    for once, twice in zip(*means):
        np.testing.assert_allclose(twice, 1.9 * once, rtol=1e-3, atol=1e-5)


def test_the_average_follows_at_its_decay(in_parts, batch):
    state, step = in_parts
    once = jax.device_get(step(state, batch)[0])
    start, params = state["average"], once["model"]["params"]
    want = jax.tree.map(lambda a, p: 0.1 * a + 0.9 * p, start, params)  # (1 + 0) / (10 + 0)
    assert difference(once["average"], want) < 1e-3 * difference(start, params)
    late = moving_average({"w": jnp.array(1.0)}, {"w": jnp.array(2.0)}, 10**6, 0.9)
    assert float(late["w"]) == pytest.approx(1.1)


def test_what_is_not_finite_never_enters(in_parts, batch):
    state, step = in_parts
    bad = batch | {"joints_2d": batch["joints_2d"].at[1, 3, 0].set(jnp.nan)}
    after, metrics = step(state, bad)
    assert not np.isfinite(metrics["total"])
    assert (int(after["step"]), int(after["skipped"]), int(after["skipped_in_a_row"])) == (1, 1, 1)
    for part in ("model", "average", "optimizer"):
        jax.tree.map(np.testing.assert_array_equal, after[part], state[part])
    after, metrics = step(jax.device_get(after), batch)
    assert (int(after["skipped"]), int(after["skipped_in_a_row"])) == (1, 0)
    assert difference(after["model"]["params"], state["model"]["params"]) > 0


@pytest.mark.parametrize("branch", [True, False])
@pytest.mark.parametrize("value", [4.0, -1.0])
def test_a_donated_state_is_changed_where_the_step_is_fine_and_else_kept(branch, value):
    def root(fine, x):
        return changed_if(fine, jnp.sqrt, x, branch)  # of what is not fine: NaN

    state = jnp.full((3, 2), value)
    after = jax.jit(root, donate_argnums=1)(jnp.array(value > 0), state)
    np.testing.assert_array_equal(after, np.full((3, 2), 2.0 if value > 0 else value))


@pytest.mark.slow
def test_bfloat16_computes_and_everything_kept_is_float32(frozen, batch):
    metrics = frozen[2]
    state, step = step_of(batch, dtype="bfloat16", freeze_batch_norm=True, clip_norm=1e-3)
    after, again = step(state, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(after["model"])} == {np.dtype("float32")}
    for name in ("total", "gradient_norm"):
        assert again[name].dtype == np.float32
        # eight bits of mantissa: near what float32 says, and not the same
        assert float(again[name]) == pytest.approx(float(metrics[name]), rel=0.05)
    assert again["gradient_norm"] != metrics["gradient_norm"]
    moved = difference(after["model"]["params"], state["model"]["params"])
    assert moved == pytest.approx(RATE * 1e-3, rel=1e-2)


@pytest.mark.slow
def test_what_a_step_renders_is_compared_where_the_batch_says_that_the_hand_is_seen(batch):
    state, step = step_of(batch, occlusion="labels")
    shape = batch["image"].shape[:3]
    seen = {"visible": jnp.ones(shape, bool), "has_visible": jnp.ones(len(batch["image"]))}
    hidden = seen | {"visible": jnp.zeros(shape, bool)}
    unknown = hidden | {"has_visible": jnp.zeros(len(batch["image"]))}
    terms = [float(step(state, batch | b)[1]["photometric"]) for b in (seen, hidden, unknown)]
    assert terms[1] == 0 and terms[0] > terms[2] > 0  # the last weighs outliers less
