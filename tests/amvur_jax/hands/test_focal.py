"""Focal lengths: what a user says, what EXIF says, and what they are in pixels."""

import math

import numpy as np
import PIL.Image
import pytest

from amvur_jax.errors import UserError
from amvur_jax.hands.focal import ASSUMED, Focal, exif_focal, intrinsics, parse_focal


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("1500", (1500, "px")),
        (1500.5, (1500.5, "px")),
        ("26mm", (26, "mm")),
        (" 800 PX", (800, "px")),
    ],
)
def test_pixels_and_millimetres_are_told(text, want):
    assert parse_focal(text) == want


@pytest.mark.parametrize("text", ["0", "-5", "26cm", "", "nan", "inf", "0mm", "mm"])
def test_what_is_no_focal_length_is_refused(text):
    with pytest.raises(UserError, match=r"focal=.*26mm"):
        parse_focal(text)


def test_equivalents_go_by_the_diagonal():
    # a 43.27 mm lens on 36 x 24 mm film sees 53.13 degrees along the diagonal: atan(1/2) each way
    f = Focal(math.hypot(36, 24), "mm").px((4000, 3000))
    assert 2 * math.degrees(math.atan(2500 / f)) == pytest.approx(53.13, abs=0.005)
    K = intrinsics(Focal(700, "px"), (640, 480))
    np.testing.assert_array_equal(K, [[700, 0, 320], [0, 700, 240], [0, 0, 1]])
    assert ASSUMED == (28, "mm")


def test_exif_is_read_and_says_nothing_where_it_has_none(tmp_path):
    picture, exif = PIL.Image.new("RGB", (40, 30)), PIL.Image.Exif()
    picture.save(tmp_path / "plain.jpg")
    exif.get_ifd(0x8769)[0xA405] = 26
    picture.save(tmp_path / "phone.jpg", exif=exif)
    exif.get_ifd(0x8769)[0xA405] = 0  # unknown, by the standard
    picture.save(tmp_path / "zero.jpg", exif=exif)
    (tmp_path / "none.jpg").write_bytes(b"no picture")
    assert exif_focal(tmp_path / "phone.jpg") == (26, "mm")
    for name in ("plain", "zero", "none", "missing"):
        assert exif_focal(tmp_path / f"{name}.jpg") is None
