"""Pictures of hands without end: layers drawn a thousand at a time, laid over backgrounds one by one.

`Stream` is a data set like any other (amvur_jax.data.frame.Dataset), with the root "stream". Frame i depends
on the seed and i alone. A layer is used USES times within its window of frames, each time over another
background, among other things and in another light.
"""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from amvur_jax.data.frame import Frame
from amvur_jax.data.synthetic.backdrops import BACKDROP, draw_backdrop
from amvur_jax.data.synthetic.layers import SIDE, LayerPainter, Layers
from amvur_jax.errors import UserError
from mano_jax import HandModel, load_hand

ROOT = "stream"
LAYERS, BACKDROPS, USES = 1024, 128, 8
ENDLESS = 2**31 - 1
_SECOND_HAND, _SHADOW, _FRONT, _HARD_LIGHT, _EDGE = 0.15, 0.3, 0.25, 0.25, 0.1


class Window:
    """What the frames of one window are made of: layers, and backdrops (n, BACKDROP, BACKDROP, 3) uint8."""

    def __init__(self, painter: LayerPainter, seed: tuple[int, ...], layers: int) -> None:
        rng = np.random.default_rng(seed)
        self.layers: Layers = painter.draw(rng, layers)
        self.backdrops = np.stack([draw_backdrop(rng) for _ in range(BACKDROPS)])


class _Names(Sequence[str]):
    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i):  # type: ignore[no-untyped-def, override]  # numbers alone
        if not 0 <= i < self._count:
            raise IndexError(i)  # which ends a loop over them
        return f"{ROOT}/{i}"


class Stream:
    """An endless training split, or as many frames that are not in it as layers are drawn together.

    Args:
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel that is drawn; None = the embedded one.
      seed: of everything.
      layers: how many are drawn together.
    """

    root, layout, reach, left_out = Path(ROOT), "ho3d_v2", None, 0
    endless = True
    moments = None

    def __init__(
        self, split: str, hand: HandModel | None = None, seed: int = 0, layers: int = LAYERS
    ) -> None:
        self.split = split
        self._hand = hand or load_hand()
        self._seed = (seed, 0 if split == "train" else 1)
        self._layers = layers
        self._window = layers * (USES if split == "train" else 1)  # frames of the same layers
        self.names: Sequence[str] = _Names(ENDLESS if split == "train" else layers)
        self._start()

    def _start(self) -> None:
        self._painter = LayerPainter(self._hand)
        self._windows: collections.OrderedDict[int, concurrent.futures.Future[Window]]
        self._windows = collections.OrderedDict()
        self._lock = threading.Lock()
        self._pool = concurrent.futures.ThreadPoolExecutor(1)

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict:
        raise UserError(
            "config.data.workers: the stream is drawn in the process that trains; set it to 0"
        )

    @property
    def ground_truth(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(joints_cam, vertices_cam) of the evaluation split; None of the endless one."""
        if self.split == "train":
            return None
        layers = self._get(0).layers
        posed = self._hand.with_shape(layers.betas).with_pose(layers.pose.reshape(-1, 16, 3))
        vertices = np.asarray(posed.vertices, np.float64) + layers.trans[:, None]
        return layers.joints_cam, vertices

    def frame(self, i: int) -> Frame:
        """Frame i, a picture of SIDE x SIDE."""
        number, place = divmod(int(i), self._window)
        window = self._get(number)
        if self.split == "train" and place > self._window // 2:
            self._ask(number + 1)
        rng = np.random.default_rng((*self._seed, 1, int(i)))
        k = place % self._layers
        layers = window.layers
        joints = layers.joints_cam[k]
        pixels = joints[:, :2] / joints[:, 2:] * layers.K[k][[0, 1], [0, 1]] + layers.K[k][:2, 2]
        return Frame(
            name=self.names[i],
            index=int(i),
            image=compose(rng, window, k),
            K=layers.K[k],
            box=np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]),
            wrist_cam=joints[0],
            joints_cam=joints,
            pose=layers.pose[k],
            betas=layers.betas[k],
            trans=layers.trans[k],
            root_cam=layers.root_cam[k],
        )

    def _ask(self, number: int) -> concurrent.futures.Future[Window]:
        with self._lock:
            if number not in self._windows:
                if len(self._windows) > 2:
                    self._windows.popitem(last=False)
                self._windows[number] = self._pool.submit(
                    Window, self._painter, (*self._seed, 0, number), self._layers
                )
            self._windows.move_to_end(number)
            return self._windows[number]

    def _get(self, number: int) -> Window:
        return self._ask(number).result()


def compose(rng: np.random.Generator, window: Window, k: int) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8: layer k over a backdrop, with a second hand, shadows, things in front, light."""
    draw = rng.random(8)
    image = _cut(rng, window.backdrops)
    layer = window.layers.rgba[k]
    alpha = np.ascontiguousarray(layer[..., 3])
    if draw[0] < _SHADOW:
        shift = np.array([[1, 0, rng.uniform(-14, 14)], [0, 1, rng.uniform(-4, 14)]])
        shadow = cv2.warpAffine(alpha, shift, (SIDE, SIDE))
        shadow = cv2.GaussianBlur(shadow, (0, 0), rng.uniform(1.5, 8))
        image = _scaled(image, 255 - (shadow * rng.uniform(0.2, 0.7)).astype(np.uint8))
    second = None
    if draw[1] < _SECOND_HAND:
        second = _second(rng, window.layers.rgba)
        if draw[2] < 0.6:
            image, second = _over(image, second), None
    image = _over(image, layer)
    if second is not None:
        image = _over(image, second)
    if draw[3] < _FRONT:
        for _ in range(rng.integers(1, 3)):
            _cover(rng, image, _cut(rng, window.backdrops))
    if draw[4] < _HARD_LIGHT:
        image = _relit(rng, image)
    if draw[5] < _EDGE:  # the border of the photo, black beyond
        left, top, right, bottom = (rng.uniform(0, 0.24, 4) * SIDE).astype(int)
        image = cv2.copyMakeBorder(
            image[top : SIDE - bottom, left : SIDE - right],
            top,
            bottom,
            left,
            right,
            cv2.BORDER_CONSTANT,
        )
    return image


def _cut(rng: np.random.Generator, backdrops: np.ndarray) -> np.ndarray:
    """A part of one of them, turned by quarters, mirrored, its colours scaled."""
    backdrop = backdrops[rng.integers(len(backdrops))]
    y, x = rng.integers(0, BACKDROP - SIDE + 1, 2)
    part = backdrop[y : y + SIDE, x : x + SIDE]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.3:
        part = np.rot90(part, int(rng.integers(1, 4)))
    gain = rng.uniform(0.7, 1.15) * rng.normal(1.0, 0.05, 3)
    return cv2.transform(np.ascontiguousarray(part), np.diag(gain))


def _over(image: np.ndarray, layer: np.ndarray) -> np.ndarray:
    return cv2.add(_scaled(image, 255 - layer[..., 3]), layer[..., :3])


def _scaled(image: np.ndarray, share: np.ndarray) -> np.ndarray:
    """image * share / 255, share (SIDE, SIDE) uint8."""
    return cv2.multiply(image, cv2.cvtColor(share, cv2.COLOR_GRAY2RGB), scale=1 / 255)


def _second(rng: np.random.Generator, layers: np.ndarray) -> np.ndarray:
    """Another hand, mirrored or not, that leaves most of the first to be seen."""
    layer = layers[rng.integers(len(layers))]
    angle, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.4)
    away = rng.uniform(38, 75) * np.array([np.cos(angle), np.sin(angle)])
    flip = -1.0 if rng.random() < 0.6 else 1.0
    matrix = np.array([[flip * scale, 0.0, 0.0], [0.0, scale, 0.0]])
    matrix[:, 2] = SIDE / 2 + away - matrix[:, :2] @ [SIDE / 2, SIDE / 2]
    return cv2.warpAffine(layer, matrix, (SIDE, SIDE))


def _cover(rng: np.random.Generator, image: np.ndarray, texture: np.ndarray) -> None:
    """Draw a thing, or a bar, over a part of the middle of the picture."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    at = SIDE / 2 + rng.normal(0, 22, 2)
    kind, angle = rng.random(), rng.uniform(0, 180)
    half = rng.uniform(5, 22, 2) if kind < 0.7 else np.array([rng.uniform(2, 7), 200.0])
    if kind < 0.35:
        cv2.ellipse(mask, (tuple(at), tuple(2 * half), angle), 255, -1, cv2.LINE_AA)
    else:
        corners = cv2.boxPoints((tuple(at), tuple(2 * half), angle))
        cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255, cv2.LINE_AA)
    three = cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)
    image[:] = cv2.add(
        cv2.multiply(image, 255 - three, scale=1 / 255), cv2.multiply(texture, three, scale=1 / 255)
    )


def _relit(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The picture with one side of an edge in the light, the other in the shade."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.normal(0, 25)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    across = x * np.cos(angle) + y * np.sin(angle) - offset
    soft = np.clip(across / rng.uniform(1, 60) + 0.5, 0, 1)
    dark, bright = rng.uniform(0.35, 0.9), rng.uniform(1.0, 1.5)
    gain = ((dark + (bright - dark) * soft) * 128).astype(np.uint8)
    return cv2.multiply(image, cv2.cvtColor(gain, cv2.COLOR_GRAY2RGB), scale=1 / 128)
