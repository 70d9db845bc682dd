"""Projections and their variances: recorded values and gradients, and a delta method of our own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from amvur_jax.models import cameras

pytestmark = pytest.mark.usefixtures("highest_precision")


@pytest.fixture(scope="module")
def record():
    return {name: jnp.asarray(value) for name, value in reference.load("projections").items()}


def check_gradients(function, arguments, record, name, suffixes):
    def loss(*arguments):
        return jnp.sum(function(*arguments) * record[f"{name}_w"])

    gradients = jax.grad(loss, tuple(range(len(arguments))))(*arguments)
    for gradient, suffix in zip(gradients, suffixes):
        expected = record[f"{name}_{suffix}"]
        atol = 1e-5 * float(jnp.abs(expected).max())
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=atol, err_msg=suffix)


def project(points, camera):
    return cameras.project(points, cameras.intrinsics(camera, 224))


def published_log_var(points, log_var, camera):
    return cameras.project_log_var(points, log_var, cameras.intrinsics(camera, 224), quirks=True)


def test_perspective_projection_equals_the_recorded_one(record):
    K = cameras.intrinsics(record["cam"], 224)
    np.testing.assert_allclose(K, record["Ks448"], rtol=1e-6)
    np.testing.assert_allclose(cameras.camera_from_intrinsics(K, 224), record["cam"], rtol=1e-6)
    arguments = record["xyz"], record["cam"]
    np.testing.assert_allclose(project(*arguments), record["proj_func"], rtol=1e-5)
    check_gradients(project, arguments, record, "proj_func", ("gxyz", "gcam"))


def test_published_log_variance_equals_the_recorded_one(record):
    arguments = record["xyz"], record["log_var"], record["cam"]
    np.testing.assert_allclose(published_log_var(*arguments), record["proj_var"], rtol=1e-5)
    check_gradients(published_log_var, arguments, record, "proj_var", ("gxyz", "glv", "gcam"))


def test_weak_perspective_equals_the_recorded_one(record):
    xyz, log_var, camera = record["xyz"], record["log_var"], record["ocam"]
    for ours, name in (
        (cameras.project_weak(xyz, camera), "orthographic_projection"),
        (cameras.project_weak(log_var, camera), "orthographic_projection_on_var"),
        (cameras.project_weak_log_var(log_var, camera), "orthographic_projection_var"),
    ):
        np.testing.assert_allclose(ours, record[name], rtol=1e-5, err_msg=name)


def test_joint_log_variance_equals_the_recorded_one(record):
    regressor = reference.hand().joint_regressor_21("amvur")

    def regressed(log_var):
        return cameras.regressed_log_var(regressor, log_var)

    log_var = record["vert_log_var"]
    np.testing.assert_allclose(regressed(log_var), record["linear_trans_var"], rtol=1e-5)
    check_gradients(regressed, (log_var,), record, "linear_trans_var", ("g",))


def test_samples_equal_the_recorded_ones(record):
    mu, log_var = record["reparam_mu"], record["reparam_lv"]
    for step, name in (
        (record["reparam_s"], "reparam_eps0.5"),
        (jnp.full((3, 1), 0.001), "reparam_eps0.5_default_s"),
    ):
        ours = cameras.sample_gaussian(mu, log_var, step, jnp.full(mu.shape, 0.5))
        np.testing.assert_allclose(ours, record[name], rtol=1e-6, err_msg=name)


def moments_of_projection(mu, log_var, K, count=200_000):
    """Variance (N,2) px^2 of the projection of random points about mu (N,3), in float64."""
    g = np.random.default_rng(0)
    noise = g.standard_normal((count, *mu.shape))
    points = mu + np.exp(log_var / 2) * noise
    image = points @ K.T
    return (image[..., :2] / image[..., 2:]).var(0)


def test_quirk_8_right_log_variance_is_the_delta_methods():
    """Against random points, and against finite differences of the projection, in float64."""
    mu = np.array([[0.1, -0.05, 0.6], [0.0, 0.02, 0.7], [-0.2, 0.0, 0.9]])
    log_var = np.log(np.array([[2e-3, 3e-3, 4e-3], [1e-3, 1e-3, 6e-3], [4e-3, 1e-3, 2e-3]]) ** 2)
    K = np.array([[480.0, 0.0, 100.0], [0.0, 470.0, 120.0], [0.0, 0.0, 1.0]])
    ours = np.exp(cameras.project_log_var(*map(jnp.asarray, (mu, log_var, K))))
    np.testing.assert_allclose(ours, moments_of_projection(mu, log_var, K), rtol=0.02)
    exact = np.zeros((3, 2))
    for axis in range(3):
        step = np.eye(3)[axis] * 1e-5
        ends = [(mu + sign * step) @ K.T for sign in (1, -1)]
        slope = np.subtract(*(end[:, :2] / end[:, 2:] for end in ends)) / 2e-5
        exact += slope**2 * np.exp(log_var[:, axis : axis + 1])
    np.testing.assert_allclose(ours, exact, rtol=1e-5)


def test_quirk_8_published_log_variance_is_another_and_breaks_on_the_axis(record):
    arguments = record["xyz_zero"], record["log_var"], record["cam"]
    published = published_log_var(*arguments)
    np.testing.assert_allclose(published, record["proj_var_zero"], rtol=1e-5)
    assert not np.isfinite(published).all()
    points, log_var, camera = arguments
    points = points.at[..., 2].set(jnp.where(points[..., 2] == 0, -0.3, points[..., 2]))

    def right(points, log_var, camera):
        return cameras.project_log_var(points, log_var, cameras.intrinsics(camera, 224))

    ours = right(points, log_var, camera)
    assert np.isfinite(ours).all()
    away = np.isfinite(published) & (np.abs(points[..., :2]) > 1e-3)
    assert np.abs(ours - published)[away].min() > 1e-3
    gradients = jax.grad(lambda *a: right(*a).sum(), (0, 1, 2))(points, log_var, camera)
    assert all(np.isfinite(g).all() for g in gradients)
