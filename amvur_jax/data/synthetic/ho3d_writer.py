"""Synthetic frames in exactly the layout of HO-3D v2 and v3 (Hampali et al., CVPR 2020 and 2022)."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from amvur_jax.data.frame import GL_TO_CV
from amvur_jax.files.whole import write_picture, write_whole
from mano_jax.rotations import rotation_matrix, rotation_vector
from mano_jax.topology import FINGERTIPS

if TYPE_CHECKING:
    from pathlib import Path

    from amvur_jax.data.synthetic.paint import WriteFrame
    from amvur_jax.data.synthetic.scene import Sequence
    from mano_jax import HandModel

DEPTH_UNIT = 0.00012498664727900177  # metres of one step of a depth image
_CONTACT = 0.004  # m


class HO3DWriter:
    """Writes one split of a tree.

    Args:
      output: the tree's folder (pathlib.Path).
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel of the frames.
      count: number of listed frames in the split; not used.
      version: 2 (PNG) or 3 (JPEG, and the hand's distance to the object).
    """

    # Real sequences hold frames that no list names and that have no labels: so does ours.
    unlisted = 1

    def __init__(
        self,
        output: Path,
        split: str,
        hand: HandModel,
        count: int | None = None,
        *,
        version: int = 2,
    ) -> None:
        self._output, self._split, self._hand, self._version = output, split, hand, version
        self._truth: dict[str, list[str]] = {"xyz": [], "verts": []}

    def add(
        self, name: str, i: int, index: int, sequence: Sequence, listed: bool
    ) -> WriteFrame | None:
        """Take note of a frame's labels.

        Returns:
          None where the frame is there already, else a function of (image, depth, hand, rng) that
          writes it.
        """
        folder = self._output / self._split / name
        meta, joints, vertices = labels(self._hand, sequence, i, self._split, self._version)
        if not listed:
            meta = dict.fromkeys(meta)
        elif self._split == "evaluation":
            self._truth["xyz"].append(_numbers(joints))
            self._truth["verts"].append(_numbers(vertices))
        if (folder / "meta" / f"{i:04d}.pkl").exists():
            return None

        def write(
            image: np.ndarray, depth: np.ndarray, hand: np.ndarray, rng: np.random.Generator
        ) -> None:
            for part in ("rgb", "depth", "meta"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            suffix = ".jpg" if self._version == 3 else ".png"
            write_picture(folder / "rgb" / f"{i:04d}{suffix}", image)
            write_picture(folder / "depth" / f"{i:04d}.png", encode_depth(depth))
            # The labels come last: a frame that has them is whole.
            write_whole(folder / "meta" / f"{i:04d}.pkl", pickle.dumps(meta, protocol=2))

        return write

    def finish(self) -> None:
        """Write what belongs to the whole split."""
        if self._split == "evaluation":
            for name, samples in self._truth.items():
                text = f"[{', '.join(samples)}]\n"
                write_whole(self._output / f"evaluation_{name}.json", text.encode())

    def publish(self, plan: list[tuple[str, int]]) -> None:
        """Write the list, which makes a reader take the split for whole; plan is (name, count) each."""
        lines = [f"{name}/{i:04d}\n" for name, count in plan for i in range(count)]
        write_whole(self._output / f"{self._split}.txt", "".join(lines).encode())


def labels(
    hand: HandModel, sequence: Sequence, i: int, split: str, version: int = 2
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """What HO-3D's meta file says of a frame: OpenGL camera, metres, HO-3D's joint order.

    Args:
      hand: a mano_jax.HandModel.
      sequence: a scene.Sequence.
      i: the frame.
      split: "train" or "evaluation".
      version: 2 or 3.

    Returns:
      dict of arrays and strings, joints (21, 3) and vertices (778, 3).
    """
    vertices = sequence.vertices_cam[i] * GL_TO_CV
    joints = np.concatenate(
        [sequence.joints16_cam[i] * GL_TO_CV, vertices[list(FINGERTIPS["ho3d"])]]
    )
    thing = sequence.objects[0]
    object_rotation = np.diag(GL_TO_CV) @ thing.rotation[i]
    object_place = thing.translation[i] * GL_TO_CV
    corners = thing.solid.corners
    meta = {
        "camMat": sequence.K,
        "camIDList": ["0"],
        "objRot": _rotation_vector(object_rotation)[:, None],
        "objTrans": object_place,
        "objCorners3D": corners @ object_rotation.T + object_place,
        "objCorners3DRest": corners,
        "objName": f"synthetic_{thing.solid.kind}",
        "objLabel": 0,
    }
    if split == "train":
        # The hand turns about its rest wrist J0, so the wrist is J0 + trans in every axes.
        rest_wrist = sequence.joints16_cam[i, 0] - sequence.trans[i]
        rotation = np.diag(GL_TO_CV) @ np.asarray(rotation_matrix(jnp.asarray(sequence.pose[i, 0])))
        meta |= {
            "handPose": np.concatenate([_rotation_vector(rotation), sequence.pose[i, 1:].ravel()]),
            "handTrans": joints[0] - rest_wrist,
            "handBeta": sequence.betas,
            "handJoints3D": joints,
        }
    else:
        pixels = (joints * GL_TO_CV / -joints[:, 2:]) @ sequence.K[:2].T
        meta |= {
            "handJoints3D": joints[0],
            "handBoundingBox": np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]),
        }
    if version == 3:
        meta |= _contact(vertices, thing.vertices_cam[i] * GL_TO_CV)
    return (
        {k: _single(v) for k, v in meta.items()},
        joints,
        vertices,
    )


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """HO-3D's depth image, (H, W, 3) uint8 RGB, of depths (H, W) in metres."""
    steps = np.clip(np.round(depth / DEPTH_UNIT), 0, 65535).astype(np.uint16)
    return np.stack([steps & 255, steps >> 8, np.zeros_like(steps)], axis=-1).astype(np.uint8)


def _contact(vertices: np.ndarray, surface: np.ndarray) -> dict[str, np.ndarray]:
    """How near each vertex of the hand comes to the object's, as version 3 tells."""
    apart = np.linalg.norm(vertices[:, None] - surface, axis=-1)
    nearest = apart.argmin(axis=1)
    distance = apart[np.arange(len(vertices)), nearest]
    return {
        "handVertContact": distance < _CONTACT,
        "handVertDist": distance,
        "handVertIntersec": np.zeros(len(vertices), bool),
        "handVertObjSurfProj": surface[nearest],
    }


def _single(value: Any) -> Any:
    floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float32) if floating else value


def _numbers(points: np.ndarray) -> str:
    return json.dumps(np.round(points, 7).tolist())


def _rotation_vector(rotation: np.ndarray) -> np.ndarray:
    return np.asarray(rotation_vector(jnp.asarray(rotation, jnp.float32)))
