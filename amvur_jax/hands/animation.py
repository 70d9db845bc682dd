"""The hands of a video as one animated GLB: a skinned mesh for each track.

A mesh for each frame would be 9 kB a frame and hand; 16 turning joints are 0.3 kB, and programs play them
smoothly. What skinning leaves out are the model's pose correctives, and changes of shape along a track: the
mesh has the track's mean (docs/video.md says how much that is).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from amvur_jax.detect.detector import Side
from amvur_jax.hands.colors import linear, vertex_normals
from amvur_jax.hands.gltf import INDICES, SKIN, VERTICES, Arrays
from amvur_jax.hands.hand import Hand
from mano_jax import HandModel

_INFLUENCES = 4  # joints that move a vertex, as all programs have it
_FLIP = np.array([-1.0, 1.0, 1.0])
_TO_GL_AXES = [1.0, 0.0, 0.0, 0.0]  # a quaternion (x, y, z, w): half a turn about x


@dataclasses.dataclass
class _Track:
    """What is kept of a hand: of each frame that shows it time, turns and place; of the rest sums."""

    side: Side
    times: list[float] = dataclasses.field(default_factory=list)
    turns: list[np.ndarray] = dataclasses.field(default_factory=list)  # (16,3) axis-angle
    betas: list[np.ndarray] = dataclasses.field(default_factory=list)
    translations: list[np.ndarray] = dataclasses.field(default_factory=list)
    shown: list[tuple[float, float]] = dataclasses.field(default_factory=list)  # time, 0 or 1
    colors: np.ndarray | float = 0.0
    sigma: np.ndarray | float = 0.0


class _Scene:
    """What a GLB says of nodes, meshes and their animation."""

    def __init__(self) -> None:
        self.arrays, self.roots = Arrays(), list[int]()
        self.nodes, self.meshes, self.skins = _rows(), _rows(), _rows()
        self.samplers, self.channels = _rows(), _rows()

    def animate(self, node: int, path: str, times: int, values: np.ndarray, kind: str) -> None:
        """Let a node's translation, rotation or scale have values (T,...) at the times of an accessor."""
        output = self.arrays.add(values)
        target = {"node": node, "path": path}
        self.channels.append({"sampler": len(self.samplers), "target": target})
        self.samplers.append({"input": times, "output": output, "interpolation": kind})

    def glb(self) -> bytes:
        animation = {"name": "video", "samplers": self.samplers, "channels": self.channels}
        return self.arrays.glb(
            {
                "scenes": [{"nodes": self.roots}],
                "nodes": self.nodes,
                "meshes": self.meshes,
                "skins": self.skins,
                "animations": [animation],
                "materials": [SKIN],
            }
        )


def _rows() -> list[dict[str, Any]]:
    return []


class Animation:
    """Gathers the hands of a video, a frame after the other, and makes a GLB of them."""

    def __init__(self, model: HandModel) -> None:
        """Take the right hand's model, of which the hands have their parameters."""
        self._faces = np.asarray(model.faces)
        self._parents = model.parents
        self._weights = np.asarray(model.weights, np.float64)
        arrays = (model.v_template, model.shapedirs, model.joint_regressor)
        self._template, self._directions, regressor = (np.asarray(a, np.float64) for a in arrays)
        self._joints = regressor @ self._template
        self._joint_directions = np.einsum("jv,vck->jck", regressor, self._directions)
        self._tracks: dict[int, _Track] = {}
        self._start = 0.0
        self._frames = 0

    def add(self, time_s: float, hands: Iterable[tuple[int, Hand]]) -> None:
        """The hands of the next frame, each with the number of its track."""
        self._start = self._start if self._frames else time_s
        self._frames += 1
        seen = dict(hands)
        for number, hand in seen.items():
            track = self._tracks.setdefault(number, _Track(hand.side))
            track.times.append(time_s)
            track.turns.append(np.vstack([hand.wrist_rotation, hand.finger_pose]))
            track.betas.append(hand.betas)
            track.translations.append(hand.translation)
            track.colors = track.colors + hand.colors
            track.sigma = track.sigma + hand.vertices_sigma_mm
        for number, track in self._tracks.items():
            now = float(number in seen)
            if not track.shown or track.shown[-1][1] != now:
                track.shown.append((time_s, now))

    def glb(self) -> bytes:
        """A GLB: for each track a mesh, its joints, and an animation with the times of the video.

        Before its first frame, after its last and where it is lost, a hand has no size.
        """
        scene = _Scene()
        for number in sorted(self._tracks):
            self._add(scene, f"{self._tracks[number].side} hand {number + 1}", self._tracks[number])
        return scene.glb()

    def _add(self, scene: _Scene, name: str, track: _Track) -> None:
        flip = np.ones(3) if track.side == "right" else _FLIP
        betas = np.array(track.betas)
        vertices = (self._template + self._directions @ betas.mean(0)) * flip
        joints = (self._joints + self._joint_directions @ betas.mean(0)) * flip
        # The wrist is where it was in each frame, of that frame's own shape.
        wrist = (self._joints[0] + betas @ self._joint_directions[0].T) * flip
        wrist = wrist + track.translations
        from scipy.spatial.transform import Rotation  # slow to import, and photographs need none

        turns = Rotation.from_rotvec(np.reshape(track.turns, (-1, 3))).as_quat()
        turns = _continuous(turns.reshape(len(wrist), -1, 4))

        arrays, root = scene.arrays, len(scene.nodes)
        first = root + 1
        scene.nodes.append({"name": name, "rotation": _TO_GL_AXES, "children": [first]})
        for j, parent in enumerate(self._parents):
            place = wrist[0] if parent < 0 else joints[j] - joints[parent]
            node: dict[str, Any] = {"name": f"{name} joint {j}", "translation": place.tolist()}
            node["rotation"] = turns[0, j].tolist()
            if children := [first + k for k, above in enumerate(self._parents) if above == j]:
                node["children"] = children
            scene.nodes.append(node)
        mesh, skin = len(scene.meshes), len(scene.skins)
        scene.roots += [root, len(scene.nodes)]
        scene.nodes.append({"name": f"{name} mesh", "mesh": mesh, "skin": skin})
        scene.meshes.append({"name": name, "primitives": [self._part(arrays, track, vertices)]})
        bind = np.tile(np.eye(4), (len(joints), 1, 1))
        bind[:, :3, 3] = -joints
        bones = list(range(first, first + len(joints)))
        entry = {"name": name, "skeleton": root, "joints": bones}
        scene.skins.append(entry | {"inverseBindMatrices": arrays.add(bind)})

        times = arrays.add(np.array(track.times))
        scene.animate(first, "translation", times, wrist, "LINEAR")
        for j in range(len(joints)):
            scene.animate(first + j, "rotation", times, turns[:, j], "LINEAR")
        shown = track.shown
        if shown[0][0] > self._start:
            shown = [(self._start, 0.0), *shown]
        if len(shown) > 1:
            keys, sizes = np.array(shown).T
            scale = np.repeat(sizes[:, None], 3, 1)
            scene.animate(root, "scale", arrays.add(keys), scale, "STEP")

    def _part(self, arrays: Arrays, track: _Track, vertices: np.ndarray) -> dict[str, object]:
        """The mesh at rest, with mean colours and sigma, and the joints that move each vertex."""
        faces = self._faces if track.side == "right" else self._faces[:, ::-1]
        count = len(track.times)
        strongest = np.argsort(-self._weights, axis=1, kind="stable")[:, :_INFLUENCES]
        weights = np.take_along_axis(self._weights, strongest, 1)
        weights /= weights.sum(1, keepdims=True)
        attributes = {
            "POSITION": arrays.add(vertices, VERTICES),
            "NORMAL": arrays.add(vertex_normals(vertices, faces), VERTICES),
            "COLOR_0": arrays.add(linear(np.asarray(track.colors) / count), VERTICES),
            "_SIGMA": arrays.add(np.asarray(track.sigma) / count, VERTICES),
            "JOINTS_0": arrays.add(np.where(weights > 0, strongest, 0).astype(np.uint8), VERTICES),
            "WEIGHTS_0": arrays.add(weights, VERTICES),
        }
        indices = arrays.add(faces.ravel().astype(np.uint32), INDICES)
        return {"attributes": attributes, "indices": indices, "material": 0}


def _continuous(turns: np.ndarray) -> np.ndarray:
    """Quaternions (T,J,4) with the sign that makes each the nearer one to that before it."""
    flips = np.sign((turns[1:] * turns[:-1]).sum(-1, keepdims=True))
    signs = np.cumprod(np.where(flips < 0, -1.0, 1.0), axis=0)
    return np.concatenate([turns[:1], turns[1:] * signs])
