"""Pictures as people have them: with trailers, of several kinds, cut short, or of a kind that is not read."""

import io
import resource
import zlib

import cv2
import numpy as np
import PIL.features
import PIL.Image
import pytest

from amvur_jax.errors import UserError
from amvur_jax.files.image import decode_image, read_image

SMOOTH = cv2.resize(
    np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8), (160, 120)
)
NOISE = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)


def encoded(suffix, pixels=SMOOTH, *options):
    done, data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert done
    return data.tobytes()


def with_thumbnail(data):
    """A JPEG with another, whole one in an APP1 segment, as cameras put it there."""
    small = encoded(".jpg", SMOOTH[::8, ::8])
    return data[:2] + b"\xff\xe1" + (2 + len(small)).to_bytes(2, "big") + small + data[2:]


FILES = {
    "png": encoded(".png", NOISE),
    "jpeg": encoded(".jpg"),
    "jpeg of noise": encoded(".jpg", NOISE, cv2.IMWRITE_JPEG_QUALITY, 100),
    "progressive": encoded(".jpg", SMOOTH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "with restarts": encoded(".jpg", NOISE, cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "with a thumbnail": with_thumbnail(encoded(".jpg")),
    "webp": encoded(".webp"),
}


@pytest.mark.parametrize(
    "trailer", [b"", b"\0" * 64, b"ftypmp42" * 5000, FILES["jpeg"], b"\xff\xd8"]
)
@pytest.mark.parametrize("name", FILES)
def test_what_stands_behind_the_end_is_left(name, trailer, tmp_path):
    data = FILES[name]
    plain = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    (tmp_path / "picture").write_bytes(data + trailer)
    np.testing.assert_array_equal(read_image(tmp_path / "picture"), plain)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_refused(name, share):
    data = FILES[name]
    with pytest.raises(UserError, match=r"cut\.jpg: is truncated"):
        decode_image(data[: int(share * len(data))], "cut.jpg")


def test_a_cut_file_is_refused_at_every_byte():
    data = FILES["with a thumbnail"]
    for length in range(len(data)):
        with pytest.raises(UserError, match="is truncated"):
            decode_image(data[:length], "cut.jpg")


@pytest.mark.skipif(
    not PIL.features.check("avif") and not cv2.haveImageWriter("a.avif"),
    reason="neither this Pillow (from 11.3 on) nor this OpenCV has AVIF",
)
def test_avif_is_read(tmp_path):
    path = tmp_path / "picture.avif"
    PIL.Image.fromarray(SMOOTH).save(path, quality=95)
    assert np.abs(read_image(path).astype(float) - SMOOTH).mean() < 4
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="is truncated"):
        read_image(path)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_is_named_with_what_to_do(brand):
    data = b"\0\0\0\x18ftyp" + brand + b"\0" * 500
    with pytest.raises(UserError, match=r"photo\.heic: is a HEIC picture.*convert it"):
        decode_image(data, "photo.heic")


@pytest.mark.parametrize("data", [b"", b"GIF", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"text"])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(UserError, match="is truncated or is no PNG, JPEG, WebP or AVIF"):
        decode_image(data, "thing")


@pytest.mark.parametrize("name", ["png", "jpg", "jpg with a thumbnail"])
def test_a_head_that_claims_too_much_is_refused_before_the_memory_is_asked_for(name):
    """The size stands where another library finds it, and is changed there."""
    size, claimed = (160).to_bytes(4, "big"), (60_000).to_bytes(4, "big")
    data = encoded(".png" if name == "png" else ".jpg")
    data = with_thumbnail(data) if "thumbnail" in name else data
    if name == "png":
        place = data.index(b"IHDR") + 4
        head = data[place - 4 : place] + 2 * claimed + data[place + 8 : place + 13]
        data = data[: place - 4] + head + zlib.crc32(head).to_bytes(4, "big") + data[place + 17 :]
    else:  # of the picture, behind the thumbnail's
        place = data.rindex((120).to_bytes(2, "big") + size[2:])
        data = data[:place] + 2 * claimed[2:] + data[place + 4 :]
    with pytest.raises(PIL.Image.DecompressionBombError):
        PIL.Image.open(io.BytesIO(data))
    with pytest.raises(UserError, match="x: claims to have 3,600 million pixels, 268 are read"):
        decode_image(data, "x")


def test_a_png_that_cannot_hold_what_it_claims_is_refused_at_once():
    """Nothing packs more than deflate's 1,032 to 1; what it can pack is read."""
    zeros = encoded(".png", np.zeros((3000, 3000, 3), np.uint8), cv2.IMWRITE_PNG_COMPRESSION, 9)
    assert 900 * len(zeros) < 3000 * 3000 * 3 and decode_image(zeros, "x").shape == (3000, 3000, 3)
    head = b"IHDR" + 2 * (12_000).to_bytes(4, "big") + encoded(".png")[24:29]
    data = encoded(".png")
    data = data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]
    assert PIL.Image.open(io.BytesIO(data)).size == (12_000, 12_000)
    with pytest.raises(UserError, match="x: is truncated"):
        decode_image(data, "x")


def test_a_png_without_a_head_is_refused():
    data = encoded(".png")
    with pytest.raises(UserError, match="x: is truncated"):
        decode_image(data[:8] + data[-12:], "x")


def test_a_png_with_a_part_that_claims_more_than_the_file_has_is_refused_at_once():
    data = encoded(".png")
    place = data.index(b"IDAT") - 4
    data = data[:place] + (1 << 30).to_bytes(4, "big") + data[place + 4 :]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="x: is truncated"):
        decode_image(data, "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
