"""Numbers of hands, read again by another library."""

import json
import tracemalloc

import numpy as np
import pytest
from hands import SIZE, hand

from amvur_jax.errors import UserError
from amvur_jax.hands import numbers

HANDS = [hand("right", (0.1, 0, 0.5)), hand("left", (-0.1, 0, 0.7), seed=1)]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "hands.jsonl"
    path.write_bytes(b"".join(numbers.line(h, "a/b.jpg", i, SIZE) for i, h in enumerate(HANDS)))
    return path


def test_a_line_has_every_field_but_the_colours(lines):
    found = [json.loads(text) for text in lines.read_text().splitlines()]
    assert [entry["index"] for entry in found] == [0, 1]
    for entry, own in zip(found, HANDS):
        own_line = {"picture", "index", "image_size", "frame", "time_s", "track"}
        assert set(entry) == {*own_line, *own._fields} - {"colors"}
        # a photograph is its own only frame
        assert (entry["frame"], entry["time_s"], entry["track"]) == (0, 0.0, entry["index"])
        assert entry["picture"] == "a/b.jpg" and entry["image_size"] == list(SIZE)
        assert (entry["side"], entry["focal_source"]) == (own.side, "given")
        assert entry["landmarks_px"][0] == [None, None]
        for name in ("vertices_cam", "K", "finger_pose", "joints_sigma_mm", "score", "betas"):
            np.testing.assert_allclose(entry[name], getattr(own, name), atol=6e-7, err_msg=name)
    assert "-0.0," not in lines.read_text()


def test_the_arrays_are_the_lines(lines, tmp_path):
    assert numbers.write_arrays(lines, tmp_path / "hands.npz") == 2
    with np.load(tmp_path / "hands.npz", allow_pickle=False) as arrays:
        assert arrays["side"].tolist() == ["right", "left"]
        assert arrays["vertices_cam"].shape == (2, 778, 3)
        np.testing.assert_allclose(arrays["vertices_cam"][1], HANDS[1].vertices_cam, atol=6e-7)
        assert np.isnan(arrays["landmarks_px"]).all() and arrays["sigma_calibrated"].all()
    lines.write_bytes(b"")
    assert numbers.write_arrays(lines, tmp_path / "none.npz") == 0


def test_a_line_of_a_video_says_when_and_which(tmp_path):
    path = tmp_path / "hands.jsonl"
    times = [0.0, 1 / 3, 2]
    path.write_bytes(
        b"".join(numbers.line(HANDS[0], "a.mp4", 0, SIZE, i, t, 5) for i, t in enumerate(times))
    )
    assert numbers.write_arrays(path, tmp_path / "hands.npz") == 3
    with np.load(tmp_path / "hands.npz", allow_pickle=False) as arrays:
        assert arrays["frame"].tolist() == [0, 1, 2] and arrays["track"].tolist() == [5, 5, 5]
        np.testing.assert_allclose(arrays["time_s"], times, atol=1e-6)
        assert {arrays[name].dtype.kind for name in ("frame", "track", "index")} == {"i"}
        assert {len(array) for array in arrays.values()} == {3}


def test_the_memory_for_arrays_does_not_grow_with_the_hands(tmp_path):
    peaks = []
    for count in (50, 300):
        path = tmp_path / "hands.jsonl"
        path.write_bytes(numbers.line(HANDS[0], "a.jpg", 0, SIZE) * count)
        tracemalloc.start()
        numbers.write_arrays(path, tmp_path / "hands.npz")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 250 more hands of 3,500 numbers are 7 MB
    assert peaks[1] - peaks[0] < 1e6


def test_lines_of_other_fields_are_no_arrays(lines, tmp_path):
    whole = lines.read_bytes()
    for bad in (b'{"picture": "a"}', b"{}", whole.replace(b'"betas":[', b'"betas":[1,')[:-1]):
        lines.write_bytes(whole + bad + b"\n")
        with pytest.raises(UserError, match="hand 3 has other fields"):
            numbers.write_arrays(lines, tmp_path / "hands.npz")
        assert not (tmp_path / "hands.npz").exists()


def test_an_unfinished_last_line_is_none_and_a_damaged_one_is_named(lines):
    whole = lines.read_bytes()
    lines.write_bytes(whole[:-5])
    assert len(list(numbers.read_lines(lines))) == 1
    for bad in (b"[1]\n", b"{\n"):
        lines.write_bytes(bad + whole)
        with pytest.raises(UserError, match=r"hands\.jsonl: is damaged .*--overwrite"):
            list(numbers.read_lines(lines))
    with pytest.raises(UserError, match="cannot be read"):
        list(numbers.read_lines(lines.with_name("missing")))
