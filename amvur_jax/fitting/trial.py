"""Trials of the fit: a hand that is known, random starts, how near each comes, and pictures of it."""

from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

import render
from amvur_jax.data.synthetic.skin import TONES, skin_map, vertex_colors
from amvur_jax.fitting.fit import NUM_BETAS, NUM_POSE, Parameters, Track, fitted_vertices
from amvur_jax.fitting.rig import LIGHT, Observation, Rig, make_rig, observe
from amvur_jax.pictures import draw
from mano_jax import HandModel
from mano_jax.limits import sample_pose
from mano_jax.rotations import rotation_matrix, rotation_vector

_MARGIN = 28  # columns that a panel leaves out on either side, px
CONVERGED_MM = 5.0  # mean distance of the vertices to the target's
START_DEGREES, START_SHIFT, START_FOCAL = 30.0, 0.03, 0.05


class Trial(NamedTuple):
    """A target and starts.

    Attributes:
      hand: the model.
      colors: (V, 3) of the hand's texture, RGB in [0, 1].
      rig: the cameras.
      rotation: (3, 3) of the target.
      vertices: (V, 3) of the target in the world, m.
      observation: of the target.
      starts: Parameters of B hands.
      degrees: (B,) angle between the starts' rotation and the target's.
    """

    hand: HandModel
    colors: jax.Array
    rig: Rig
    rotation: jax.Array
    vertices: jax.Array
    observation: Observation
    starts: Parameters[jax.Array]
    degrees: np.ndarray


def make_trial(hand: HandModel, count: int, seed: int = 0, size: int = 64) -> Trial:
    """Draws a target and starts about it.

    The target is any pose within the limits, not only one that NUM_POSE components reach. A start is
    turned away from it about a random axis by up to START_DEGREES and shifted by up to START_SHIFT
    along each axis, its focal length is off by up to START_FOCAL, its pose and shape are the mean.

    Args:
      hand: a mano_jax.HandModel.
      count: number of starts.
      seed: of everything.
      size: side of the square pictures, px.

    Returns:
      the Trial.
    """
    rng = np.random.default_rng(seed)
    turn = _axes(rng, 1) * np.deg2rad(rng.uniform(0, 30))
    shift = rng.uniform(-0.015, 0.015, 3)
    betas = np.clip(rng.normal(size=NUM_BETAS), -2, 2)
    pose = sample_pose(rng, 1)[0]
    away = np.deg2rad(START_DEGREES * rng.uniform(0.3, 1.0, count))
    rotation = rotation_matrix(turn[0])
    turns = rotation_matrix(_axes(rng, count) * away[:, None]) @ rotation
    drawn: Parameters[jax.Array | np.ndarray] = Parameters(
        rotation=rotation_vector(turns),
        translation=shift + rng.uniform(-START_SHIFT, START_SHIFT, (count, 3)),
        focal=rng.uniform(-START_FOCAL, START_FOCAL, count),
        pose=np.zeros((count, NUM_POSE)),
        betas=np.zeros((count, NUM_BETAS)),
    )
    starts = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), drawn)
    posed = hand.with_shape(jnp.asarray(betas, jnp.float32)).with_pose(jnp.asarray(pose))
    vertices = posed.moved(rotation, jnp.asarray(shift, jnp.float32)).vertices
    colors = jnp.asarray(vertex_colors(skin_map(hand), TONES[1]))
    rig = make_rig(size)
    seen = observe(rig, vertices, hand.faces, colors, size)
    return Trial(hand, colors, rig, rotation, vertices, seen, starts, np.rad2deg(away))


def vertex_error_mm(trial: Trial, parameters: Parameters[jax.Array]) -> np.ndarray:
    """Mean distance (...) of the vertices of Parameters to the target's, mm."""
    vertices = np.asarray(fitted_vertices(trial.hand, parameters))
    return 1000 * np.linalg.norm(vertices - np.asarray(trial.vertices), axis=-1).mean(axis=-1)


def silhouette_iou(trial: Trial, parameters: Parameters[jax.Array]) -> np.ndarray:
    """Intersection over union (B,) of the hard silhouettes with the target's, the mean over cameras.

    Args:
      trial: the Trial.
      parameters: Parameters of B hands.
    """
    _, height, width = trial.observation.masks.shape
    vertices_cam, K = trial.rig.seen(fitted_vertices(trial.hand, parameters), parameters.focal)
    mask = np.asarray(
        render.rasterize(vertices_cam, trial.hand.faces, K, (height, width)).mask[..., 0]
    )
    target = np.asarray(trial.observation.masks) > 0.5
    both, either = (mask & target).sum(axis=(-1, -2)), (mask | target).sum(axis=(-1, -2))
    return (both / either).mean(axis=-1)


def table(trial: Trial, track: Track) -> tuple[str, np.ndarray]:
    """What came of each start, one line a start, as text; and which converged, (B,) bool."""
    first, last = (at(track, i) for i in (0, -1))
    before, after = vertex_error_mm(trial, first), vertex_error_mm(trial, last)
    overlap = silhouette_iou(trial, first), silhouette_iou(trial, last)
    converged = after < CONVERGED_MM
    lines = ["start  angle, deg  error before, mm  after, mm  IoU before   after  converged"]
    for i, row in enumerate(zip(trial.degrees, before, after, *overlap, converged)):
        *numbers, good = row
        texts = [f"{n:{w}.{d}f}" for n, w, d in zip(numbers, (12, 18, 11, 12, 8), (1, 1, 2, 3, 3))]
        lines.append(f"{i:5d}{''.join(texts)}{'yes' if good else 'no':>11s}")
    lines.append(
        f"{converged.sum()} of {len(converged)} converged: mean vertex error < {CONVERGED_MM:g} mm"
    )
    return "\n".join(lines), converged


def at(track: Track, step: int | np.integer) -> Parameters[jax.Array]:
    """Parameters (B, ...) of a Track at a step."""
    return jax.tree.map(lambda x: jnp.asarray(x[step]), track.parameters)


def _axes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random unit vectors (count, 3) float32."""
    axes = rng.normal(size=(count, 3))
    return (axes / np.linalg.norm(axes, axis=1, keepdims=True)).astype(np.float32)


def picture(trial: Trial, track: Track, shown: int | None = None) -> np.ndarray:
    """What a fit looks like before, during and after, and the errors of all starts, step by step.

    Args:
      trial: the Trial.
      track: the Track of its starts.
      shown: the start to draw, or None for the one with the median final error.

    Returns:
      (H, W, 3) uint8 RGB.
    """
    steps = len(track.loss)
    errors = np.stack([vertex_error_mm(trial, at(track, i)) for i in range(steps + 1)])
    if shown is None:
        shown = int(np.argsort(errors[-1])[errors.shape[1] // 2])
    columns = {"target": (trial.vertices, 0.0)}
    for step in sorted({0, *(np.array([0.12, 0.25, 0.45]) * steps).astype(int), steps}):
        now = jax.tree.map(lambda x: x[shown], at(track, step))
        titles = {0: "start", steps: f"step {steps}: {errors[-1, shown]:.1f} mm"}
        title = titles.get(step, f"step {step}")
        columns[title] = (fitted_vertices(trial.hand, now), now.focal)
    rows: list[dict[str, np.ndarray]] = [{}, {}, {}]
    for title, (vertices, focal) in columns.items():
        rows[0][title] = _textured(trial, vertices, focal)
        for camera in (1, 2):
            rows[camera][title] = _outlines(trial, vertices, focal, camera)
    page = draw.sheet(rows)
    return np.concatenate([page, _curves(errors, shown, page.shape[1])])


def _textured(trial: Trial, vertices: jax.Array, focal: ArrayLike) -> np.ndarray:
    """The first camera's picture (PANEL, width, 3) uint8, under the target's outline."""
    drawn, mask = _drawn(trial, vertices, focal, 0)
    return _with_target_outline(trial, np.where(mask[..., None], drawn, 255), 0)


def _outlines(trial: Trial, vertices: jax.Array, focal: ArrayLike, camera: int) -> np.ndarray:
    """A silhouette (PANEL, width, 3) uint8, under the target's outline."""
    _, mask = _drawn(trial, vertices, focal, camera)
    return _with_target_outline(trial, np.where(mask[..., None], (150, 180, 215), 255), camera)


def _with_target_outline(trial: Trial, image: np.ndarray, camera: int) -> np.ndarray:
    _, target = _drawn(trial, trial.vertices, jnp.zeros(()), camera)
    contours, _ = cv2.findContours(
        target.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    image = np.ascontiguousarray(image, np.uint8)
    cv2.drawContours(image, contours, -1, (200, 40, 60), 1, cv2.LINE_AA)
    return image[:, _MARGIN:-_MARGIN]


def _drawn(
    trial: Trial, vertices: jax.Array, focal: ArrayLike, camera: int
) -> tuple[np.ndarray, np.ndarray]:
    vertices_cam, K = trial.rig.seen(vertices, focal)
    scale = draw.PANEL / trial.observation.masks.shape[-1]
    K = jnp.diag(jnp.array([scale, scale, 1.0])) @ K[0]
    image, mask, _ = render.render_mesh(
        vertices_cam[camera], trial.hand.faces, trial.colors, K, (draw.PANEL,) * 2, LIGHT
    )
    return np.asarray(jnp.clip(image, 0, 1) * 255).astype(np.uint8), np.asarray(mask)


def _curves(errors: np.ndarray, shown: int, width: int, height: int = 190) -> np.ndarray:
    """Errors (steps + 1, B) in mm on a logarithmic scale, as a picture (height, width, 3) uint8."""
    page = np.full((height, width, 3), 255, np.uint8)
    left, right, top, bottom = 60, 16, 30, 30
    low, high = np.log(max(errors.min() * 0.8, 0.1)), np.log(errors.max() * 1.1)
    x = np.linspace(left, width - right, len(errors))

    def y(mm: float | np.ndarray) -> Any:
        return bottom_line - (np.log(mm) - low) / (high - low) * (bottom_line - top)

    bottom_line = height - bottom
    _text(page, "mean vertex error of every start, mm (the one above in red)", (left, 18))
    for mm in (1, 2, 5, 10, 20, 50):
        if low <= np.log(mm) <= high:
            at_y = round(float(y(mm)))
            strong = 150 if mm == CONVERGED_MM else 225
            cv2.line(page, (left, at_y), (width - right, at_y), (strong,) * 3, 1)
            _text(page, str(mm), (left - 32, at_y + 5))
    for step in range(0, len(errors), max((len(errors) - 1) // 8, 1)):
        _text(page, str(step), (round(x[step]) - 8, height - 10))
    for i in [*(i for i in range(errors.shape[1]) if i != shown), shown]:
        color, thickness = ((200, 40, 60), 2) if i == shown else ((110, 140, 180), 1)
        points = np.stack([x, y(errors[:, i])], axis=-1)
        points = np.round(points * 16).astype(np.int32)
        cv2.polylines(page, [points], False, color, thickness, cv2.LINE_AA, shift=4)
    return page


def _text(page: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
