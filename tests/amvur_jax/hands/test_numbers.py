"""Numbers of hands, read again by another library."""

import json

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
        assert set(entry) == {"picture", "index", "image_size", *own._fields} - {"colors"}
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
