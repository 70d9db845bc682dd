"""The shipped networks, others in their place, and the two libraries that run them."""

import hashlib
import importlib.util
import io
import shutil
import sys
import zipfile

import cv2
import numpy as np
import pytest

from amvur_jax.detect import networks
from amvur_jax.detect.networks import ASSETS, LANDMARKS, PALMS, load_networks
from amvur_jax.errors import UserError

# Of the files in Google's hand_landmarker.task (float16/1).
SHA256 = {
    "hand_detector.tflite": "945f713bc23570bd4ed60f848c401dc8eaf95713183d43ba14cf12e467d27a7d",
    "hand_landmarks_detector.tflite": "6acda74af3fbf40e68265c20c7394b2bad81a16a481dcd79ad7a081887c3d6b9",
}
KINDS = (PALMS, LANDMARKS)


def task(tmp_path, **contents):
    """A hand_landmarker.task with the package's networks, or what is given in place of them."""
    path = tmp_path / "hand_landmarker.task"
    with zipfile.ZipFile(path, "w") as archive:
        for kind in KINDS:
            data = contents.get(
                kind.file.removesuffix(".tflite"), (ASSETS / kind.file).read_bytes()
            )
            if data is not None:
                archive.writestr(kind.file, data)
    return path


def pixels(kind):
    return np.random.default_rng(0).random((1, kind.side, kind.side, 3), np.float32)


@pytest.mark.parametrize("name", SHA256)
def test_the_files_are_googles_and_named_in_the_notice(name):
    assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == SHA256[name]
    notice = (ASSETS / "NOTICE").read_text()
    assert "Google" in notice and SHA256[name] in notice
    assert "Apache License" in (ASSETS / "LICENSE").read_text()


@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed"
)
def test_both_libraries_give_the_same():
    both = zip(KINDS, load_networks(None, "opencv"), load_networks(None, "litert"))
    for kind, opencv, litert in both:
        for ours, theirs in zip(opencv(pixels(kind)), litert(pixels(kind))):
            np.testing.assert_allclose(ours.ravel(), theirs.ravel(), rtol=0, atol=0.02)


@pytest.mark.skipif(cv2.__version__ < "5", reason="OpenCV 4 takes the package's own networks alone")
def test_a_task_and_a_folder_give_what_the_package_gives(tmp_path):
    for kind in KINDS:
        shutil.copy(ASSETS / kind.file, tmp_path)
    own = load_networks(None, "opencv")
    for path in (tmp_path, task(tmp_path)):
        for kind, theirs, ours in zip(KINDS, load_networks(path, "opencv"), own):
            for a, b in zip(theirs(pixels(kind)), ours(pixels(kind))):
                np.testing.assert_array_equal(a, b)


def test_biases_that_opencv_4_leaves_out_are_put_back(monkeypatch):
    _, landmarks = load_networks(None, "opencv")
    right = landmarks(pixels(LANDMARKS))
    opencv = networks._opencv

    def without_biases(kind, data):
        network = opencv(kind, data)
        if kind is not LANDMARKS or cv2.__version__ < "5":
            return network

        def run(x):
            joints, score, side, world = network(x)
            odds = score / (1 - score) * np.exp(-0.167)
            return [joints - 3, odds / (1 + odds), side, world - 0.2]

        return run

    monkeypatch.setattr(networks, "_opencv", without_biases)
    _, mended = load_networks(None, "opencv")
    for ours, theirs in zip(mended(pixels(LANDMARKS)), right):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)
    with pytest.raises(UserError, match="the package's own networks alone"):
        load_networks(str(ASSETS), "opencv")


def test_a_task_that_is_cut_or_changed_is_refused(tmp_path):
    path = task(tmp_path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1  # a weight: only the archive's checksum can tell
    for data in (whole[: len(whole) // 2], whole[:-10], b"", b"not an archive", bytes(changed)):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"hand_landmarker\.task.*download it again"):
            load_networks(path, "opencv")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\u00e9", b"")  # its name is said to be UTF-8
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(UserError, match=r"hand_landmarker\.task.*download it again"):
        load_networks(path, "opencv")


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = task(tmp_path, hand_detector=None)
    with pytest.raises(UserError, match=r"has no hand_detector\.tflite"):
        load_networks(path, "opencv")


@pytest.mark.parametrize("backend", ["opencv", "litert"])
def test_other_contents_are_refused(tmp_path, backend):
    if backend == "litert":
        pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    landmarks = (ASSETS / LANDMARKS.file).read_bytes()
    for data in (landmarks, b"", b"1234TFL3", landmarks[:100_000], b"text" * 100):
        path = task(tmp_path, hand_detector=data)
        with pytest.raises(UserError, match=r"hand_detector\.tflite is damaged"):
            load_networks(path, backend)


def test_no_more_is_unpacked_than_a_network_can_have(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "_LARGEST", 2**20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(PALMS.file, bytes(8 * 2**20))
    path = tmp_path / "bomb.task"
    path.write_bytes(packed.getvalue())
    with pytest.raises(UserError, match="larger than 1 MiB"):
        load_networks(path, "opencv")


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    for path in (tmp_path / "none.task", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            load_networks(path, "opencv")
    with pytest.raises(UserError, match="backend='gpu'"):
        load_networks(None, "gpu")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match=r"pip install 'amvur-jax\[detect\]'"):
        load_networks(None, "litert")
