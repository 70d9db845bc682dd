"""The two training objectives: supervised with 3D labels, weakly supervised from 2D joints alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from amvur_jax.models import cameras
from amvur_jax.models.cameras import relative_depth
from amvur_jax.models.outputs import Estimate, Gaussian, Outputs, Texture
from amvur_jax.models.spread import Spread
from amvur_jax.training import losses
from amvur_jax.training.sequences import SEQUENCE_TERMS, sequence_terms
from amvur_jax.training.skeletons import Labels
from mano_jax import HandModel
from mano_jax.rotations import rotation_matrix


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights and choices of the objectives; configs/default.py says what each field means."""

    mode: str = "weak"
    data_term: str = "sample"
    norm: str = "l2"
    tsa_pose: float = 0.02
    kl: float = 0.1
    kl_vertices_distance: str = "abs"
    kl_2d: str = "prior"
    align_vertices: bool = False
    photometric: float = 1e-4
    photometric_from: float = 0.5
    photometric_samples: int | None = None
    occlusion: str = "off"
    hidden_sigma: float = 0.0
    keypoint_map: float = 0.0
    heat: float = 0.0
    coefficients: float = 0.0
    same_shape: float = 0.0
    smooth_pose: float = 0.0
    nll: float = 0.0
    pose: float = 0.0
    use_3d: bool = False


class Counts(NamedTuple):
    """Of how many samples of a batch the means of its losses are, scalars; at least 1 but for `drawn`.

    samples: all. images: those that show a hand to learn from. joints, meshes: those with 3D labels. labels:
    2D or, in supervised mode, 3D labels of the fingers' joints. drawn: images among those that are rendered.
    """

    samples: jax.Array
    images: jax.Array
    joints: jax.Array
    meshes: jax.Array
    labels: jax.Array
    drawn: jax.Array


def without_3d(batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """The batch as if it had no 3D labels."""
    return dict(batch) | {name: jnp.zeros_like(batch[name]) for name in ("has_3d", "has_mesh")}


def count_labels(batch: Mapping[str, jax.Array], mode: str, paint: int | None = None) -> Counts:
    """The Counts of a batch of which the first `paint` samples, or None for all, are rendered."""
    joints = batch["joints_valid"]
    if mode == "supervised":
        joints = joints * batch["has_3d"][:, None]
    images, joints_3d, meshes = (batch[n].sum() for n in ("has_image", "has_3d", "has_mesh"))
    return Counts(
        samples=jnp.float32(len(joints)),
        images=jnp.maximum(images, 1),
        joints=jnp.maximum(joints_3d, 1),
        meshes=jnp.maximum(meshes, 1),
        labels=jnp.maximum(joints[:, 1:].sum(), 1),
        drawn=batch["has_image"][:paint].sum(),
    )


def vertex_labels(hand: HandModel, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Wrist-relative labelled vertices (B,V,3) m in camera axes, from pose (B,48) and betas (B,10)."""
    pose = batch["pose"].reshape(-1, 16, 3)
    posed = hand.with_shape(batch["betas"]).with_pose(pose)
    return posed.vertices - posed.joints[:, :1]


def kl_terms(
    outputs: Outputs, config: LossConfig, seen: tuple[jax.Array, jax.Array]
) -> dict[str, jax.Array]:
    """The divergences of posterior and prior of both objectives; `seen`: has and count of the images."""
    q, p = outputs.posterior, outputs.prior
    return {
        "kl_joints": losses.kl_joints(
            q.joints.mu, q.joints.log_var, p.joints.mu, p.joints.log_var, *seen
        ),
        "kl_vertices": losses.kl_gaussian(
            q.vertices.mu,
            q.vertices.log_var,
            p.vertices.mu,
            p.vertices.log_var,
            config.kl_vertices_distance,
            *seen,
        ),
        "pose_var": losses.pose_var(outputs.jv_log_var, *seen),
    }


def supervised_terms(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    regressor: jax.Array,
    hand: HandModel,
    config: LossConfig,
    size: int,
    counts: Counts,
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Data terms and divergences with 3D labels (weak-perspective camera, 2D in [-1,1])."""
    valid, has_3d, has_mesh = batch["joints_valid"], batch["has_3d"], batch["has_mesh"]
    target_2d = 2 * batch["joints_2d"] - 1
    labels = vertex_labels(hand, batch)
    seen = batch["has_image"], counts.images
    data, kl = {}, kl_terms(outputs, config, seen)
    for name, estimate in (("q", outputs.posterior), ("p", outputs.prior)):
        joints, vertices, joints_2d = (getattr(g, config.data_term) for g in estimate)
        if config.align_vertices:
            vertices = vertices - cameras.regressed(regressor[:1], vertices)
        data[f"{name}_vertices"] = losses.vertex_l1(vertices, labels, has_mesh, counts.meshes)
        data[f"{name}_joints_3d"] = losses.keypoint_3d(
            joints, batch["joints_cam"], valid, has_3d, config.norm, counts.joints
        )
        data[f"{name}_joints_2d"] = losses.keypoint_2d(
            joints_2d, target_2d, valid, config.norm, counts.samples
        )
    q, p = outputs.posterior.joints_2d, outputs.prior.joints_2d
    if config.kl_2d == "unit":
        kl["kl_2d"] = losses.kl_2d_unit(q.mu, q.log_var, p.mu, *seen)
    else:
        kl["kl_2d"] = losses.kl_gaussian(q.mu, q.log_var, p.mu, p.log_var, "square", *seen)
    return data, kl


def weak_terms(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    regressor: jax.Array,
    hand: HandModel,
    config: LossConfig,
    size: int,
    counts: Counts,
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Data terms and divergences from 2D joints alone (perspective camera, 2D in [0,1])."""
    p, kind, valid = outputs.prior, config.data_term, batch["joints_valid"]
    camera: Any = outputs.camera  # a Gaussian: it is perspective
    K = cameras.intrinsics(getattr(camera, kind), size)
    if outputs.turns is not None:  # the hand was placed by this camera: it is no unknown
        K = jax.lax.stop_gradient(K)
    regressed = cameras.regressed(regressor, getattr(p.vertices, kind))
    from_vertices = cameras.project(regressed, K) / size
    from_joints = cameras.project(getattr(p.joints, kind), K) / size
    data = {
        name: losses.keypoint_2d(pred, batch["joints_2d"], valid, config.norm, counts.samples)
        for name, pred in (
            ("p_vertices_2d", from_vertices),
            ("p_projected_2d", from_joints),
            ("p_joints_2d", getattr(p.joints_2d, kind)),
        )
    }
    seen = batch["has_image"], counts.images
    kl = kl_terms(outputs, config, seen)
    true_camera = cameras.camera_from_intrinsics(batch["K"], size)
    kl["kl_camera"] = losses.kl_camera(camera.mu, camera.log_var, true_camera, *seen)
    return data, kl


def hidden(points: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Which of the points (B,N,2), crop sides, something hides by the labels, or the crop's edge; 0 or 1.

    0 for all of a sample of which it is not known.
    """
    visible = batch["visible"]
    size = visible.shape[-1]
    x, y = jnp.moveaxis(jnp.clip(jnp.floor(points * size).astype(int), 0, size - 1), -1, 0)
    inside = ((points >= 0) & (points < 1)).all(-1)
    seen = inside & visible[jnp.arange(len(visible))[:, None], y, x]
    return (1.0 - seen) * batch["has_visible"][:, None]


def nll_3d(
    estimate: Estimate,
    spread: Spread,
    batch: Mapping[str, jax.Array],
    hand: HandModel,
    config: LossConfig,
    size: int,
    counts: Counts,
) -> jax.Array:
    """The spread head's likelihood of an estimate's wrist-relative joints and vertices, where labelled."""
    true_vertices = vertex_labels(hand, batch)
    joints = losses.wrist_relative(estimate.joints.mu) - losses.wrist_relative(batch["joints_cam"])
    vertices = estimate.vertices.mu - estimate.joints.mu[:, :1] - true_vertices
    unsure_joints = jnp.zeros(joints.shape[:2])
    unsure_vertices = jnp.zeros(vertices.shape[:2])
    if config.hidden_sigma:
        placed = true_vertices + batch["joints_cam"][:, :1]
        unsure_joints = hidden(batch["joints_2d"], batch)
        unsure_vertices = hidden(cameras.project(placed, batch["K"]) / size, batch)

    def nll(
        difference: jax.Array,
        log_var: jax.Array,
        weights: jax.Array,
        unsure: jax.Array,
        count: jax.Array,
    ) -> jax.Array:
        parts = weights, log_var, config.hidden_sigma**2 * unsure
        weights, log_var, label_var = (
            jnp.broadcast_to(x[..., None], difference.shape) for x in parts
        )
        return losses.gaussian_nll(difference, log_var, weights, 3 * count, label_var)

    has_joint = batch["has_3d"][:, None] * batch["joints_valid"]
    has_mesh, of_meshes = batch["has_mesh"][:, None], vertices.shape[1] * counts.meshes
    return nll(
        joints[:, 1:], spread.joints[:, 1:], has_joint[:, 1:], unsure_joints[:, 1:], counts.labels
    ) + nll(vertices, spread.vertices, has_mesh, unsure_vertices, of_meshes)


def supervised_nll(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    hand: HandModel,
    config: LossConfig,
    size: int,
    counts: Counts,
) -> jax.Array:
    """The spread head's likelihood of the posterior."""
    spread: Any = outputs.spread  # with the head, without which there is no config.nll
    return nll_3d(outputs.posterior, spread, batch, hand, config, size, counts)


def weak_nll(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    hand: HandModel,
    config: LossConfig,
    size: int,
    counts: Counts,
) -> jax.Array:
    """The spread head's likelihood of the prior's wrist-relative 2D joints, its variance projected.

    Of samples without 3D labels: with them, nll_3d says more, and is used where config says so.
    """
    camera: Any = outputs.camera  # a Gaussian: it is perspective
    spread: Any = outputs.spread  # with the head, without which there is no config.nll
    joints = jax.lax.stop_gradient(outputs.prior.joints.mu)
    K = jax.lax.stop_gradient(cameras.intrinsics(camera.mu, size))
    projected = cameras.project(joints, K) / size

    def in_sides(log_var: jax.Array) -> jax.Array:
        log_var = jnp.broadcast_to(log_var[..., None], joints.shape)
        return cameras.project_log_var(joints, log_var, K) - 2 * jnp.log(size)

    log_var = in_sides(spread.joints)
    label_var = jnp.zeros_like(log_var)
    if config.hidden_sigma:
        unsure = jnp.full(joints.shape[:2], 2 * jnp.log(config.hidden_sigma))
        label_var = hidden(batch["joints_2d"], batch)[..., None] * jnp.exp(in_sides(unsure))
    difference = losses.wrist_relative(projected) - losses.wrist_relative(batch["joints_2d"])
    valid = batch["joints_valid"] * (1 - batch["has_3d"][:, None])
    valid = jnp.broadcast_to(valid[..., None], difference.shape)
    nll = losses.gaussian_nll(
        difference[:, 1:], log_var[:, 1:], valid[:, 1:], 2 * counts.labels, label_var[:, 1:]
    )
    if config.use_3d:
        nll += nll_3d(outputs.prior, spread, batch, hand, config, size, counts)
    return nll


def pose_terms(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    size: int,
    counts: Counts,
    skeletons: Labels | None,
) -> dict[str, jax.Array]:
    """The residual pose head's terms for the pictures, and those for the skeletons behind them."""
    turns: Any = outputs.turns  # with the head, without which the term has no weight
    pictures = len(batch["pose"])

    def part(start: int | None, end: int | None) -> tuple[jax.Array, jax.Array, jax.Array]:
        return (
            turns.joints[:, start:end],
            turns.pose.rotation[:, start:end],
            turns.camera[start:end],
        )

    # The head turns a hand whose own root is at (pi, 0, 0).
    root = jnp.diag(jnp.array([1.0, -1.0, -1.0]))
    terms = losses.pose_head(
        *part(None, pictures),
        batch["joints_cam"],
        batch["joints_2d"],
        rotation_matrix(batch["pose"][:, :3]) @ root,
        batch["joints_valid"],
        batch["has_3d"],
        batch["has_mesh"],
        (counts.samples, counts.joints, counts.meshes),
    )
    if isinstance(outputs.camera, Gaussian):  # a perspective one, which is no answer of the head's
        true_camera = cameras.camera_from_intrinsics(batch["K"], size)
        off = jnp.abs(outputs.camera.mu - true_camera)
        terms["pose_camera"] = losses.labelled_mean(off, batch["has_3d"], counts.joints)
    if skeletons is None:
        return terms
    one = jnp.ones(len(skeletons.depth))
    more = losses.pose_head(
        *part(pictures, None),
        skeletons.joints,
        skeletons.xy,
        skeletons.rotation,
        jnp.ones_like(skeletons.depth),
        one,
        one,
    )
    share = pictures / counts.samples
    return terms | {f"skeleton_{name}": share * value for name, value in more.items()}


def photometric_term(
    texture: Texture,
    batch: Mapping[str, jax.Array],
    image: jax.Array,
    config: LossConfig,
    counts: Counts,
) -> jax.Array:
    """The rendered samples against their pictures, where config.occlusion says that those show the hand."""
    drawn = len(texture.image)
    image, there = image[:drawn], batch["has_image"][:drawn]
    mask = there[:, None, None] * texture.mask
    if config.occlusion != "off":
        mask = mask * in_front(texture, batch, image, config)
    photometric = losses.photometric(image, texture.image, mask)
    return photometric * there.sum() / jnp.maximum(counts.drawn, 1)


def in_front(
    texture: Texture, batch: Mapping[str, jax.Array], image: jax.Array, config: LossConfig
) -> jax.Array:
    """How much each pixel (B,S,S) of the rendered samples, 0 to 1, shows the hand and nothing before it."""
    robust = losses.robust_weights(image, texture.image, texture.mask)
    if config.occlusion == "robust":
        return robust
    drawn = len(image)
    known = batch["has_visible"][:drawn, None, None] > 0
    return jnp.where(known, batch["visible"][:drawn], robust)


TERMS = {"supervised": supervised_terms, "weak": weak_terms}
NLL = {"supervised": supervised_nll, "weak": weak_nll}


def objective(
    outputs: Outputs,
    batch: Mapping[str, jax.Array],
    image: jax.Array,
    regressor: jax.Array,
    hand: HandModel,
    config: LossConfig,
    size: int,
    counts: Counts | None = None,
    skeletons: Labels | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The total loss and its terms.

    Args:
      outputs: Outputs of the network for the batch.
      batch: the arrays of amvur_jax.data.sample, with a leading batch axis.
      image: (B,S,S,3) as the network saw it; used where outputs.texture is there.
      regressor: (21,V) of the network.
      hand: mano_jax.HandModel.
      config: LossConfig.
      size: the crop's side, px.
      counts: Counts of the whole batch that these samples are a part of, or None where they are all of it.
        The parts' losses then add up to the batch's; of the photometric one, which is a mean over the pixels
        that the mesh covers, each part gives its own mean times its share of the images.
      skeletons: Labels of the skeletons that the residual pose head answered, or None.
    Returns:
      total (scalar), {term: unweighted value}.
    """
    if counts is None:
        drawn = 0 if outputs.texture is None else len(outputs.texture.image)
        counts = count_labels(batch, config.mode, drawn)
    seen = batch["has_image"], counts.images
    data, kl = TERMS[config.mode](outputs, batch, regressor, hand, config, size, counts)
    if not config.kl:
        kl = {}  # nor is the posterior computed
    terms = {**data, **kl, "tsa_pose": losses.tsa_pose(outputs.tsa_poses, *seen)}
    total = sum(data.values()) + config.kl * sum(kl.values()) + config.tsa_pose * terms["tsa_pose"]
    if config.keypoint_map:
        on_map: Any = outputs.joints_2d_map  # with the head, without which it has no weight
        terms["keypoint_map"] = losses.keypoint_2d(
            on_map, batch["joints_2d"], batch["joints_valid"], "l1", counts.samples
        )
        total = total + config.keypoint_map * terms["keypoint_map"]
        if outputs.depth_map is not None:
            depth = relative_depth(batch["joints_cam"], batch["K"][:, 0, 0] / size)
            off = jnp.abs(outputs.depth_map - depth) * batch["joints_valid"]
            terms["depth_map"] = losses.labelled_mean(off, batch["has_3d"], counts.joints)
            total = total + config.keypoint_map * terms["depth_map"]
    if config.heat:
        on_grid: Any = outputs.heat  # likewise
        terms["heat"] = losses.heat_divergence(
            on_grid, batch["joints_2d"], batch["joints_valid"], counts.samples
        )
        total = total + config.heat * terms["heat"]
    if config.pose:
        pose = pose_terms(outputs, batch, size, counts, skeletons)
        terms |= pose
        total = total + config.pose * sum(pose.values())
    if config.coefficients:
        terms["coefficients"] = losses.labelled_mean(
            outputs.pose_coefficients**2, *seen
        ) + losses.labelled_mean(outputs.betas**2, *seen)
        total = total + config.coefficients * terms["coefficients"]
    compared = {name: getattr(config, name) for name in SEQUENCE_TERMS}
    if any(compared.values()):
        sequence = sequence_terms(outputs, batch, counts.images)
        terms |= sequence
        total = total + sum(compared[name] * value for name, value in sequence.items())
    if config.nll:
        terms["nll"] = NLL[config.mode](outputs, batch, hand, config, size, counts)
        total = total + config.nll * terms["nll"]
    if outputs.texture is not None:
        terms["photometric"] = photometric_term(outputs.texture, batch, image, config, counts)
        total = total + config.photometric * terms["photometric"]
    return total, terms
