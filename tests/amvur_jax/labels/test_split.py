"""Training and evaluation by sequence: the laws that any parting keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amvur_jax.data.readers.hands_csv import LabelledHand
from amvur_jax.labels.split import GAP, split_hands

NOTHING = np.zeros((21, 2)), np.zeros(21)


def hand(sequence, frame, number=0, keep=True, split=""):
    reason = "" if keep else "off"
    about = (f"{sequence}/{frame}", number, sequence, frame, (9, 9), split, "right", keep, reason)
    return LabelledHand(*about, 1.0, *NOTHING)


def sequences(lengths, step=5):
    return [hand(f"s{i}", step * n) for i, length in enumerate(lengths) for n in range(length)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.sampled_from([0.1, 0.2, 0.3, 0.5]))
def test_neighbours_are_never_on_both_sides(lengths, share):
    hands, _ = split_hands(sequences(lengths), share)
    for i, length in enumerate(lengths):
        mine = [h for h in hands if h.sequence == f"s{i}" and h.keep]
        held = [h.frame for h in mine if h.split == "evaluation"]
        learnt = [h.frame for h in mine if h.split == "train"]
        assert all(h.split for h in mine)
        if held and learnt:  # a gap, of at least one label and a tenth of the sequence
            assert min(held) - max(learnt) > 5 * max(1, round(GAP * length))


@given(st.lists(st.integers(20, 60), min_size=5, max_size=12))
def test_of_many_sequences_whole_ones_are_held_back(lengths):
    hands, how = split_hands(sequences(lengths), 0.2)
    assert all(hand.keep for hand in hands)
    sides = {
        name: {h.split for h in hands if h.sequence == name} for name in {h.sequence for h in hands}
    }
    assert all(len(splits) == 1 for splits in sides.values())
    held = sum(h.split == "evaluation" for h in hands)
    assert 0 < held < 0.5 * len(hands) and "whole sequences" in how
    assert all((name in how) == (sides[name] == {"evaluation"}) for name in sides)


@pytest.mark.parametrize("lengths", [[100], [60, 40]])
def test_of_few_sequences_the_end_of_each_is_held_back(lengths):
    hands, how = split_hands(sequences(lengths), 0.2)
    held = sum(h.split == "evaluation" for h in hands)
    assert held == 20 and "too few" in how
    assert {h.reason for h in hands if not h.keep} == {"gap"}
    assert sum(not h.keep for h in hands) == 10


def test_sequences_without_a_kept_hand_are_none():
    """One is left that has any: its end is held back, and something is in both splits."""
    none = [hand(f"n{i}", 0, keep=False) for i in range(9)]
    hands, _ = split_hands([*none, *sequences([50])], 0.2)
    assert {h.split for h in hands if h.keep} == {"train", "evaluation"}
    assert all(h.split for h in hands)


def test_hands_of_a_frame_are_on_one_side_dropped_ones_too():
    hands = [hand("s", n, k, keep=k < 2) for n in range(50) for k in range(3)]
    parted, _ = split_hands(hands, 0.2)
    for n in range(50):
        assert len({h.split for h in parted if h.frame == n}) == 1
    assert {h.reason for h in parted if h.hand == 2} == {"off"}


def test_what_has_a_split_keeps_it():
    before, _ = split_hands(sequences([50]), 0.2)
    again, how = split_hands(before, 0.5)
    assert again == before and not how
    more, _ = split_hands([*before, *(hand("new", n) for n in range(50))], 0.2)
    assert more[:50] == before and all(h.split for h in more)


def test_without_evaluation_all_are_for_training():
    hands, _ = split_hands(sequences([1, 9, 30]), 0.0)
    assert {h.split for h in hands} == {"train"} and all(h.keep for h in hands)
