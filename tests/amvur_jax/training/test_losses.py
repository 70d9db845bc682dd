"""Every loss against its recorded value and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy.stats import entropy, norm

from amvur_jax.models import cameras
from amvur_jax.training import losses

pytestmark = pytest.mark.usefixtures("highest_precision")


@pytest.fixture(scope="module")
def record():
    return {name: jnp.asarray(value) for name, value in reference.load("losses").items()}


def channels_last(images):
    return images.transpose(0, 2, 3, 1)


def photo(mask):
    def loss(a, b):
        return losses.photometric(channels_last(a), channels_last(b), mask[:, 0])

    return loss


def weak_reconstruction(r, camera, pose, vertices, joints, joints_2d):
    """The weakly supervised data terms as they were recorded together."""
    K = cameras.intrinsics(camera, 224)
    target, valid = r["gt2d"][..., :2], r["gt2d"][..., 2]
    regressor = reference.hand().joint_regressor_21("amvur")
    predictions = [cameras.project(regressor @ vertices, K) / 224]
    predictions += [cameras.project(joints, K) / 224, joints_2d]
    data = sum(losses.keypoint_2d(p, target, valid) for p in predictions)
    return data + 0.02 * losses.tsa_pose(pose)


def camera_target(r):
    return cameras.camera_from_intrinsics(r["Ks_gt"], 224)


# recorded name: (record -> loss of the arguments, names of the recorded arguments)
LOSSES = {
    "keypoint_2d": (
        lambda r: lambda p: losses.keypoint_2d(p, r["gt2d"][..., :2], r["gt2d"][..., 2]),
        ("pred2d",),
    ),
    "keypoint_3d": (
        lambda r: lambda p: losses.keypoint_3d(p, r["gt3d"][..., :3], r["gt3d"][..., 3], r["has"]),
        ("pred3d",),
    ),
    "vertices": (lambda r: lambda p: losses.vertex_l1(p, r["gtv"], r["has"]), ("predv",)),
    "pose_var": (lambda r: losses.pose_var, ("jv_var",)),
    "KLD_vertices": (
        lambda r: lambda *gaussians: losses.kl_gaussian(*gaussians, "abs"),
        ("predv", "v_lv", "pv_mu", "pv_lv"),
    ),
    "KLD_3d_joints": (lambda r: losses.kl_joints, ("j_mu", "j_lv", "pj_mu", "pj_lv")),
    "KLD_2d_joints": (lambda r: losses.kl_2d_unit, ("k2_mu", "k2_lv", "k2_prior")),
    "KLD_camera": (
        lambda r: lambda mu, log_var: losses.kl_camera(mu, log_var, camera_target(r)),
        ("cam_mu", "cam_lv"),
    ),
    "photo": (lambda r: photo(r["mask"]), ("imA", "imB")),
    "photo_same": (lambda r: lambda a: photo(r["mask"])(a, r["imA"]), ("imA",)),
    "photo_empty": (lambda r: lambda a: photo(r["mask0"])(a, r["imB"]), ("imA",)),
    "tsa_pose": (lambda r: losses.tsa_pose, ("tsa",)),
    "reconstruction": (
        lambda r: lambda *a: weak_reconstruction(r, *a),
        ("cam_mu", "tsa", "predv", "xyz", "pred2d"),
    ),
    "keypoint_3d_none": (
        lambda r: lambda p: losses.keypoint_3d(p, r["gt3d"][..., :3], r["gt3d"][..., 3], r["has0"]),
        ("pred3d",),
    ),
    "vertices_none": (lambda r: lambda p: losses.vertex_l1(p, r["gtv"], r["has0"]), ("predv",)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradients_equal_the_recorded_ones(record, name):
    make, arguments = LOSSES[name]
    numbers = tuple(range(len(arguments)))
    values = [record[a] for a in arguments]
    value, gradients = jax.value_and_grad(make(record), numbers)(*values)
    np.testing.assert_allclose(value, record[f"loss_{name}"].squeeze(), rtol=1e-5, atol=1e-7)
    for argument, gradient in zip(arguments, gradients):
        # nobody annotated: the recorded constant has no gradient, ours is zero
        expected = record.get(f"grad_{name}__{argument}", jnp.zeros_like(gradient))
        atol = 1e-6 * float(jnp.abs(expected).max())
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=atol, err_msg=argument)


def test_every_recorded_loss_is_compared(record):
    assert {name[5:] for name in record if name.startswith("loss_")} == set(LOSSES)


def test_divergence_of_a_gaussian_and_itself_is_zero_and_otherwise_positive():
    g = np.random.default_rng(0)
    mu, log_var, other, other_log_var = jnp.asarray(g.standard_normal((4, 5, 21, 3)), jnp.float32)
    assert float(losses.kl_gaussian(mu, log_var, mu, log_var)) == pytest.approx(0, abs=1e-6)
    assert float(losses.kl_gaussian(mu, log_var, other, other_log_var)) > 0.1
    gradients = jax.grad(losses.kl_gaussian, (0, 1, 2, 3))(mu, log_var, mu, log_var)
    np.testing.assert_allclose(jnp.stack(gradients), 0, atol=1e-6)


def test_divergence_equals_an_integral():
    """KL(q || p) of two scalar Gaussians by quadrature, in float64."""
    x = np.linspace(-20, 20, 400_001)

    def log_density(mu, log_var):
        return -0.5 * (np.log(2 * np.pi) + log_var + (x - mu) ** 2 * np.exp(-log_var))

    log_q, log_p = log_density(0.3, -0.4), log_density(-0.5, 0.7)
    integral = np.sum(np.exp(log_q) * (log_q - log_p)) * (x[1] - x[0])
    ours = losses.kl_gaussian(*(jnp.full((1, 1, 1), v) for v in (0.3, -0.4, -0.5, 0.7)))
    assert float(ours) == pytest.approx(integral, rel=1e-5)


def test_heat_is_right_where_the_joint_is_and_not_by_its_mean_alone():
    """Against scipy's normal distribution, one cell wide, on a grid of 6 rows and 8 columns."""
    target = np.array(
        [[[0.3, 0.6], [0.5, 0.5], [1.2, 0.5]]], np.float32
    )  # the last beyond the crop
    rows, columns = np.arange(6) + 0.5, np.arange(8) + 0.5
    wanted = [
        np.outer(norm.pdf(rows, 6 * y), norm.pdf(columns, 8 * x)) for x, y in target[0].tolist()
    ]
    wanted = [share / share.sum() for share in wanted]
    g = np.random.default_rng(0)
    heat = g.standard_normal((1, 6, 8, 3)).astype(np.float32)
    shares = [np.exp(heat[0, ..., j]) / np.exp(heat[0, ..., j]).sum() for j in range(3)]
    expected = sum(entropy(w.ravel(), h.ravel()) for w, h in zip(wanted[:2], shares)) / 3
    valid = jnp.ones((1, 3))
    assert float(losses.heat_divergence(heat, target, valid)) == pytest.approx(expected, rel=1e-5)

    perfect = np.log(np.stack(wanted, -1))[None]
    assert float(losses.heat_divergence(perfect, target, valid)) == pytest.approx(0, abs=1e-5)
    even = np.zeros((1, 6, 8, 3), np.float32)  # its mean is on the second joint
    only = jnp.array([[0.0, 1.0, 0.0]])
    assert float(losses.heat_divergence(even, target, only)) * 3 == pytest.approx(
        entropy(wanted[1].ravel(), np.full(48, 1 / 48)), rel=1e-5
    )


def test_a_joint_counts_as_much_as_its_confidence():
    """The weak terms are linear in it: the sum, by confidence, of what each joint alone gives."""
    rng = np.random.default_rng(0)
    pred, target = jnp.asarray(rng.uniform(0, 1, (2, 3, 21, 2)), jnp.float32)
    confidence = jnp.asarray(rng.uniform(0, 1, (3, 21)), jnp.float32)
    for kind in ("l1", "l2"):
        alone = [
            losses.keypoint_2d(pred, target, jnp.zeros((3, 21)).at[b, j].set(1.0), kind)
            for b in range(3)
            for j in range(21)
        ]
        expected = np.dot(np.asarray(alone, np.float64), np.asarray(confidence).ravel())
        found = losses.keypoint_2d(pred, target, confidence, kind)
        assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_likelihood_is_the_mean_by_the_weights():
    rng = np.random.default_rng(1)
    difference, log_var = jnp.asarray(rng.normal(size=(2, 40)), jnp.float32)
    weights = rng.uniform(0, 1, 40)
    values = log_var + difference**2 * jnp.exp(-log_var)
    expected = 0.5 * np.average(np.asarray(values, np.float64), weights=weights)
    # not through the count's floor of 1
    assert weights.sum() > 1
    found = losses.gaussian_nll(difference, log_var, jnp.asarray(weights, jnp.float32))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_robust_weights_are_cauchys_about_each_samples_median():
    rng = np.random.default_rng(2)
    image, rendered = jnp.asarray(rng.normal(size=(2, 3, 5, 6, 3)), jnp.float32)
    mask = rng.random((3, 5, 6)) < 0.6
    mask[2] = False
    found = losses.robust_weights(image, rendered, jnp.asarray(mask))
    distance = np.linalg.norm(np.asarray(image - rendered, np.float64), axis=-1)
    for b in range(2):
        scale = np.median(distance[b][mask[b]])
        np.testing.assert_allclose(found[b], 1 / (1 + (distance[b] / scale) ** 2), rtol=1e-4)
    assert np.isfinite(found).all()
    gradient = jax.grad(lambda r: losses.robust_weights(image, r, jnp.asarray(mask)).sum())(
        rendered
    )
    assert not np.asarray(gradient).any()
