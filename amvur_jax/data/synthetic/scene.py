"""Made-up sequences: a hand that moves before a camera, things near it, and light.

A sequence is drawn from one random generator and does not depend on any other sequence.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax.data.synthetic.skin import sample_tone
from amvur_jax.data.synthetic.solids import KINDS, Solid, make_solid
from mano_jax import HandModel
from mano_jax.limits import sample_pose
from mano_jax.rotations import rotation_matrix, rotation_vector

IMAGE_SIZE = (480, 640)
MAX_FRAMES = 32
NUM_SOLIDS = 3
FRAMES_PER_KEY = 7
# The first joints of the four fingers and the wrist: their mean is the middle of the palm.
_PALM = (0, 1, 4, 7, 10)
_MIDDLE_KNUCKLE = 4


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """How hard the pictures are.

    Attributes:
      wide: all rotations of the hand, rather than its palm within `cone` of the camera.
      cone, in_plane: largest tilt away from the camera and turn in the image, radians.
      near, far: depth of the hand, m.
      margin: share of the image's half side within which the middle of the hand stays.
      edge: share of the sequences in which it goes to the border, so that the hand leaves.
      held, front: share of the sequences with a thing in the hand, and before the hand.
      clutter: shapes drawn over the background.
      noise: of the pixels, of 255.
      slow: how many times as long the fingers take from one key to the next as the hand.
    """

    wide: bool
    cone: float
    in_plane: float
    near: float
    far: float
    margin: float
    edge: float
    held: float
    front: float
    clutter: int
    noise: float
    slow: int = 1


DIFFICULTIES = {
    "easy": Difficulty(
        wide=False,
        cone=np.deg2rad(30),
        in_plane=np.deg2rad(60),
        near=0.5,
        far=0.7,
        margin=0.35,
        edge=0.06,
        held=0.12,
        front=0.12,
        clutter=0,
        noise=0.5,
    ),
    "wide": Difficulty(
        wide=True,
        cone=np.pi,
        in_plane=np.pi,
        near=0.4,
        far=0.8,
        margin=0.6,
        edge=0.15,
        held=0.45,
        front=0.3,
        clutter=14,
        noise=2.0,
    ),
    "turning": Difficulty(
        wide=False,
        cone=np.deg2rad(75),
        in_plane=np.deg2rad(60),
        near=0.5,
        far=0.7,
        margin=0.35,
        edge=0.0,
        held=0.0,
        front=0.0,
        clutter=0,
        noise=0.5,
        slow=4,
    ),
}


@dataclasses.dataclass(frozen=True)
class ObjectTrack:
    """A solid and where it is in each of n frames, camera frame.

    Attributes:
      solid: the Solid.
      rotation: (n, 3, 3).
      translation: (n, 3) m.
      colors: (2, 3) sRGB of its pattern.
      pattern: (4,) weights of plain, stripes, checks, clouds.
      period: of its pattern, m.
    """

    solid: Solid
    rotation: np.ndarray
    translation: np.ndarray
    colors: np.ndarray
    pattern: np.ndarray
    period: float

    @property
    def vertices_cam(self) -> np.ndarray:
        """(n, V, 3) m."""
        return self.solid.vertices @ np.swapaxes(self.rotation, 1, 2) + self.translation[:, None]


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Everything that n frames of one sequence show. Camera frame OpenCV, metres.

    Attributes:
      K: (3, 3) px.
      betas: (10,).
      pose: (n, 16, 3) axis-angle; its first row is the rotation into the camera frame.
      trans: (n, 3), such that vertices_cam = hand(pose, betas) + trans.
      vertices_cam: (n, 778, 3).
      joints16_cam: (n, 16, 3) MANO's order.
      tone, sleeve_color: (3,) sRGB; sleeve: thickness, 0 for a bare arm.
      objects: NUM_SOLIDS ObjectTracks, the first is the labelled one.
      light: position (3,), ambient, diffuse, specular, and the light's colour (3,).
    """

    K: np.ndarray
    betas: np.ndarray
    pose: np.ndarray
    trans: np.ndarray
    vertices_cam: np.ndarray
    joints16_cam: np.ndarray
    tone: np.ndarray
    sleeve_color: np.ndarray
    sleeve: float
    objects: tuple[ObjectTrack, ...]
    light: tuple[np.ndarray, float, float, float, np.ndarray]

    def __len__(self) -> int:
        return len(self.pose)


def sample_sequence(
    rng: np.random.Generator,
    hand: HandModel,
    count: int,
    difficulty: Difficulty,
    longest: int = MAX_FRAMES,
    frames_per_key: int = FRAMES_PER_KEY,
) -> Sequence:
    """Draws a sequence.

    Args:
      rng: numpy Generator.
      hand: a mano_jax.HandModel.
      count: number of frames, at most `longest`, of which they are the first.
      difficulty: a Difficulty.
      longest: for how many frames there are keys, between which all is interpolated.
      frames_per_key: frames from one to the next.

    Returns:
      the Sequence.
    """
    K = _camera(rng)
    betas = np.clip(rng.normal(0.0, 0.9, 10), -2, 2).astype(np.float32)
    along = _blend(longest, frames_per_key)
    bending = _blend(longest, frames_per_key * difficulty.slow)
    poses = sample_pose(rng, bending.shape[1])[:, 1:]
    fingers = bending @ poses.reshape(-1, 45)
    rotation = _rotations(rng, along, difficulty)
    pose = np.zeros((longest, 16, 3), np.float32)
    pose[:, 1:] = fingers.reshape(-1, 15, 3)
    pose[:, 0] = rotation_vector(jnp.asarray(rotation, jnp.float32))
    vertices, joints = (np.asarray(a, np.float64) for a in _pose(hand, betas, pose))
    middle = _path(rng, along, K, difficulty)
    trans = middle - joints[:, _MIDDLE_KNUCKLE]
    # The nearest fingertip keeps clear of the camera.
    trans[:, 2] += np.maximum(0.0, 0.2 - (vertices[..., 2] + trans[:, None, 2]).min(axis=1))
    vertices, joints = vertices + trans[:, None], joints + trans[:, None]
    tone = sample_tone(rng)
    sleeved = rng.random() < 0.5
    objects = _objects(rng, joints, rotation, difficulty)
    ambient = rng.uniform(0.35, 0.6)
    light = (
        np.array([rng.uniform(-1, 1), rng.uniform(-1.2, 0.3), rng.uniform(-0.9, 0.2)]),
        ambient,
        rng.uniform(0.9, 1.25) - ambient,
        rng.uniform(0.0, 0.12),
        rng.normal(1.0, 0.025, 3),
    )
    sleeve_color = rng.uniform(0.05, 0.9, 3) * rng.uniform(0.4, 1.0) if sleeved else tone
    return Sequence(
        K=K,
        betas=betas,
        pose=pose[:count],
        trans=trans[:count],
        vertices_cam=vertices[:count],
        joints16_cam=joints[:count],
        tone=tone,
        sleeve_color=sleeve_color,
        sleeve=rng.uniform(0.06, 0.2) if sleeved else 0.0,
        objects=tuple(
            dataclasses.replace(o, rotation=o.rotation[:count], translation=o.translation[:count])
            for o in objects
        ),
        light=light,
    )


def sample_clutter(rng: np.random.Generator, depth: float) -> tuple[ObjectTrack, ...]:
    """Solids that lie about far behind the hand: NUM_SOLIDS ObjectTracks of one frame."""
    tracks = []
    for _ in range(NUM_SOLIDS):
        place = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.38, 0.38), 1.0]) * depth
        rotation = _random_rotations(rng, 1)
        tracks.append(_track(rng, rng.uniform(0.05, 0.14), rotation, place[None]))
    return tuple(tracks)


@jax.jit
def _pose(hand: HandModel, betas: jax.Array, pose: jax.Array) -> tuple[jax.Array, jax.Array]:
    posed = hand.with_shape(betas).with_pose(pose)
    return posed.vertices, posed.joints


def _camera(rng: np.random.Generator) -> np.ndarray:
    focal = rng.normal(614.0, 4.0)
    height, width = IMAGE_SIZE
    centre = [width / 2 + rng.normal(0, 6), height / 2 + rng.normal(0, 6)]
    return np.array(
        [[focal, 0, centre[0]], [0, focal * rng.normal(1, 0.002), centre[1]], [0, 0, 1]]
    )


def _blend(frames: int, frames_per_key: int) -> np.ndarray:
    """(frames, keys) weights of key frames: smooth, and within the keys' convex hull."""
    keys = -(-frames // frames_per_key) + 1
    time = np.arange(frames) / frames_per_key
    before = np.minimum(time.astype(int), keys - 2)
    step = time - before
    step = step * step * (3 - 2 * step)
    weights = np.zeros((frames, keys))
    weights[np.arange(frames), before] = 1 - step
    weights[np.arange(frames), before + 1] = step
    return weights


def _rotations(rng: np.random.Generator, along: np.ndarray, difficulty: Difficulty) -> np.ndarray:
    """(frames, 3, 3) rotation of the hand into the camera frame; along: (frames, keys) of `_blend`."""
    keys = along.shape[1]
    if difficulty.wide:
        key = [_random_rotations(rng, 1)[0]]
        for _ in range(keys - 1):
            turn = _unit(rng.normal(size=3)) * rng.uniform(0.1, 1.0)
            key.append(key[-1] @ np.asarray(rotation_matrix(jnp.asarray(turn))))
        mixed = np.tensordot(along, np.stack(key), axes=1)
        u, _, vt = np.linalg.svd(
            mixed
        )  # the nearest rotation: neighbours are under 60 degrees apart
        return u @ vt
    # The palm (-y) looks to the camera (-z), the fingers (-x) point up (-y).
    facing = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    angle = rng.uniform(0, 2 * np.pi, keys)
    tilt = difficulty.cone * np.sqrt(rng.random(keys))
    tilt = along @ np.stack([tilt * np.cos(angle), tilt * np.sin(angle), 0 * angle], axis=-1)
    turn = along @ rng.uniform(-difficulty.in_plane, difficulty.in_plane, keys)
    turn = np.stack([0 * turn, 0 * turn, turn], axis=-1)
    return np.asarray(rotation_matrix(jnp.asarray(turn))) @ (
        np.asarray(rotation_matrix(jnp.asarray(tilt))) @ facing
    )


def _path(
    rng: np.random.Generator, along: np.ndarray, K: np.ndarray, difficulty: Difficulty
) -> np.ndarray:
    """(frames, 3) where the middle knuckle goes."""
    keys = along.shape[1]
    height, width = IMAGE_SIZE
    half = np.array([width, height]) / 2
    home = rng.uniform(-1, 1, 2) * difficulty.margin
    depth = rng.uniform(difficulty.near, difficulty.far)
    if rng.random() < difficulty.edge:
        home = _unit(rng.normal(size=2)) * rng.uniform(0.8, 0.97)
    place = np.clip(home + rng.normal(0, 0.1, (keys, 2)), -0.97, 0.97) * half + half
    depths = np.clip(depth + rng.normal(0, 0.03, keys), difficulty.near, difficulty.far)
    rays = np.concatenate([place, np.ones((keys, 1))], axis=-1) @ np.linalg.inv(K).T
    return along @ (rays * depths[:, None])


def _objects(
    rng: np.random.Generator, joints: np.ndarray, rotation: np.ndarray, difficulty: Difficulty
) -> tuple[ObjectTrack, ...]:
    """The labelled thing in, before or behind the hand, and two more, often behind the camera."""
    palm = joints[:, _PALM].mean(axis=1)
    kind = rng.random()
    size = rng.uniform(0.02, 0.036)
    own = _random_rotations(rng, 1)[0]
    if kind < difficulty.held:
        # Carried along by the hand, before its palm (-y of the rest hand).
        reach = np.array([rng.uniform(-0.05, 0.0), -size - 0.02, rng.normal(0, 0.015)])
        first = _track(rng, size, rotation @ own, palm + rotation @ reach)
    elif kind < difficulty.held + difficulty.front:
        first = _beside(rng, 0.6 * size, own, palm, before=True)
    else:
        first = _beside(rng, 1.3 * size, own, palm, before=False)
    more = rng.random(2)
    second = _beside(rng, size, own.T, palm, before=False)
    third = _beside(rng, 0.5 * size, own.T, palm, before=True)
    return (
        first,
        _moved_away(second, more[0] > (0.7 if difficulty.wide else 0.3)),
        _moved_away(third, more[1] > (0.35 if difficulty.wide else 0.05)),
    )


def _beside(
    rng: np.random.Generator, size: float, own: np.ndarray, palm: np.ndarray, before: bool
) -> ObjectTrack:
    """A thing that follows the hand slowly, beside the line of sight to its palm."""
    angle = rng.uniform(0, 2 * np.pi)
    aside = (rng.uniform(0.02, 0.06) if before else rng.uniform(0.04, 0.13)) * np.array(
        [np.cos(angle), np.sin(angle)]
    )
    depth = -rng.uniform(0.09, 0.13) if before else rng.uniform(0.13, 0.25)
    still = palm.mean(axis=0)
    place = still + 0.7 * (palm - still) + np.append(aside, depth)
    return _track(rng, size, np.broadcast_to(own, (len(palm), 3, 3)), place)


def _track(
    rng: np.random.Generator, size: float, rotation: np.ndarray, place: np.ndarray
) -> ObjectTrack:
    kind = KINDS[rng.integers(len(KINDS))]
    half = size * (np.ones(3) if kind == "sphere" else rng.uniform(0.5, 1.4, 3))
    if kind == "cylinder":
        half = np.array([half[0], half[0], half[2] * 1.3])
    pattern = np.zeros(4)
    pattern[rng.integers(4)] = 1.0
    return ObjectTrack(
        solid=make_solid(kind, half),
        rotation=rotation,
        translation=place,
        colors=rng.uniform(0.05, 0.95, (2, 3)),
        pattern=pattern,
        period=size * rng.uniform(0.3, 0.9),
    )


def _moved_away(track: ObjectTrack, away: bool | np.bool_) -> ObjectTrack:
    """The track, or the same behind the camera, where nothing is drawn."""
    return dataclasses.replace(track, translation=track.translation - [0, 0, 9.0 * away])


def _random_rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3, 3), uniform."""
    w, x, y, z = _unit(rng.normal(size=(count, 4))).T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
        ],
        axis=-2,
    )


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)
