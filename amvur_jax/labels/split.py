"""Training and evaluation, parted by sequence and never by frame."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from amvur_jax.data.readers.hands_csv import LabelledHand

GAP = 0.1  # of a sequence that both have a part of: what lies between them


def split_hands(hands: Sequence[LabelledHand], evaluation: float) -> tuple[list[LabelledHand], str]:
    """Give a split to the hands of sequences that have none.

    Where there are enough sequences, whole ones are for evaluation; else the end of each is, and a gap before
    it is left out, so that no two neighbours are on both sides.

    Args:
      hands: of all sequences.
      evaluation: the share that is wanted, from 0 to 0.5.

    Returns:
      the hands in their order, and a sentence that says how they were parted, "" where all had a split.
    """
    new: dict[str, list[LabelledHand]] = {}
    for hand in hands:
        if not hand.split:
            new.setdefault(hand.sequence, []).append(hand)
    if not new:
        return list(hands), ""
    if not evaluation:
        return [
            hand._replace(split=hand.split or "train") for hand in hands
        ], "all are for training"
    counts = {name: sum(hand.keep for hand in part) for name, part in new.items()}
    counts = {name: count for name, count in counts.items() if count}
    if len(counts) >= math.ceil(1 / evaluation):
        held = _chosen(counts, evaluation)
        parted = [
            hand._replace(split=hand.split or ("evaluation" if hand.sequence in held else "train"))
            for hand in hands
        ]
        return parted, f"whole sequences are for evaluation: {', '.join(sorted(held))}"
    limits = {name: _limits(part, evaluation) for name, part in new.items()}
    parted = [hand if hand.split else _parted(hand, *limits[hand.sequence]) for hand in hands]
    few = "one sequence" if len(counts) == 1 else f"{len(counts)} sequences"
    return parted, (
        f"of {few}, too few to hold whole ones back, the end is for evaluation, and a gap of {GAP:.0%} "
        "before it is left out; film at different times and places for figures that say more"
    )


def _chosen(counts: Mapping[str, int], evaluation: float) -> set[str]:
    """Names whose counts add up to about the share, in an order that follows from the names alone."""
    goal, held, chosen = evaluation * sum(counts.values()), 0, set()
    for name in sorted(counts, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if abs(held + counts[name] - goal) < abs(held - goal):
            held += counts[name]
            chosen.add(name)
    return chosen


def _limits(hands: Sequence[LabelledHand], evaluation: float) -> tuple[float, float]:
    """Of a sequence: the frames at which the gap and the evaluation begin."""
    frames = sorted({hand.frame for hand in hands if hand.keep})
    held, gap = round(evaluation * len(frames)), max(1, round(GAP * len(frames)))
    if not held or held + gap >= len(frames):
        return math.inf, math.inf
    return frames[-held - gap], frames[-held]


def _parted(hand: LabelledHand, gap: float, evaluation: float) -> LabelledHand:
    if hand.frame >= evaluation:
        return hand._replace(split="evaluation")
    if hand.frame >= gap and hand.keep:
        return hand._replace(split="train", keep=False, reason="gap")
    return hand._replace(split="train")
