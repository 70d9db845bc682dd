"""Hands of a photograph: detected, cropped, reconstructed by the network, and put before one camera."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax import inference
from amvur_jax.data.crop import crop_box, crop_image, crop_matrix
from amvur_jax.data.frame import project
from amvur_jax.detect.detector import DetectedHand, Detector, Side, expected_error
from amvur_jax.detect.tips import finger_ends
from amvur_jax.errors import UserError
from amvur_jax.hands import colors, place
from amvur_jax.hands.focal import ASSUMED, Focal, intrinsics, parse_focal
from amvur_jax.hands.hand import FocalSource, Hand, mirrored, mirrored_box, mirrored_px
from amvur_jax.hands.refine import LEAST, Posed, refine
from amvur_jax.models.cameras import regressed
from amvur_jax.pictures.draw import texture_colors

if TYPE_CHECKING:
    import mano_jax
    from amvur_jax.inference import Predictor

SIZES = (1, 4, 16)  # of the batches that are compiled for, unless others are asked for
_LEAST_SCORE = 0.5  # below, landmarks in a given box are not believed


class Box(NamedTuple):
    """Where a hand is known to be: (4,) x1, y1, x2, y2 px, and its side, or None where that is not known."""

    box: np.ndarray
    side: Side | None = None


class Found(NamedTuple):
    """A hand to reconstruct, and the square of the picture that is its crop.

    centre (2,) and length, its middle and side, px; joints_px (21,2) and depth (21,) px as of DetectedHand,
    NaN where they are not known.
    """

    side: Side
    score: float
    box: np.ndarray
    centre: np.ndarray
    length: float
    joints_px: np.ndarray
    depth: np.ndarray


class Sight(NamedTuple):
    """A hand in its picture (H, W, 3) uint8 RGB, not mirrored, of the camera K (3,3) px.

    focal_source: what the hand says of its focal length.
    """

    image: np.ndarray
    found: Found
    K: np.ndarray
    focal_source: FocalSource


class Crop(NamedTuple):
    """What the network is shown of a Sight, small enough to be sent to another process.

    pixels (S,S,3) uint8 RGB; of a left hand all is of the mirror image, but for found.side. K as of Sight;
    width: of the picture, px.
    """

    pixels: np.ndarray
    found: Found
    K: np.ndarray
    focal_source: FocalSource
    width: int


class Answer(NamedTuple):
    """The network's, of right hands in their crops' cameras, numpy arrays.

    points (B,21+V,3) m, the joints first; K (B,3,3) px of the crop; finger_pose (B,15,3) from the flat hand;
    betas (B,10); joints_sigma_mm (B,21), vertices_sigma_mm (B,V); texture (B,V,3) sRGB, or None.
    """

    points: np.ndarray
    K: np.ndarray
    finger_pose: np.ndarray
    betas: np.ndarray
    joints_sigma_mm: np.ndarray
    vertices_sigma_mm: np.ndarray
    texture: np.ndarray | None


class Reconstructor:
    """Photographs -> hands; a network and a detector that are loaded once."""

    def __init__(
        self,
        predictor: Predictor,
        detector: Detector | None,
        thorough: bool = False,
        side: Side = "right",
        refine: bool = True,
        together: int = SIZES[-1],
    ) -> None:
        """Take what is loaded.

        Args:
          predictor: amvur_jax.inference.Predictor.
          detector: or None: without boxes, a picture is then taken as a crop about one hand.
          thorough: look for small hands too.
          side: of hands of which neither a detector nor a box tells it.
          refine: move the hands to where the detector has their joints (`refine.py`), of networks whose mesh
            is the hand model's.
          together: hands that the network sees at once, at most.
        Raises:
          UserError: the network needs landmarks and there is no detector.
        """
        if detector is None and predictor.network.config.keypoints == "given":
            raise UserError(
                "this network reads no joints off its picture: it needs the detector (not --detect=none)"
            )
        self.predictor, self.detector = predictor, detector
        self.thorough, self.side = thorough, side
        self._sizes = (*(size for size in SIZES if size < together), together)
        # A supervised network answers with a mesh of its own (as published).
        self._refines = refine and predictor.config["loss"]["mode"] == "weak"
        self.faces = np.asarray(predictor.hand.faces)

    def __call__(
        self,
        image: np.ndarray,
        focal: Focal | float | str | None = None,
        boxes: Sequence[Box] | None = None,
        focal_source: FocalSource = "given",
    ) -> list[Hand]:
        """Reconstruct the hands of a photograph.

        Args:
          image: (H, W, 3) uint8 RGB, not mirrored.
          focal: a Focal, px of the picture, or a word of `parse_focal`; None: assumed, `focal.ASSUMED`.
          boxes: where the hands are, in the place of those that the detector finds.
          focal_source: what a hand says of a focal length that is not None.
        Returns:
          the hands, best first, or in the order of the boxes.
        Raises:
          UserError: a box has its middle outside the picture, or the focal length is none.
        """
        return self.hands(self.sights(image, focal, boxes, focal_source))

    def sights(
        self,
        image: np.ndarray,
        focal: Focal | float | str | None = None,
        boxes: Sequence[Box] | None = None,
        focal_source: FocalSource = "given",
    ) -> list[Sight]:
        """Where the hands of a photograph are, for `hands`; all as of a call."""
        if focal is None:
            focal, focal_source = ASSUMED, "assumed"
        focal = focal if isinstance(focal, Focal) else parse_focal(focal)
        height, width = image.shape[:2]
        K = intrinsics(focal, (width, height))
        return [Sight(image, found, K, focal_source) for found in self.find(image, boxes)]

    def hands(self, sights: Sequence[Sight]) -> list[Hand]:
        """Reconstruct hands, of any pictures, `together` at a time."""
        images = self._right_images(sights)
        return self._hands([self._crop(*pair) for pair in zip(sights, images)], images)

    def crops(self, sights: Sequence[Sight]) -> list[Crop]:
        """What `cropped_hands` takes, perhaps elsewhere."""
        return [self._crop(*pair) for pair in zip(sights, self._right_images(sights))]

    def cropped_hands(self, crops: Sequence[Crop]) -> list[Hand]:
        """`hands` without their pictures: so without colours, NaN, where the network has no texture."""
        return self._hands(crops, [None] * len(crops))

    def _right_images(self, sights: Sequence[Sight]) -> list[np.ndarray]:
        """The picture of each sight, of a left hand its mirror image, in which it is a right one."""
        left = {id(sight.image): sight.image for sight in sights if sight.found.side == "left"}
        flipped = {key: np.ascontiguousarray(image[:, ::-1]) for key, image in left.items()}
        return [s.image if s.found.side == "right" else flipped[id(s.image)] for s in sights]

    def _crop(self, sight: Sight, image: np.ndarray) -> Crop:
        found, width = sight.found, image.shape[1]
        if found.side == "left":
            found = _mirrored(found, width)
        A = crop_matrix(found.centre, found.length, self.predictor.size)
        pixels = crop_image(image, A, self.predictor.size)
        return Crop(pixels, found, sight.K, sight.focal_source, width)

    def _hands(self, crops: Sequence[Crop], images: Sequence[np.ndarray | None]) -> list[Hand]:
        hands: list[Hand] = []
        for start in range(0, len(crops), self._sizes[-1]):
            part = slice(start, start + self._sizes[-1])
            for crop, hand in zip(crops[part], self._right_hands(crops[part], images[part])):
                is_right = crop.found.side == "right"
                hands.append(hand if is_right else mirrored(hand, crop.width))
        return hands

    def find(self, image: np.ndarray, boxes: Sequence[Box] | None) -> list[Found]:
        """Where the hands are: as given, as the detector finds them, or without it one in the middle."""
        height, width = image.shape[:2]
        nothing = np.full((21, 2), np.nan), np.full(21, np.nan)
        if boxes is None and self.detector is None:
            whole = np.array([0.0, 0.0, width, height])
            return [Found(self.side, 1.0, whole, whole[2:] / 2, min(width, height), *nothing)]
        if boxes is None:
            assert self.detector is not None
            return [
                self.found(hand, (width, height)) for hand in self.detector(image, self.thorough)
            ]
        found = []
        for box, side in boxes:
            box = np.asarray(box, np.float64)
            square = self._square(box, (width, height))
            if self.detector is None:
                found.append(Found(side or self.side, 1.0, box, *square, *nothing))
                continue
            hand = self.detector.landmarks(image, box, side)
            believed = hand.score >= _LEAST_SCORE or self._needs_landmarks
            marks = (hand.joints_px, hand.depth) if believed else nothing
            found.append(Found(hand.side, hand.score, box, *square, *marks))
        return found

    def found(self, hand: DetectedHand, size: tuple[int, int]) -> Found:
        """A detector's hand of a picture of `size` (width, height) px, to be reconstructed."""
        box = np.clip(hand.box, 0, [*size, *size])
        square = self._square(box, size)
        return Found(hand.side, hand.score, box, *square, hand.joints_px, hand.depth)

    @property
    def _temperatures(self) -> tuple[float | None, float | None]:
        """Of joints that the network reads itself, and of those that it is given."""
        return self.predictor.temperature, self.predictor.temperature_given

    def _was_given(self, joints: np.ndarray) -> np.ndarray:
        """(B,) 0 or 1, the hands whose joints (B,21,2), NaN for none, the network is given."""
        given = np.isfinite(joints).all(-1).any(-1)
        return (given & (self.predictor.network.config.keypoints != "map")).astype(int)

    @property
    def _needs_landmarks(self) -> bool:
        return self.predictor.network.config.keypoints == "given"

    def _square(self, box: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
        """The middle (2,) and the side, px, of the crop about a box in a picture of `size` (width, height).

        Raises:
          UserError: the box has its middle outside the picture.
        """
        width, height = size
        centre, side, usable = crop_box(box, size)
        if not usable:
            raise UserError(
                f"box={','.join(f'{x:g}' for x in box)}: its middle is outside the picture, which is "
                f"{width} x {height} px"
            )
        return centre, self.predictor.crop_scale * side

    def _right_hands(
        self, cropped: Sequence[Crop], images: Sequence[np.ndarray | None]
    ) -> list[Hand]:
        """At most `together` right hands, each with the picture that shows it, or None."""
        size, count = self.predictor.size, len(cropped)
        found = [crop.found for crop in cropped]
        # Padded, by the first again: so few sizes are ever compiled.
        order = list(range(count)) + [0] * (next(n for n in self._sizes if n >= count) - count)
        maps = np.stack([crop_matrix(hand.centre, hand.length, size) for hand in found])
        crops = np.stack([crop.pixels for crop in cropped])
        K = np.stack([crop.K for crop in cropped])[order]
        landmarks = finger_ends(np.stack([hand.joints_px for hand in found]))
        scale = maps[:, 0, 0]
        joints = scale[:, None, None] * landmarks + maps[:, None, :2, 2]
        depth = finger_ends(np.stack([hand.depth for hand in found])[..., None])[..., 0]
        depth = scale[:, None] * depth
        off = expected_error(np.array([hand.score for hand in found]))
        was_given = self._was_given(landmarks)
        answer = self._answer(crops[order], joints[order], depth[order], off[order])
        points = place.into_picture(answer.points, answer.K, maps[order], size, K, landmarks[order])
        posed = self._posed(answer, points[:, 21:])
        chosen = (np.isfinite(landmarks[order]).all(-1).sum(-1) >= LEAST) & self._refines
        if chosen.any():
            seen_by = landmarks[order], K, answer.joints_sigma_mm, off[order]
            refined = self._refined(posed, points[:, :21], *seen_by)
            posed, points = jax.tree.map(
                lambda a, b: _of_rows(chosen, a, b), refined, (posed, points)
            )
        wrist = [cv2.Rodrigues(turn)[0][:, 0] for turn in posed.wrist]
        mean = np.asarray(self.predictor.hand.mean_pose, np.float64).reshape(15, 3)
        hands = []
        painted = answer.texture
        for i, ((_, hand, own, focal_source, _), image) in enumerate(zip(cropped, images)):
            joints_cam, vertices_cam = points[i, :21], points[i, 21:]
            if painted is not None:
                shades = painted[i]
            elif image is not None:
                shades = colors.off_picture(image, vertices_cam, self.faces, own)
            else:
                shades = np.full_like(vertices_cam, np.nan)
            hands.append(
                Hand(
                    side="right",
                    score=hand.score,
                    box=hand.box,
                    K=own,
                    focal_source=focal_source,
                    vertices_cam=vertices_cam,
                    joints_cam=joints_cam,
                    joints_px=project(joints_cam, own),
                    landmarks_px=hand.joints_px,
                    refined=bool(chosen[i]),
                    wrist_rotation=wrist[i],
                    finger_pose=posed.fingers[i],
                    finger_pose_from_mean=posed.fingers[i] - mean,
                    betas=posed.betas[i],
                    translation=posed.translation[i],
                    joints_sigma_mm=answer.joints_sigma_mm[i],
                    vertices_sigma_mm=answer.vertices_sigma_mm[i],
                    sigma_calibrated=self._temperatures[was_given[i]] is not None,
                    colors=shades,
                )
            )
        return hands

    def _answer(
        self, crops: np.ndarray, joints: np.ndarray, depth: np.ndarray, off: np.ndarray
    ) -> Answer:
        """The network's Answer for crops (B,S,S,3) and landmarks (B,21,2), (B,21) px of them, NaN: none.

        off (B,): how far the landmarks may be off, of the hand's longer side.
        """
        predictor = self.predictor
        takes = predictor.network.config.keypoints != "map" and np.isfinite(joints).any()
        # Colours that no loss has trained are none.
        trained = predictor.config["loss"]["photometric"] > 0
        answered = predictor.answered(
            crops,
            paint=None if trained else 0,
            joints=joints if takes else None,
            depth=depth if takes else None,
            off=off if takes else None,
        )
        view, sigma, fingers, betas, texture = jax.device_get(answered)
        config = predictor.network.config
        temperature = np.array(
            [self._temperatures[i] or 1.0 for i in self._was_given(joints)], np.float64
        )
        shaped = config.predict_shape or config.pose_head == "residual"
        betas = np.asarray(betas, np.float64)

        def sigma_mm(log_var: np.ndarray) -> np.ndarray:
            variance = np.exp(np.asarray(log_var, np.float64)).mean(-1)
            return 1000 * np.sqrt(temperature[:, None] * variance)

        return Answer(
            points=np.concatenate([view.joints, view.vertices], 1).astype(np.float64),
            K=np.asarray(view.K, np.float64),
            finger_pose=np.asarray(fingers, np.float64),
            betas=betas if shaped else np.zeros_like(betas),
            joints_sigma_mm=sigma_mm(sigma.joints),
            vertices_sigma_mm=sigma_mm(sigma.vertices),
            texture=np.stack([texture_colors(texture, i) for i in range(len(crops))])
            if trained
            else None,
        )

    def _posed(self, answer: Answer, vertices_cam: np.ndarray) -> Posed:
        """The Posed of an answer, its wrist and place those that bring the model onto vertices (B,V,3).

        Exact where the answer is the hand model's; a mesh of the network's own is met as well as can be.
        """
        points, wrist = self._unturned(answer.finger_pose, answer.betas)
        rotation, shift = place.rigid(points[:, 21:], vertices_cam)
        at = np.einsum("bij,bj->bi", rotation, wrist) + shift
        return Posed(rotation, answer.finger_pose, answer.betas, at - wrist)

    def _refined(
        self,
        posed: Posed,
        joints: np.ndarray,
        landmarks: np.ndarray,
        K: np.ndarray,
        sigma_mm: np.ndarray,
        off: np.ndarray,
    ) -> tuple[Posed, np.ndarray]:
        """`refine.refine` of joints (B,21,3) to landmarks (B,21,2) px of K (B,3,3): the Posed, its points
        (B,21+V,3)."""
        camera = np.stack([K[:, 0, 0], K[:, 0, 2], K[:, 1, 1], K[:, 1, 2]], -1)
        arrays = jax.tree.map(np.float32, (posed, joints, landmarks, camera, sigma_mm / 1000, off))
        moved = refine(self.predictor.hand, *arrays, self.predictor.network.config.fingertips)
        posed = jax.tree.map(np.float64, jax.device_get(moved))
        return posed, posed.moved(*self._unturned(posed.fingers, posed.betas))

    def _unturned(self, fingers: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`_unturned` of the hand and the joints that the network regresses, float64."""
        hand, tips = self.predictor.hand, self.predictor.network.config.regressor_tips
        found = _unturned(hand, np.float32(fingers), np.float32(betas), tips)
        points, wrist = (np.asarray(x, np.float64) for x in found)
        return points, wrist


@functools.partial(jax.jit, static_argnames="tips")
def _unturned(
    hand: mano_jax.HandModel, fingers: jax.Array, betas: jax.Array, tips: str
) -> tuple[jax.Array, jax.Array]:
    """The 21 joints, as regressed, and vertices (B,21+V,3), and the wrist (B,3), m, of a hand not turned."""
    pose = jnp.concatenate([jnp.zeros_like(fingers[:, :1]), fingers], 1)
    posed = hand.with_shape(betas).with_pose(pose)
    joints = regressed(hand.joint_regressor_21(tips), posed.vertices)
    return jnp.concatenate([joints, posed.vertices], 1), posed.joints[:, 0]


def _of_rows(chosen: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)


def _mirrored(hand: Found, width: float) -> Found:
    return hand._replace(
        box=mirrored_box(hand.box, width),
        centre=mirrored_px(hand.centre, width),
        joints_px=mirrored_px(hand.joints_px, width),
    )


@functools.cache
def _shipped() -> Reconstructor:
    return Reconstructor(inference.load(), Detector())


def reconstruct(
    image: np.ndarray,
    focal: Focal | float | str | None = None,
    boxes: Sequence[Box] | None = None,
) -> list[Hand]:
    """`Reconstructor` with the shipped weights and the detector, loaded at the first call and kept."""
    return _shipped()(image, focal, boxes)
