"""A trained network ready to run: restore a checkpoint, predict crops, take its answer."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import mano_jax
from amvur_jax import configuration, weights
from amvur_jax.data.readers.kinematics import hand_id
from amvur_jax.errors import UserError
from amvur_jax.models import cameras
from amvur_jax.models.colors import normalize
from amvur_jax.models.cpu.backend import on_one_cpu
from amvur_jax.models.cpu.ready import is_a_part, ready
from amvur_jax.models.functional import Network
from amvur_jax.models.outputs import Estimate, Outputs, Texture
from amvur_jax.models.pose_head import A, Keypoints, confidence
from amvur_jax.runtime.devices import make_mesh, over_batch, replicated

OFF = 0.03  # how far a detector's joints are off, of the hand's longer side, where nobody says


class View(NamedTuple):
    """The answer before a camera: vertices (B,V,3) and joints (B,21,3) m, OpenCV axes; K (B,3,3), crop px."""

    vertices: jax.Array
    joints: jax.Array
    K: jax.Array


class Sigma(NamedTuple):
    """Log-variances, m², of the answer's coordinates: joints (B,21,3), vertices (B,V,3)."""

    joints: jax.Array
    vertices: jax.Array


class Answered(NamedTuple):
    """What a hand is made of: fingers (B,15,3) from the flat hand, betas (B,10), colours where asked for."""

    view: View
    sigma: Sigma
    fingers: jax.Array
    betas: jax.Array
    texture: Texture | None


def keypoints_of(joints: A, depth: A, off: A, size: int) -> tuple[Keypoints, A]:
    """What the network takes of a detector's joints, and which samples have any, (B,) 0 or 1.

    Of numpy's arrays or JAX's.

    Args:
      joints: (B,21,2) px of the crop, NaN where there is none.
      depth: (B,21) px behind the wrist, NaN for unknown.
      off: (B,) how far the joints may be off, of the hand's longer side.
      size: of the crop, px.
    """
    xp = joints.__array_namespace__()
    there = xp.isfinite(joints).all(-1)
    known = there & xp.isfinite(depth)
    sure = confidence(off)[:, None]
    arrays = (
        xp.where(there[..., None], joints, 0) / size,
        xp.where(known, depth, 0) / size,
        there * sure,
        known * sure,
        there.any(-1),
    )
    *parts, given = (x.astype(xp.float32) for x in arrays)
    return Keypoints(*parts), given


@functools.partial(jax.jit, static_argnums=(0, 4))
def _run(
    network: Network,
    state: dict,
    hand: mano_jax.HandModel,
    images: jax.Array,
    paint: int | None,
    keypoints: Keypoints | None,
    given: jax.Array | None,
) -> Outputs:
    image = normalize(images)
    outputs, _ = network.apply(state, image, hand, paint=paint, keypoints=keypoints, given=given)
    return outputs


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A network with its state, its hand model and the config that they come from.

    temperature: what the variances are multiplied with, None where none was fitted; temperature_given: the
    same where a detector gives the joints. devices: those that share each batch, or None for the default
    one. published_sigma: leave the spread head out.
    """

    network: Network
    hand: mano_jax.HandModel
    state: dict
    config: dict
    temperature: float | None = None
    temperature_given: float | None = None
    devices: jax.sharding.Mesh | None = None
    published_sigma: bool = False

    @property
    def size(self) -> int:
        """Side of the crop, px."""
        return self.network.config.image_size

    @property
    def crop_scale(self) -> float:
        """The crop's side, times the published one."""
        return self.network.config.crop_scale

    def __call__(
        self,
        images: np.ndarray | jax.Array,
        paint: int | None = None,
        joints: np.ndarray | None = None,
        depth: np.ndarray | None = None,
        off: np.ndarray | None = None,
    ) -> Outputs:
        """All outputs for crops; jit-compiled once for each B.

        Args:
          images: (B,S,S,3) uint8 RGB.
          paint: how many get a texture and are rendered, from the first; None for all.
          joints: (B,21,2) a detector's joints, px of the crop, the model's order, NaN where there is none; of
            a sample that has none at all, and with None, the network's own are taken.
          depth: (B,21) how far they lie behind the wrist, px of the crop, NaN or None for unknown.
          off: (B,) how far the joints of each hand may be off, of its longer side; None for OFF.
        Raises:
          ValueError: the arrays are of other shapes, or the network takes no joints, or it has none of its
            own and some sample comes without.
        """
        images, keypoints, given = self._arrays(images, joints, depth, off)
        return _run(self.network, self._ready, self.hand, images, paint, keypoints, given)

    def answered(
        self,
        images: np.ndarray | jax.Array,
        paint: int | None = None,
        joints: np.ndarray | None = None,
        depth: np.ndarray | None = None,
        off: np.ndarray | None = None,
    ) -> Answered:
        """The answer alone of what `__call__` gives, as one program: what it has no need of is left out."""
        arrays = self._arrays(images, joints, depth, off)
        return self._program(arrays, paint)

    @functools.cached_property
    def _program(self) -> Callable[[tuple, int | None], Answered]:
        answered = functools.partial(self._answered, self._ready, self.hand)
        if is_a_part((self._ready, self.hand)):
            return jax.jit(answered, static_argnums=1)
        return answered

    @functools.cached_property
    def _ready(self) -> dict:
        """The state, its kernels as this machine is quickest with them."""
        config = self.network.config
        if on_one_cpu():
            return ready(self.state, config.image_size, config.dtype)
        return self.state

    @functools.cached_property
    def _answered(self) -> Callable[..., Answered]:
        @functools.partial(jax.jit, static_argnums=3)
        def answered(
            state: dict, hand: mano_jax.HandModel, arrays: tuple, paint: int | None
        ) -> Answered:
            images, keypoints, given = arrays
            outputs = _run(self.network, state, hand, images, paint, keypoints, given)
            view, sigma = self.view(outputs), self.sigma(outputs)
            return Answered(view, sigma, outputs.tsa_poses[:, 1:], outputs.betas, outputs.texture)

        return answered

    def _arrays(
        self,
        images: np.ndarray | jax.Array,
        joints: np.ndarray | None,
        depth: np.ndarray | None,
        off: np.ndarray | None,
    ) -> tuple[Any, Keypoints | None, Any]:
        """Checked crops, and what `_given` makes of their joints, on the devices."""
        self._check(images)
        arrays = (images, *self._given(len(images), joints, depth, off))
        return jax.device_put(arrays, None if self.devices is None else over_batch(self.devices))

    def _given(
        self,
        count: int,
        joints: np.ndarray | None,
        depth: np.ndarray | None,
        off: np.ndarray | None,
    ) -> tuple[Keypoints | None, np.ndarray | None]:
        """The Keypoints of a detector's joints, and which samples have any, (B,) 0 or 1."""
        source = self.network.config.keypoints
        if joints is None:
            if source == "given":
                raise ValueError("this network reads no joints off its picture: give `joints`")
            return None, None
        if source == "map":
            raise ValueError("this network takes no joints (config.model.keypoints is 'map')")
        if joints.shape != (count, 21, 2):
            raise ValueError(f"joints are ({count}, 21, 2), not {joints.shape}")
        depth = np.full((count, 21), np.nan) if depth is None else depth
        if depth.shape != (count, 21):
            raise ValueError(f"depth is ({count}, 21), not {depth.shape}")
        off = np.full(count, OFF) if off is None else off
        if off.shape != (count,):
            raise ValueError(f"off is ({count},), not {off.shape}")
        missing = np.flatnonzero(~np.isfinite(joints).all(-1).any(-1))
        if len(missing) and source == "given":
            raise ValueError(
                f"sample {missing[0]} has no joint at all, and this network reads none off its picture"
            )
        return keypoints_of(joints, depth, off, self.size)

    def _check(self, images: np.ndarray | jax.Array) -> None:
        side = self.size
        if images.dtype != jnp.uint8:
            raise ValueError(
                f"crops are uint8 RGB from 0 to 255, not {images.dtype}: of numbers in [0, 1] give "
                "(255 * crops).round().astype(np.uint8)"
            )
        if images.ndim != 4 or images.shape[1:] != (side, side, 3):
            raise ValueError(f"crops are (B, {side}, {side}, 3), not {tuple(images.shape)}")

    def on_all_devices(self) -> Predictor:
        """The same, each batch shared among this process's devices: their number must divide it."""
        if jax.local_device_count() == 1:
            return self
        mesh = make_mesh(jax.local_devices())
        state, hand = jax.device_put((self.state, self.hand), replicated(mesh))
        return dataclasses.replace(self, state=state, hand=hand, devices=mesh)

    def sigma(self, outputs: Outputs) -> Sigma:
        """Log-variances of the answer: the spread head's, else the published ones; not yet scaled."""
        answer, spread = self.answer(outputs), outputs.spread
        if spread is None or self.published_sigma:
            return Sigma(answer.joints.log_var, answer.vertices.log_var)
        return Sigma(*(jnp.repeat(x[..., None], 3, -1) for x in spread))

    def answer(self, outputs: Outputs) -> Estimate:
        """The posterior of a supervised network, the prior of a weakly supervised one (as published)."""
        return outputs.answer(self.config["loss"]["mode"])

    def joints_2d(self, outputs: Outputs) -> jax.Array:
        """The answer's mean 2D joints (B,21,2) in [0,1] of the crop."""
        joints = self.answer(outputs).joints_2d.mu
        perspective = self.network.config.camera == "perspective"
        return joints if perspective else (joints + 1) / 2

    def view(self, outputs: Outputs) -> View:
        """The answer's mean vertices and joints and the camera that projects them into the crop.

        A supervised network has no place in metres: its hand is put where a camera of usual focal length sees
        it as the weak-perspective one does.
        """
        size, answer = self.size, self.answer(outputs)
        vertices, joints = answer.vertices.mu, answer.joints.mu
        camera: Any = outputs.camera  # a Gaussian, or an array with the weak-perspective one
        if self.network.config.camera == "perspective":
            return View(vertices, joints, cameras.intrinsics(camera.mu, size))
        K, shift = cameras.weak_view(vertices, camera, size)
        return View(vertices + shift[:, None], joints + shift[:, None], K)


def load(path: str | pathlib.Path = weights.NAME, hand_path: str | None = None) -> Predictor:
    """Restore a Predictor from a run's folder, its checkpoints, one step's folder, or a file of weights.

    Args:
      path: of these; RUN@best for the run's best checkpoint; "shipped" for the weights in the package.
      hand_path: the hand model that the network was trained with, where it is no longer at the path that the
        checkpoint names; None for that path.
    Raises:
      UserError: no checkpoint there, a damaged one, one that does not fit its own config, or another hand.
    """
    file = weights.file_of(path)
    if file is None:
        from amvur_jax import checkpoint  # Orbax is slow to import, and weights need none

        stored, config = None, checkpoint.read_config(path)
    else:
        stored = weights.read_weights(file)
        config = stored.config
    if hand_path is not None:
        config = config | {"hand": hand_path}
    network, hand = configuration.network(config), configuration.hand(config)
    if config.get("hand_id") not in (None, hand_id(hand)):
        raise UserError(
            f"{path}: was trained with another hand model than {config['hand'] or 'the embedded one'}; "
            "give its own with --hand"
        )
    shapes = network.shapes
    if file is not None and stored is not None:
        state = weights.fitted(file, stored.state, shapes)
        return Predictor(network, hand, state, config, stored.temperature, stored.temperature_given)
    state = checkpoint.restore_model(path, shapes, averaged=True)
    calibration = checkpoint.read_calibration(path)
    own, given = (calibration.get(name) for name in checkpoint.TEMPERATURES)
    return Predictor(network, hand, state, config, own, given)


def untrained(config: dict[str, Any]) -> Predictor:
    """A Predictor with random parameters, what a run of this config starts from."""
    network, hand = configuration.network(config), configuration.hand(config)
    state = jax.device_put(network.init(config["seed"]))
    return Predictor(network, hand, state, config)
