"""Pictures of predictions: mesh over the image, skeleton, uncertainty as heat, regressed texture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import jax.numpy as jnp
import numpy as np

import render
from amvur_jax.models.colors import denormalize
from mano_jax.topology import BONES

if TYPE_CHECKING:
    import jax
    from numpy.typing import ArrayLike

    from amvur_jax.inference import Predictor
    from amvur_jax.models.outputs import Outputs, Texture

SKIN = (0.72, 0.76, 0.92)  # of a mesh without colours of its own
PANEL = 224  # side of one picture, px
LIGHT = render.PointLight(ambient=0.45, diffuse=0.55)
FINGER_COLORS = ((230, 80, 60), (240, 170, 40), (90, 190, 80), (50, 150, 230), (160, 90, 220))


def enlarge(image: np.ndarray, size: int = PANEL) -> np.ndarray:
    """(S,S,3) uint8 -> (size,size,3) uint8."""
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)


def mesh(
    vertices_cam: ArrayLike,
    faces: jax.Array,
    K: ArrayLike,
    crop_size: int,
    colors: ArrayLike | None = None,
    image: np.ndarray | None = None,
    size: int = PANEL,
    light: render.PointLight | None = LIGHT,
) -> np.ndarray:
    """Render a mesh over a crop, or over white.

    Args:
      vertices_cam: (V,3) m.
      faces: (F,3).
      K: (3,3), px of a crop of side crop_size.
      colors: (V,3) in [0,1], or None for one colour.
      image: (crop_size,crop_size,3) uint8, or None.
      size: side of the picture, px.
      light: render.PointLight, or None for the colours as they are.
    Returns:
      (size,size,3) uint8.
    """
    if colors is None:
        colors = np.broadcast_to(np.array(SKIN), np.shape(vertices_cam))
    scale = np.diag([size / crop_size, size / crop_size, 1.0])
    drawn, mask, _ = render.render_mesh(
        jnp.asarray(vertices_cam, jnp.float32),
        faces,
        jnp.asarray(colors, jnp.float32),
        jnp.asarray(scale @ np.asarray(K), jnp.float32),
        (size, size),
        light=light,
    )
    pixels = np.asarray(np.clip(drawn, 0, 1) * 255).astype(np.uint8)
    if image is None:
        return pixels
    return np.where(np.asarray(mask)[..., None], pixels, enlarge(image, size))


def skeleton(picture: np.ndarray, joints_2d: np.ndarray) -> np.ndarray:
    """Draw 21 joints (21,2), in [0,1] of the picture, and their bones onto a copy of it."""
    picture = picture.copy()
    points = np.clip(np.nan_to_num(joints_2d) * len(picture), -4000, 4000)
    points = np.round(points * 16).astype(int)
    for start, end in BONES:
        color = FINGER_COLORS[(end - 1) // 4]
        ends = tuple(points[start]), tuple(points[end])
        cv2.line(picture, *ends, color, 2, cv2.LINE_AA, shift=4)
    for point in points:
        cv2.circle(picture, tuple(point), 40, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    return picture


def extent(values: np.ndarray) -> tuple[float, float]:
    """What `heat` shows as blue and as red: the 2nd percentile of values and the 98th."""
    low, high = np.percentile(values, [2, 98])
    return float(low), float(high)


def heat(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(V,) -> (V,3) colours from blue (low) to red (high)."""
    level = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    bgr = cv2.applyColorMap((level * 255).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0]
    return bgr[:, ::-1] / 255.0


def sigma_mm(log_var: ArrayLike, temperature: float | None) -> np.ndarray:
    """(...,V,3) log-variances, m² -> (...,V) mm, a coordinate's standard deviation; None: no temperature."""
    variance = np.exp(np.asarray(log_var, np.float64)).mean(-1)
    return 1000 * np.sqrt((temperature or 1.0) * variance)


def texture_colors(texture: Texture, i: int) -> np.ndarray:
    """RGB (V,3) in [0,1] of sample i; where a vertex is invisible, the median of those that are not."""
    colors = np.array(denormalize(texture.vertex_rgb[i]))
    visible = np.asarray(texture.visible[i]) > 0
    if visible.any():
        colors[~visible] = np.median(colors[visible], 0)
    return colors


def panels(
    predictor: Predictor,
    outputs: Outputs,
    images: Sequence[np.ndarray] | np.ndarray,
    i: int,
    background: np.ndarray | None = None,
    scale: tuple[float, float] | None = None,
) -> dict[str, np.ndarray]:
    """The four pictures of sample i: mesh over the crop, 2D joints, uncertainty, texture.

    background: the same crop at a higher resolution, if there is one. scale: the sigmas, mm, that are blue
    and red, the same for all samples that are to be compared; None: this one's `extent`.
    """
    background = images[i] if background is None else background
    view = predictor.view(outputs)
    vertices, K = np.asarray(view.vertices[i]), np.asarray(view.K[i])
    faces, size = predictor.hand.faces, predictor.size
    spread = sigma_mm(predictor.sigma(outputs).vertices[i], predictor.temperature)
    low, high = scale or extent(spread)
    colors = texture_colors(outputs.texture, i)  # type: ignore[arg-type]  # it was asked for
    return {
        "prediction": mesh(vertices, faces, K, size, image=background),
        "2D joints": skeleton(enlarge(background), np.asarray(predictor.joints_2d(outputs)[i])),
        f"sigma, {low:.0f} to {high:.0f} mm": mesh(
            vertices, faces, K, size, heat(spread, low, high)
        ),
        "texture": mesh(vertices, faces, K, size, colors, light=None),
    }


def sheet(rows: Sequence[Mapping[str, np.ndarray]], margin: int = 6) -> np.ndarray:
    """A contact sheet: rows of {title: (S,S,3) uint8}, the titles above, white between."""
    height, width = next(iter(rows[0].values())).shape[:2]
    columns = len(rows[0])
    page = np.full(
        (28 + len(rows) * (height + margin), margin + columns * (width + margin), 3), 255, np.uint8
    )
    for column, title in enumerate(rows[0]):
        x = margin + column * (width + margin)
        cv2.putText(
            page, title, (x + 2, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA
        )
        for row, pictures in enumerate(rows):
            y = 28 + row * (height + margin)
            page[y : y + height, x : x + width] = pictures[title]
    return page
