"""Losses of AMVUR (paper, section 3.4), pure functions of arrays; means are over all elements.

Shapes: B samples, J = 21 joints, V vertices. `has` is 0/1, `valid` too, or of a 2D label the confidence from
0 to 1, with which a joint's error is multiplied. Lengths in metres. `count` says of how many samples a mean
is where the arrays hold a part of them: the parts then add up to the batch's loss.
"""

import jax
import jax.numpy as jnp

from amvur_jax.models.cameras import project_sides
from mano_jax.limits import POSE_HIGH, POSE_LOW


def penalty(difference: jax.Array, norm: str = "l2") -> jax.Array:
    """difference^2 (published) or |difference|."""
    return jnp.abs(difference) if norm == "l1" else difference**2


def keypoint_2d(
    pred: jax.Array,
    target: jax.Array,
    valid: jax.Array,
    norm: str = "l2",
    count: jax.Array | None = None,
) -> jax.Array:
    """mean over (B,J,2) of valid (pred - target)^2, divided by all elements, valid or not.

    `valid` from 0 to 1: a joint with half the confidence counts half.
    """
    return labelled_mean(valid[..., None] * penalty(pred - target, norm), None, count)


def heat_divergence(
    heat: jax.Array, target: jax.Array, valid: jax.Array, count: jax.Array | None = None
) -> jax.Array:
    """Mean over (B,J) of the divergence of a joint's heat from a Gaussian about it, one cell wide.

    The joints' mean alone, by `keypoint_2d`, is met as well by heat that lies everywhere. Joints beyond the
    crop have no heat of their own, and count 0.

    Args:
      heat: (B,H,W,J) before its softmax.
      target: (B,J,2) in [0,1] of the crop.
      valid: (B,J).
      count: of samples, as `count` elsewhere.
    """
    b, h, w, joints = heat.shape
    x, y = (
        -0.5 * (jnp.arange(n) + 0.5 - n * target[..., axis, None]) ** 2
        for axis, n in enumerate((w, h))
    )
    wanted = (y[..., :, None] + x[..., None, :]).reshape(b, joints, h * w)
    log_wanted = jax.nn.log_softmax(wanted, -1)
    log_heat = jax.nn.log_softmax(jnp.moveaxis(heat, -1, 1).reshape(b, joints, h * w), -1)
    divergence = jnp.sum(jnp.exp(log_wanted) * (log_wanted - log_heat), -1)
    inside = ((target >= 0) & (target <= 1)).all(-1)
    return labelled_mean(valid * inside * divergence, None, count)


# Of the fingers in the hand's own axes: else they are bent to make up for a wrong turn of the wrist.
FINGERS = 5.0
# How the residual pose head's answers, each better than the one before, share the weight of their terms.
TURN_WEIGHTS = (0.2, 0.3, 0.5)


def of_turns(values: jax.Array) -> jax.Array:
    """The weighted sum over the turns of (T,...), with the turns last: (...)."""
    weights = jnp.asarray(TURN_WEIGHTS[-len(values) :])
    return jnp.tensordot(weights / weights.sum(), values, 1)


def pose_head(
    joints: jax.Array,
    rotation: jax.Array,
    camera: jax.Array,
    target: jax.Array,
    target_2d: jax.Array,
    target_rotation: jax.Array,
    valid: jax.Array,
    has_3d: jax.Array,
    has_mesh: jax.Array,
    counts: tuple[jax.Array | None, jax.Array | None, jax.Array | None] = (None, None, None),
) -> dict[str, jax.Array]:
    """The residual pose head's own terms, absolute differences, over its T turns.

    pose_joints: wrist-relative, in decimetres; pose_fingers: the same in the wrist's axes, times FINGERS;
    pose_2d: of the crop's side, as seen by the camera that the head was told; pose_rotation: of the entries
    of the wrist's rotation.

    Args:
      joints: (T,B,21,3) m; rotation: (T,B,3,3); camera: (B,4) fx, cx, fy, cy in crops' sides.
      target: (B,21,3) m; target_2d: (B,21,2) of the crop; target_rotation: (B,3,3).
      valid: (B,21); has_3d, has_mesh: (B,).
      counts: of samples, of joint labels and of mesh labels, as `count` elsewhere.
    """
    samples, labelled, meshes = counts
    seen = project_sides(joints, camera)
    off_2d = of_turns(jnp.abs(seen - target_2d)) * valid[..., None]
    off = of_turns(jnp.abs(wrist_relative(joints) - wrist_relative(target))) * valid[..., None]
    turned = of_turns(jnp.abs(rotation - target_rotation))
    own, wanted = (
        jnp.einsum("...ji,...kj->...ki", turn, wrist_relative(points), precision="highest")
        for turn, points in ((rotation, joints), (target_rotation, target))
    )
    off_own = of_turns(jnp.abs(own - wanted)) * valid[..., None]
    return {
        "pose_joints": 10 * labelled_mean(off, has_3d, labelled),
        "pose_fingers": 10 * FINGERS * labelled_mean(off_own, has_mesh, meshes),
        "pose_2d": labelled_mean(off_2d, None, samples),
        "pose_rotation": labelled_mean(turned, has_mesh, meshes),
    }


def wrist_relative(joints: jax.Array) -> jax.Array:
    """(...,J,3) minus joint 0, the wrist."""
    return joints - joints[..., :1, :]


def labelled_mean(
    values: jax.Array, has: jax.Array | None = None, count: jax.Array | None = None
) -> jax.Array:
    """Mean of values (B,...) over the samples with has (B,) = 1; 0 when there is none.

    has: None for all. count: the number of those samples, where these are a part of them.
    """
    has = jnp.ones(len(values)) if has is None else has
    count = jnp.maximum(has.sum(), 1) if count is None else count
    weights = has.reshape(has.shape + (1,) * (values.ndim - 1)).astype(values.dtype)
    return jnp.sum(weights * values) / (count * values[0].size)


def keypoint_3d(
    pred: jax.Array,
    target: jax.Array,
    valid: jax.Array,
    has_3d: jax.Array,
    norm: str = "l2",
    count: jax.Array | None = None,
) -> jax.Array:
    """keypoint_2d's formula on wrist-relative (B,J,3), over the samples that have a 3D label."""
    difference = wrist_relative(pred) - wrist_relative(target)
    return labelled_mean(valid[..., None] * penalty(difference, norm), has_3d, count)


def vertex_l1(
    pred: jax.Array, target: jax.Array, has_mesh: jax.Array, count: jax.Array | None = None
) -> jax.Array:
    """mean |pred - target| over (B,V,3), over the samples that have a mesh label."""
    return labelled_mean(jnp.abs(pred - target), has_mesh, count)


def kl_gaussian(
    q_mu: jax.Array,
    q_log_var: jax.Array,
    p_mu: jax.Array,
    p_log_var: jax.Array,
    distance: str = "square",
    has: jax.Array | None = None,
    count: jax.Array | None = None,
) -> jax.Array:
    """0.5 mean( lp - lq + (d(mp - mq) + e^lq) / e^lp - 1 ), d the square, or as published `abs`."""
    difference = p_mu - q_mu
    d = jnp.abs(difference) if distance == "abs" else difference**2
    ratio = (d + jnp.exp(q_log_var)) * jnp.exp(-p_log_var)
    return 0.5 * labelled_mean(p_log_var - q_log_var + ratio - 1, has, count)


def kl_joints(
    q_mu: jax.Array,
    q_log_var: jax.Array,
    p_mu: jax.Array,
    p_log_var: jax.Array,
    has: jax.Array | None = None,
    count: jax.Array | None = None,
) -> jax.Array:
    """KL(q || p) of joints, the means wrist-relative."""
    q_mu, p_mu = wrist_relative(q_mu), wrist_relative(p_mu)
    return kl_gaussian(q_mu, q_log_var, p_mu, p_log_var, "square", has, count)


def kl_2d_unit(
    q_mu: jax.Array,
    q_log_var: jax.Array,
    p_mu: jax.Array,
    has: jax.Array | None = None,
    count: jax.Array | None = None,
) -> jax.Array:
    """0.5 mean(-1 - lq + (mq - mp)^2 + e^lq): the prior's variance taken as 1 (recorded reading)."""
    values = -1 - q_log_var + (q_mu - p_mu) ** 2 + jnp.exp(q_log_var)
    return 0.5 * labelled_mean(values, has, count)


def kl_camera(
    mu: jax.Array,
    log_var: jax.Array,
    camera: jax.Array,
    has: jax.Array | None = None,
    count: jax.Array | None = None,
) -> jax.Array:
    """0.5 mean(1 - lq + ((mq - k)^2 + e^lq) / e - 1), k (B,4) the true camera, prior log-variance 1.

    has (B,): the samples whose camera is known; None: all.
    """
    values = 1 - log_var + ((mu - camera) ** 2 + jnp.exp(log_var)) / jnp.e - 1
    return 0.5 * labelled_mean(values, has, count)


def pose_var(
    jv_log_var: jax.Array, has: jax.Array | None = None, count: jax.Array | None = None
) -> jax.Array:
    """0.5 mean(-1 - l + e^l) on the log-variances that the MANO pass yields."""
    return 0.5 * labelled_mean(-1 - jv_log_var + jnp.exp(jv_log_var), has, count)


def tsa_pose(
    pose: jax.Array, has: jax.Array | None = None, count: jax.Array | None = None
) -> jax.Array:
    """Hinge outside the anatomical limits of pose (B,16,3); the third component counts twice."""
    excess = jax.nn.relu(POSE_LOW - pose) + jax.nn.relu(pose - POSE_HIGH)
    return labelled_mean(excess * jnp.array([1.0, 1.0, 2.0]), has, count)


def companions(sequence: jax.Array, has: jax.Array) -> jax.Array:
    """(B,B) 0 or 1: whether two different samples are of one sequence, and both have a hand to learn from.

    sequence: (B,) its number, -1 for none; has: (B,).
    """
    same = (sequence[:, None] == sequence) & (sequence >= 0)
    return has[:, None] * has * same * (1 - jnp.eye(len(has)))


def differences(
    values: jax.Array,
    beside: jax.Array,
    closeness: jax.Array | float = 1.0,
    count: jax.Array | None = None,
) -> jax.Array:
    """Mean over samples of half their mean squared difference from their companions: a variance.

    Args:
      values: (B,...).
      beside: (B,B) of `companions`; samples without any count 0.
      closeness: (B,B) weights of the pairs, 0 to 1.
      count: of samples, as `count` elsewhere.
    """
    flat = values.reshape(len(values), -1)
    squares = jnp.mean((flat[:, None] - flat) ** 2, -1)
    mean = jnp.sum(beside * closeness * squares, 1) / jnp.maximum(beside.sum(1), 1)
    return 0.5 * labelled_mean(mean, None, count)


def gaussian_nll(
    difference: jax.Array,
    log_var: jax.Array,
    weights: jax.Array,
    count: jax.Array | None = None,
    label_var: jax.typing.ArrayLike = 0.0,
) -> jax.Array:
    """0.5 mean of ( l + (d^2 + label_var) e^-l ) over the elements by their weights; 0 when there is none.

    The negative log-likelihood of a normal distribution without its constant (Nix and Weigend 1994). The
    difference is a constant here: it trains the variance alone.

    Args:
      difference: (...) prediction minus label.
      log_var: (...).
      weights: (...) 0 or 1, or between: how much each counts.
      count: how many elements the mean is over, or None for the sum of the weights.
      label_var: (...) variance of the labels themselves.
    """
    squares = jax.lax.stop_gradient(difference) ** 2 + label_var
    values = weights * (log_var + squares * jnp.exp(-log_var))
    count = jnp.maximum(jnp.sum(weights), 1) if count is None else count
    return 0.5 * jnp.sum(values) / count


def photometric(image: jax.Array, rendered: jax.Array, mask: jax.Array) -> jax.Array:
    """sum of mask sqrt(1e-6 + |image - rendered|^2) / max(sum mask, 1), over the whole batch.

    Args:
      image, rendered: (B,H,W,3) in the network's normalised colours.
      mask: (B,H,W), 0 or 1, or between: how much each pixel counts.
    """
    mask = mask.astype(image.dtype)
    return jnp.sum(mask * color_distance(image, rendered)) / jnp.maximum(mask.sum(), 1)


def color_distance(image: jax.Array, rendered: jax.Array) -> jax.Array:
    """sqrt(1e-6 + |image - rendered|^2) of (...,3): (...)."""
    return jnp.sqrt(1e-6 + jnp.sum((image - rendered) ** 2, -1))


def robust_weights(image: jax.Array, rendered: jax.Array, mask: jax.Array) -> jax.Array:
    """Cauchy's weight 1 / (1 + (d / c)^2) of each pixel (B,H,W), c the median of d over the sample's mask.

    A pixel that is off like most of them weighs a half, one ten times as far off, as of an object before the
    hand, a hundredth. The weights are constants: nothing is learnt by becoming an outlier.

    Args:
      image, rendered, mask: of `photometric`.
    """
    distance = jax.lax.stop_gradient(color_distance(image, rendered))
    scale = jnp.nanmedian(jnp.where(mask > 0, distance, jnp.nan), (1, 2), keepdims=True)
    # NaN where the mask is empty, and no pixel counts.
    return jnp.nan_to_num(1 / (1 + (distance / scale) ** 2))
