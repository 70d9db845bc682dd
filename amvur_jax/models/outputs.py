"""What the network gives."""

from typing import NamedTuple

import jax

from amvur_jax.models.pose_head import Turns
from amvur_jax.models.spread import Spread


class Gaussian(NamedTuple):
    """A sample, the mean and the log-variance of one quantity, arrays of one shape."""

    sample: jax.Array
    mu: jax.Array
    log_var: jax.Array


class Estimate(NamedTuple):
    """Joints (B,21,3) m and vertices (B,V,3) m in the camera frame, joints_2d (B,21,2) of the crop.

    2D is in [0,1] with the perspective camera, in [-1,1] with the weak-perspective one.
    """

    joints: Gaussian
    vertices: Gaussian
    joints_2d: Gaussian


class Texture(NamedTuple):
    """Vertex colours (B,V,3), zero where invisible; the rendered crop (B,H,W,3) and its mask (B,H,W)."""

    vertex_rgb: jax.Array
    visible: jax.Array
    image: jax.Array
    mask: jax.Array


class Outputs(NamedTuple):
    """Everything that the losses and the scripts need; shapes as above.

    camera: Gaussian of (B,4), or (B,3) with the weak-perspective camera. tsa_poses (B,16,3).
    jv_log_var (B,21+V,3). betas and pose_coefficients of the mean. joints_2d_map: (B,21,2) in [0,1]
    read off the feature map, their depth_map (B,21) and heat (B,H,W,21), or None. turns: what the residual
    pose head answered, or None with the published one. spread: None without the head. texture: None where it
    was not asked for.
    """

    camera: Gaussian | jax.Array
    prior: Estimate
    posterior: Estimate
    tsa_poses: jax.Array
    jv_log_var: jax.Array
    betas: jax.Array
    pose_coefficients: jax.Array
    joints_2d_map: jax.Array | None
    spread: Spread | None
    texture: Texture | None
    depth_map: jax.Array | None = None
    heat: jax.Array | None = None
    turns: Turns | None = None

    def answer(self, mode: str) -> Estimate:
        """The answer: a supervised network's posterior, a weakly supervised one's prior (as published)."""
        return self.posterior if mode == "supervised" else self.prior
