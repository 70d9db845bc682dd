"""A made-up video of one hand that moves, and its truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from amvur_jax.data.frame import project
from amvur_jax.data.synthetic.paint import Painter, lens
from amvur_jax.data.synthetic.scene import DIFFICULTIES, IMAGE_SIZE, sample_sequence
from amvur_jax.data.synthetic.textures import scatter, surface
from amvur_jax.errors import UserError
from amvur_jax.files.video import VideoWriter
from amvur_jax.files.whole import explained, writing
from mano_jax import HandModel, load_hand

RATE = 30  # frames a second; from one key pose to the next is one
SWAY_PX, SWAY_HZ = 40, (0.05, 0.03)  # of the background, along x and y
_BLUR = 0.6


def make_video(
    path: str | Path,
    seconds: float,
    seed: int = 0,
    difficulty: str = "easy",
    hand: HandModel | None = None,
) -> None:
    """Write a video of 640 x 480 px of a right hand whose pose, rotation and place go from key to key.

    Beside it, as NAME.npz, lies the truth of its n frames: time_s (n,); joints_px (n, 21, 2), the first
    pixel's centre at (0.5, 0.5); joints_cam (n, 21, 3) m, OpenCV axes, the model's order, HO-3D's fingertips;
    pose (n, 16, 3), trans (n, 3), betas (10,) of the hand model; K (3, 3).

    Args:
      path: of the video, an .mp4.
      seconds: its length.
      seed: of everything.
      difficulty: a key of scene.DIFFICULTIES.
      hand: the mano_jax.HandModel; None for the embedded one.

    Raises:
      UserError: the name does not end in .mp4, or it cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise UserError(f"--video={path}: give a name that ends in .mp4")
    count = max(round(seconds * RATE), 1)
    hand, rng, level = hand or load_hand(), np.random.default_rng(seed), DIFFICULTIES[difficulty]
    sequence = sample_sequence(rng, hand, count, level, count, RATE)
    posed = hand.with_shape(jnp.asarray(sequence.betas)).with_pose(jnp.asarray(sequence.pose))
    joints = np.asarray(posed.joints_21("ho3d"), np.float64) + sequence.trans[:, None]
    times = np.arange(count) / RATE
    painter = Painter(hand)
    shared = painter.sequence(sequence)
    height, width = IMAGE_SIZE
    wall = surface(rng, (height + 2 * SWAY_PX, width + 2 * SWAY_PX), calm=not level.wide)
    wall = scatter(rng, wall, level.clutter).astype(np.float32)
    far = np.full(IMAGE_SIZE, 2.0)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, (width, height), list(times)) as video:
            for i in tqdm(range(count), unit="frame", desc="video", dynamic_ncols=True):
                x, y = SWAY_PX * (1 + np.sin(2 * np.pi * np.array(SWAY_HZ) * times[i]))
                move = np.array([[1, 0, -x], [0, 1, -y]])
                behind = cv2.warpAffine(wall, move, (width, height))
                vertices = painter.vertices(sequence, i)
                image = painter.frame(shared, vertices, sequence.K, behind, far)[0]
                video.write(lens(rng, image, _BLUR, level.noise))
        truth = {
            "time_s": times,
            "joints_px": project(joints, sequence.K),
            "joints_cam": joints,
            "pose": sequence.pose,
            "trans": sequence.trans,
            "betas": sequence.betas,
            "K": sequence.K,
        }
        with writing(path.with_suffix(".npz")) as file:
            np.savez_compressed(file, **truth)  # type: ignore[arg-type]  # names are not its flags
