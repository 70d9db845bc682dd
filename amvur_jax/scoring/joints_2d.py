"""Scores of 2D joints against 2D labels, for pictures that have no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

THRESHOLDS = (0.1, 0.2)  # of the box: PCK


def score_2d(
    joints: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray,
    unit: np.ndarray,
    tracks: Sequence[tuple[str, int, int]],
) -> dict[str, float | int | None]:
    """Means over joints, each by its confidence.

    Args:
      joints: (N, 21, 2) predicted, px of the pictures.
      labels: (N, 21, 2) px.
      confidence: (N, 21) from 0 to 1; a box is that of the joints that have some, its length its longer side.
      unit: (N,) px of a 224 crop of the published extent that one px of the picture is.
      tracks: of each hand its sequence, number and frame.

    Returns:
      "hands"; "joints_2d_px", px of a 224 crop; "error_of_box"; "pck_0.1", "pck_0.2": the share of joints
      nearer than that share of the box; "jitter_of_box": the mean length of a joint's second difference over
      time, of the box's length, in "triples" of a hand's labels that follow each other in equal steps, and
      that of the labels themselves, "label_jitter_of_box"; None without one.
    """
    seen = confidence > 0
    low = np.where(seen[..., None], labels, np.inf).min(1)
    high = np.where(seen[..., None], labels, -np.inf).max(1)
    length = np.maximum((high - low).max(-1), 1.0)
    off = np.linalg.norm(joints - labels, axis=-1)
    share = off / length[:, None]

    def mean(values: np.ndarray) -> float:
        return float(np.average(values, weights=confidence))

    found = triples(tracks)
    bent = [_bend(points, found, seen, length) for points in (joints, labels)]
    return {
        "hands": len(joints),
        "joints_2d_px": mean(off * unit[:, None]),
        "error_of_box": mean(share),
        **{f"pck_{limit}": mean(share < limit) for limit in THRESHOLDS},
        "jitter_of_box": bent[0],
        "label_jitter_of_box": bent[1],
        "triples": len(found),
    }


def triples(tracks: Sequence[tuple[str, int, int]]) -> np.ndarray:
    """(T, 3) places of three labels of one hand that follow each other in equal steps of frames."""
    hands: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for place, (sequence, number, frame) in enumerate(tracks):
        hands.setdefault((sequence, number), []).append((frame, place))
    found = []
    for hand in hands.values():
        hand.sort()
        for (a, i), (b, j), (c, k) in zip(hand, hand[1:], hand[2:]):
            if b - a == c - b > 0:
                found.append((i, j, k))
    return np.array(found, np.int64).reshape(-1, 3)


def _bend(
    points: np.ndarray, found: np.ndarray, seen: np.ndarray, length: np.ndarray
) -> float | None:
    before, here, after = (points[found[:, i]] for i in range(3))
    bend = np.linalg.norm(before - 2 * here + after, axis=-1) / length[found].mean(1)[:, None]
    there = seen[found].all(1)
    return float(bend[there].mean()) if there.any() else None


def text_2d(scores: Mapping[str, float | int | None]) -> str:
    """scores.txt of such a set: `key: value` lines."""
    lines = ["# 2D labels alone: no score in 3D"]
    lines += [
        f"{key}: {value:g}" if value is not None else f"{key}: not measured"
        for key, value in scores.items()
    ]
    return "\n".join(lines) + "\n"
