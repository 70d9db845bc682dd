"""A GLB of ours in the programs that it is for: Khronos' validator and Blender (`make clients`)."""

import pathlib
import subprocess

import numpy as np
import pytest
from clients import blender, validator
from glb import posed, read_glb
from hands import faces, hand, moving, moving_glb

from amvur_jax.hands import meshes
from amvur_jax.hands.colors import linear

HANDS = {
    "right hand 1": hand("right", (0.1, 0, 0.5)),
    "left hand 2": hand("left", (0.1, 0, 0.7), seed=1),
}
FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
COUNT, RATE = 20, 25  # of what moves


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("glb") / "hands.glb"
    path.write_bytes(meshes.glb(list(HANDS.values()), faces()))
    return path


@pytest.mark.slow
def test_khronos_validator_finds_nothing_to_say(path):
    report = validator()(path)
    assert report["issues"]["messages"] == []
    assert report["info"]["totalVertexCount"] == 2 * 778 and report["info"]["drawCallCount"] == 2


@pytest.mark.slow
def test_blender_has_the_vertices_linear_colours_and_sigma(path, tmp_path):
    out = tmp_path / "found.npz"
    subprocess.run(
        [blender(), FIXTURES / "blender_import.py", path, out], check=True, capture_output=True
    )
    found = np.load(out)
    assert found["units"].tolist() == ["METRIC", "1.0"]
    for name, own in HANDS.items():
        # OpenCV's x right, y down, z away, m, are x, z, -y of Blender's, whose z is up
        want = own.vertices_cam[:, [0, 2, 1]] * [1, 1, -1]
        np.testing.assert_allclose(found[f"{name}/vertices"], want, atol=1e-6)
        corners = found[f"{name}/corners"]
        np.testing.assert_array_equal(np.unique(corners.reshape(-1, 3)), np.arange(778))
        # the colours are the photo's, sRGB in steps of a byte: what stands in the file was taken as linear
        np.testing.assert_allclose(found[f"{name}/srgb"], own.colors[corners], atol=0.0025)
        np.testing.assert_allclose(found[f"{name}/linear"], linear(own.colors)[corners], atol=0.005)
        np.testing.assert_allclose(found[f"{name}/sigma"], own.vertices_sigma_mm, rtol=1e-6)
        assert found[f"{name}/domains"].tolist() == ["CORNER", "POINT"]
        assert "ShaderNodeVertexColor > Base Color" in found[f"{name}/shown"]


@pytest.fixture(scope="module")
def moving_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("glb") / "moving.glb"
    path.write_bytes(moving_glb(moving(COUNT, RATE)))
    return path


@pytest.mark.slow
def test_khronos_validator_has_no_more_to_say_of_what_moves(moving_path):
    report = validator()(moving_path)
    assert report["issues"]["messages"] == []
    assert report["info"]["animationCount"] == 1 and report["info"]["hasSkins"]


@pytest.mark.slow
def test_blender_plays_it(moving_path, tmp_path):
    out = tmp_path / "found.npz"
    frames = [2, 15]
    command = [blender(), FIXTURES / "blender_play.py", moving_path, out, RATE, *frames]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    found, (tree, arrays) = np.load(out), read_glb(moving_path.read_bytes())
    assert len(found.files) == 4
    for frame in frames:
        for name, vertices in posed(tree, arrays, frame / RATE).items():
            # glTF's y is up, Blender's z
            want = vertices[:, [0, 2, 1]] * [1, -1, 1]
            np.testing.assert_allclose(found[f"{frame}/{name}"], want, atol=1e-5)
    hands = [found[f"{frame}/right hand 1 mesh"] for frame in frames]
    assert np.abs(hands[1] - hands[0]).max() > 0.1
