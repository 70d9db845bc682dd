"""hands.csv: what is written is read, and what a person spoilt is named with its line."""

import csv

import numpy as np
import pytest
from labels import labelled_hand

from amvur_jax.data.readers.hands_csv import COLUMNS, read_hands, write_hands
from amvur_jax.errors import UserError

RNG = np.random.default_rng(0)


def labelled(number=0, **changes):
    """A hand of a frame of that number."""
    joints, confidence = RNG.uniform(5, 85, (21, 2)).round(2), RNG.uniform(0.1, 1, 21).round(3)
    of_frame = {"file": f"clip/{number:06d}.jpg", "sequence": "clip.mp4", "frame": number}
    return labelled_hand(joints, confidence, **of_frame | changes)


HANDS = [
    labelled(0),
    labelled(5, side="left", hand=1),
    labelled(10, keep=False, reason="off", sequence='a "strange", name'),
]


@pytest.fixture
def path(tmp_path):
    write_hands(tmp_path / "hands.csv", HANDS)
    return tmp_path / "hands.csv"


def changed(path, line, **fields):
    """The file with other fields in a line, the first one being 1."""
    lines = list(csv.reader(path.read_text().splitlines()))
    for name, value in fields.items():
        lines[line - 1][COLUMNS.index(name)] = value
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(lines)


def test_what_is_written_is_read(path):
    found = read_hands(path)
    assert len(found) == 3
    for ours, theirs in zip(found, HANDS):
        assert ours[:10] == theirs[:10]
        np.testing.assert_array_equal(ours.joints, theirs.joints)
        np.testing.assert_array_equal(ours.confidence, theirs.confidence)


def test_a_spreadsheets_marks_and_order_are_no_fault(path):
    head, *lines = path.read_text().splitlines()
    path.write_text("\ufeff" + "\r\n".join([head, *reversed(lines), "," * (len(COLUMNS) - 1)]))
    assert [hand.frame for hand in read_hands(path)] == [0, 5, 10]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"wrist_x": "130"}, r"wrist: \(130, .* is off the picture of 120 x 90"),
        ({"pinky4_y": "-1"}, "pinky4: .* off the picture"),
        ({"thumb1_x": "nan"}, "thumb1_x: expected a number"),
        ({"thumb1_y": ""}, "thumb1_y: expected a number"),
        ({"index1_confidence": "1.5"}, "index1_confidence: 1.5"),
        ({"keep": "yes"}, "keep: expected 0 or 1"),
        ({"side": "Right hand"}, "side: expected right or left"),
        ({"split": "test"}, "split: expected train or evaluation"),
        ({"file": "../x.jpg"}, "file: .* leaves the folder"),
        ({"file": "/etc/x.jpg"}, "file: .* leaves the folder"),
        ({"frame": "1.5"}, "frame: expected a whole number"),
        ({"width": "0"}, "width: expected a whole number from 1"),
        ({"row": "1"}, "row: 1 is in line 2 too"),
    ],
)
def test_a_wrong_field_is_named_with_file_and_line(path, fields, message):
    changed(path, 3, **fields)
    with pytest.raises(UserError, match=rf"hands\.csv: line 3: {message}"):
        read_hands(path)


def test_a_joint_without_confidence_may_lie_anywhere(path):
    changed(path, 2, wrist_x="-40", wrist_confidence="0")
    assert read_hands(path)[0].joints[0, 0] == -40


@pytest.mark.parametrize("line", [2, 3, 4])
def test_a_line_that_is_gone_is_named(path, line):
    lines = path.read_text().splitlines()
    del lines[line - 1]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=rf"hands\.csv: line {line}: row {line - 1} is missing"):
        read_hands(path, least=3)


def test_a_line_with_a_field_too_few_is_named(path):
    lines = path.read_text().splitlines()
    lines[2] = lines[2].rpartition(",")[0]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"hands\.csv: line 3: has 74 fields, expected 75"):
        read_hands(path)


@pytest.mark.parametrize("data", [b"", b"a;b\n", b"\xff\xfe\x00", b'"'])
def test_what_is_no_such_file_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"hands\.csv"):
        read_hands(path)
