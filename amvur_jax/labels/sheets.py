"""Contact sheets: a look at what was kept, and at what was dropped and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from amvur_jax.data.crop import crop_box, crop_image, crop_matrix
from amvur_jax.data.readers.hands_csv import LabelledHand
from amvur_jax.files.image import read_image
from amvur_jax.pictures.draw import skeleton

PANEL, COLUMNS, MOST, _TEXT = 144, 10, 100, 16
_CLOSER = 0.7  # of the published crop


def contact_sheet(root: Path, hands: Sequence[LabelledHand]) -> np.ndarray:
    """Up to MOST of the hands, evenly spread, each with its joints and what its line says.

    Args:
      root: the folder of their pictures.
      hands: at least one.

    Returns:
      (H, W, 3) uint8.

    Raises:
      UserError: a picture is missing or damaged.
    """
    chosen = np.unique(np.linspace(0, len(hands) - 1, min(MOST, len(hands))).astype(int))
    panels = [_panel(root, hands[i]) for i in chosen]
    rows = -(-len(panels) // COLUMNS)
    sheet = np.full((rows * (PANEL + _TEXT), COLUMNS * PANEL, 3), 255, np.uint8)
    for i, panel in enumerate(panels):
        y, x = (PANEL + _TEXT) * (i // COLUMNS), PANEL * (i % COLUMNS)
        sheet[y : y + PANEL + _TEXT, x : x + PANEL] = panel
    return sheet


def _panel(root: Path, hand: LabelledHand) -> np.ndarray:
    centre, side, _ = crop_box(hand.joints, hand.size)
    A = crop_matrix(centre, _CLOSER * side, PANEL)
    crop = crop_image(read_image(root / hand.file), A, PANEL)
    joints = hand.joints @ A[:2, :2].T + A[:2, 2]
    panel = np.full((PANEL + _TEXT, PANEL, 3), 255, np.uint8)
    panel[:PANEL] = skeleton(crop, joints / PANEL)
    words = (
        f"{hand.frame} {hand.side[0]} {hand.score:.2f} {hand.split if hand.keep else hand.reason}"
    )
    place, font = (2, PANEL + _TEXT - 4), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(panel, words, place, font, 0.37, (40, 40, 40), 1, cv2.LINE_AA)
    return panel
