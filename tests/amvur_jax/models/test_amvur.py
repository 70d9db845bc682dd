"""The whole network against recorded runs of the published one, which hold its quirks."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from amvur_jax.configs import ho3d_supervised, ho3d_weak

from amvur_jax import configuration
from amvur_jax.training import objective

# The published sampler extrapolates far outside its maps in the weak-perspective mode, so that its
# own runs differ by half a percent: everything behind it is compared more loosely there.
pytestmark = pytest.mark.usefixtures("highest_precision")

CONFIGS = {"persp": ho3d_weak, "ortho": ho3d_supervised}
TOTALS = {"persp": ("weak_epoch_le20", "weak_epoch_gt20"), "ortho": ("supervised",)}
PARTS = {
    "backbone": ("backbone",),
    "trans_encoder": ("encoder0", "encoder1", "encoder2"),
    "trans_texture": ("texture",),
    "upsampling": ("upsample_mu",),
    "upsampling_var": ("upsample_log_var",),
    "orth_fc": ("prior", "weak_camera"),
    "orth_fc_var": ("prior", "weak_camera_log_var"),
    "samp_3D_scale": ("prior", "step_3d"),
    "samp_2D_scale": ("prior", "step_2d"),
    "samp_ks_scale": ("prior", "step_camera"),
    "rot_reg": ("prior", "rotation"),
    "scale_reg": ("prior", "scale"),
    "trans_reg": ("prior", "translation"),
    "ks_reg": ("prior", "camera"),
    "ks_var_reg": ("prior", "camera_log_var"),
    "pose_projection1_": ("prior", "pose", "hidden"),
    "pose_projection2_": ("prior", "pose", "out"),
}


def batch_of(record, camera):
    """The recorded labels of a camera mode as a batch of ours."""
    labels = {name[3:]: jnp.asarray(value) for name, value in record.items() if name[:3] == "gt_"}
    count = len(labels["pose"])
    # The recorded layer adds the mean pose to its fingers; our labels are zero for the flat hand.
    joints_2d = labels["joints_2d_screen"]
    if camera == "ortho":  # other made-up labels, in [-1,1]
        joints_2d = labels["joints_2d"].at[..., :2].set((labels["joints_2d"][..., :2] + 1) / 2)
    mean_pose = jnp.concatenate([jnp.zeros(3), reference.hand().mean_pose])
    return {
        "pose": labels["pose"] + mean_pose,
        "betas": labels["betas"],
        "joints_cam": labels["joints3d"],
        "joints_2d": joints_2d[..., :2],
        "joints_valid": joints_2d[..., 2],
        "has_3d": jnp.ones(count),
        "has_mesh": labels["has_mano"].astype(jnp.float32),
        "has_image": jnp.ones(len(labels["has_mano"])),
        "K": labels["Ks_crop"],
    }


@pytest.fixture(scope="session")
def small_runs(small_state):
    """(camera, eps, name of a recorded total, turned) -> ((loss, (terms, outputs)), gradients).

    turned: which noise of a millionth the parameters get, 0 for none.
    One compilation a camera serves all totals: they differ in the weights of two scalars.
    """

    @functools.cache
    def compiled(camera):
        network, hand = reference.network(reference.SMALL, camera), reference.hand()
        record = reference.load(f"e2e_small_{camera}")
        image, batch = reference.images(2, 21), batch_of(record, camera)
        config = CONFIGS[camera].get_config()
        config.loss.kl_2d = "unit"  # what the recorded run used
        config = configuration.loss(config)
        regressor = hand.joint_regressor_21("amvur")

        def loss(params, eps, weight, photometric):
            noise = reference.constant_noise(eps)
            model = {"params": params, "batch_stats": small_state["batch_stats"]}
            outputs, _ = network.apply(model, image, hand, noise=noise)
            total, terms = objective.objective(
                outputs, batch, image, regressor, hand, config, network.config.image_size
            )
            value = weight * total + photometric * terms["photometric"]
            return value, (terms, outputs)

        return config, jax.jit(jax.value_and_grad(loss, has_aux=True))

    @functools.cache
    def run(camera, eps, total, turned=0):
        config, gradient = compiled(camera)
        weights = {
            "weak_epoch_le20": (1.0, -config.photometric),
            "weak_epoch_gt20": (1.0, 0.0),
            "supervised": (1.0, 0.0),
            "texture_only": (0.0, 1.0),
        }
        rng, noise = np.random.default_rng(turned), 1e-6 * (turned > 0)
        params = jax.tree.map(
            lambda a: a * (1 + noise * rng.standard_normal(a.shape, np.float32)),
            small_state["params"],
        )
        return jax.tree.map(np.asarray, gradient(params, eps, *weights[total]))

    return run


def recorded_outputs(record, prefix=""):
    """{recorded name: array} of the outputs alone."""
    names = ("camera", "amvur_", "mano_", "tsa_poses", "jv_var")
    return {
        name.removeprefix(prefix): value
        for name, value in record.items()
        if name.startswith(tuple(prefix + n for n in names))
    }


def our_outputs(outputs):
    """Our outputs under the recorded names."""
    ours = {"tsa_poses": outputs.tsa_poses, "jv_var": outputs.jv_log_var}
    kinds = ("samp", "mu", "log_var")
    if hasattr(outputs.camera, "mu"):
        ours |= {f"camera_{k}": v for k, v in zip(("sample", "mu", "log_var"), outputs.camera)}
    else:
        ours["camera"] = outputs.camera
    for branch, estimate in (("amvur", outputs.posterior), ("mano", outputs.prior)):
        for what, gaussian in zip(("joints3d", "vertices", "joints2d"), estimate):
            ours |= {f"{branch}_{what}_{k}": v for k, v in zip(kinds, gaussian)}
    return ours


def check_outputs(outputs, record, prefix="", *, atol):
    ours, expected = our_outputs(outputs), recorded_outputs(record, prefix)
    assert len(expected) >= (6 if prefix else 21)
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, atol=atol, err_msg=name)


def check_render(outputs, record, *, rgb_atol, image_atol):
    texture = outputs.texture
    # The recorded colours are from before the invisible ones are zeroed.
    seen = np.asarray(texture.visible) > 0
    np.testing.assert_allclose(
        np.asarray(texture.vertex_rgb)[seen], record["int_vertex_rgb"][seen], atol=rgb_atol
    )
    recorded_mask = record["mask"][:, 0] > 0
    np.testing.assert_array_equal(texture.mask, recorded_mask)
    assert 0.02 < recorded_mask.mean() < 0.9
    image = np.asarray(texture.image)[:, ::2, ::2].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(image, record["rendered"], atol=image_atol)


def for_some_turn(turns, check):
    """check(turned) passes for the parameters as they are, or with one of the first noises of a millionth.

    In the weak-perspective run a vertex is on the edge of what is seen, and with it go some pixels: such
    noise, or a machine's rounding, moves the norm of `rot_reg` from 0.98 to 0.85 of the recorded one, every
    other time.
    """
    for turned in range(turns):
        try:
            return check(turned)
        except AssertionError:
            if turned == turns - 1:
                raise


@pytest.mark.parametrize("camera", ["persp", "ortho"])
def test_outputs_equal_the_recorded_ones(small_runs, camera):
    record = reference.load(f"e2e_small_{camera}")
    for eps, prefix in ((0.0, ""), (0.5, "eps0.5_")):
        (_, (_, outputs)), _ = small_runs(camera, eps, TOTALS[camera][-1])
        check_outputs(outputs, record, prefix, atol=1e-5)


@pytest.mark.parametrize(
    ("camera", "rgb_atol", "image_atol"), [("persp", 1e-3, 1e-3), ("ortho", 3e-2, 2e-2)]
)
def test_texture_and_render_equal_the_recorded_ones(small_runs, camera, rgb_atol, image_atol):
    record = reference.load(f"e2e_small_{camera}")

    def check(turned):
        (_, (_, outputs)), _ = small_runs(camera, 0.0, TOTALS[camera][-1], turned)
        check_render(outputs, record, rgb_atol=rgb_atol, image_atol=image_atol)

    for_some_turn(8 if camera == "ortho" else 1, check)


def recorded_losses(camera, eps):
    suffix = "_grads_eps0.5" if eps else ""
    return reference.load(f"e2e_small_{camera}{suffix}")


@pytest.mark.parametrize("eps", [0.0, 0.5])
@pytest.mark.parametrize("camera", ["persp", "ortho"])
def test_loss_terms_and_totals_equal_the_recorded_ones(small_runs, camera, eps):
    record = recorded_losses(camera, eps)
    (_, (terms, _)), _ = small_runs(camera, eps, TOTALS[camera][-1])
    terms = {name: float(value) for name, value in terms.items()}
    pose = 0.02 * terms["tsa_pose"]
    if camera == "persp":
        data = ("p_vertices_2d", "p_projected_2d", "p_joints_2d")
        sums = {"part_reconstruction": pose + sum(terms[n] for n in data)}
        kl = ("kl_joints", "kl_vertices", "kl_camera", "pose_var")
        sums["part_KLD_camera"] = terms["kl_camera"]
    else:
        parts = ("vertices", "joints_3d", "joints_2d")
        sums = {
            "part_vertices": terms["q_vertices"],
            "part_joints3d": terms["q_joints_3d"],
            "part_joints2d": terms["q_joints_2d"],
            "part_reconstruction": sum(terms[f"q_{n}"] for n in parts),
            "part_reconstruction_mano": pose + sum(terms[f"p_{n}"] for n in parts),
            "part_KLD_2d_3arg": terms["kl_2d"],
        }
        kl = ("kl_joints", "kl_vertices", "kl_2d", "pose_var")
    sums["part_KLD"] = sum(terms[n] for n in kl)
    sums["part_KLD_joints"], sums["part_KLD_vertices"] = terms["kl_joints"], terms["kl_vertices"]
    sums["part_KLD_pose_var"] = terms["pose_var"]
    for name, value in sums.items():
        np.testing.assert_allclose(value, record[name], rtol=2e-5, err_msg=name)
    texture = {"rtol": 1e-5} if camera == "persp" else {"atol": 5e-4}
    np.testing.assert_allclose(terms["photometric"], record["part_texture"], **texture)
    for total in TOTALS[camera]:
        (value, _), _ = small_runs(camera, eps, total)
        np.testing.assert_allclose(value, record[f"total_{total}"], rtol=1e-5, err_msg=total)


def norm(tree):
    return np.sqrt(sum(np.sum(np.float64(leaf) ** 2) for leaf in jax.tree.leaves(tree)))


# With oneDNN, which the scripts choose from jax 0.11 on, the weak gradients of the stem's first layer are
# up to 3e-3 of their largest off; all others are as near as ever. Each of its products and gradients is exact
# to 1e-6 (compared alone with float64): so it is a ReLU near zero that other rounding turns.
FIRST_LAYER = 6e-3 if os.environ.get("TEST_CPU_LIBRARIES") == "scripts" else 0.0


@pytest.mark.parametrize("eps", [0.0, 0.5])
@pytest.mark.parametrize(
    ("camera", "total", "rtol"),
    [
        ("persp", "weak_epoch_le20", 1e-4),
        ("persp", "weak_epoch_gt20", 1e-4),
        ("persp", "texture_only", 1e-2),
        ("ortho", "supervised", 1e-3),
        ("ortho", "texture_only", 6e-2),
    ],
)
def test_gradients_equal_the_recorded_ones(small_runs, camera, total, rtol, eps):
    record = recorded_losses(camera, eps)
    turns = 8 if (camera, total) == ("ortho", "texture_only") else 1
    for_some_turn(
        turns, lambda i: check_gradients(small_runs(camera, eps, total, i)[1], record, total, rtol)
    )


def check_gradients(gradients, record, total, rtol):
    """All of a total's recorded gradients and norms of parts."""
    for part, path in PARTS.items():
        ours = (
            norm([gradients[p] for p in path])
            if path[0] != "prior"
            else norm(functools.reduce(lambda tree, name: tree[name], path, gradients))
        )
        expected = record[f"{total}_gradnorm_{part}"]
        loose = 2e-3 if (total, part) == ("supervised", "trans_texture") else rtol
        np.testing.assert_allclose(ours, expected, rtol=loose, atol=1e-9, err_msg=part)
    prefix = f"{total}_grad."
    names = [name for name in record if name.startswith(prefix) and record[name].size]
    assert len(names) >= 8
    for name in names:
        key, expected = name.removeprefix(prefix), record[name]
        ours = reference.parameter(gradients, key, expected)
        loose = 2e-3 if (total, key[:13]) == ("supervised", "trans_texture") else rtol
        if key.startswith(("backbone.conv1.", "backbone.bn1.")):
            loose = max(loose, FIRST_LAYER)
        np.testing.assert_allclose(
            ours, expected, rtol=loose, atol=loose * np.abs(expected).max() + 1e-9, err_msg=key
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("camera", "rgb_atol", "image_atol"), [("persp", 1e-3, 1e-3), ("ortho", 3e-2, 2e-2)]
)
def test_published_size_equals_the_recorded_runs(full_state, camera, rgb_atol, image_atol):
    record = reference.load(f"e2e_full_{camera}")
    network, hand = reference.network(reference.FULL, camera), reference.hand()
    image = reference.images(1, 21)

    @jax.jit
    def run(state, eps):
        return network.apply(state, image, hand, noise=reference.constant_noise(eps))[0]

    outputs = run(full_state, 0.0)
    check_outputs(outputs, record, atol=1e-4)
    check_render(outputs, record, rgb_atol=rgb_atol, image_atol=image_atol)
    check_outputs(run(full_state, 0.5), record, "eps0.5_", atol=1e-4)
