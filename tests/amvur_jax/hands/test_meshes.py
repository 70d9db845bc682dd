"""Mesh files, read again by the letter of their formats."""

import numpy as np
import pytest
from glb import read_glb
from hands import faces, hand

from amvur_jax.hands import meshes
from amvur_jax.hands.colors import linear, off_picture, vertex_normals

HANDS = [hand("right", (0.1, 0, 0.5)), hand("left", (0.1, 0, 0.7), seed=1)]
FLIP = np.array([1, -1, -1])


def volume(vertices, triangles):
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return (a * np.cross(b, c)).sum() / 6


def test_a_glb_has_each_hand_with_linear_colours_and_sigma():
    tree, arrays = read_glb(meshes.glb(HANDS, faces()))
    assert [node["name"] for node in tree["nodes"]] == ["right hand 1", "left hand 2"]
    assert tree["scenes"][tree["scene"]]["nodes"] == [0, 1]
    (skin,) = tree["materials"]
    assert skin["doubleSided"]  # or the open arm shows what is behind the hand
    for node, own in zip(tree["nodes"], HANDS):
        (part,) = tree["meshes"][node["mesh"]]["primitives"]
        found = {name: arrays[i] for name, i in part["attributes"].items()}
        np.testing.assert_allclose(found["POSITION"], own.vertices_cam * FLIP, atol=1e-7)
        np.testing.assert_allclose(np.linalg.norm(found["NORMAL"], axis=-1), 1, atol=1e-6)
        np.testing.assert_allclose(found["COLOR_0"], linear(own.colors), atol=1e-6)
        np.testing.assert_allclose(found["_SIGMA"][:, 0], own.vertices_sigma_mm, rtol=1e-6)
        triangles = arrays[part["indices"]].reshape(-1, 3)
        # faces look outwards, of the left hand too: the arm's hole is small
        assert 1e-4 < volume(found["POSITION"] - found["POSITION"].mean(0), triangles) < 1e-3


def test_colours_of_no_hand_are_those_of_srgb():
    # the middle of the scale and the ends, as IEC 61966-2-1 has them
    np.testing.assert_allclose(
        linear(np.array([0, 0.02, 0.5, 1])), [0, 0.001548, 0.214041, 1], atol=1e-6
    )


def test_an_obj_and_a_ply_have_the_same_mesh():
    lines = meshes.obj(HANDS, faces()).decode().splitlines()
    points = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    corners = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int) - 1
    want = np.concatenate([own.vertices_cam for own in HANDS]) * FLIP
    np.testing.assert_allclose(points[:, :3], want, atol=1e-6)
    assert [line for line in lines if line.startswith("o ")] == ["o right_hand_1", "o left_hand_2"]
    header, body = meshes.ply(HANDS, faces()).split(b"end_header\n", 1)
    assert b"element vertex 1556" in header and b"property float sigma" in header
    kind = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3), ("sigma", "<f4")])
    vertices = np.frombuffer(body, kind, 1556)
    np.testing.assert_allclose(vertices["xyz"], want, atol=1e-7)
    np.testing.assert_allclose(vertices["rgb"] / 255, points[:, 3:], atol=0.003)
    triangles = np.frombuffer(body[1556 * kind.itemsize :], [("n", "u1"), ("abc", "<i4", 3)])
    np.testing.assert_array_equal(triangles["abc"], corners)
    assert (triangles["n"] == 3).all()


def test_normals_of_a_tetrahedron_point_away_from_its_middle():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    normals = vertex_normals(corners, triangles)
    np.testing.assert_allclose(normals[0], -np.ones(3) / 3**0.5)
    assert ((corners - corners.mean(0)) * normals).sum(-1).min() > 0


def test_colours_are_the_photographs_where_the_surface_is_seen():
    own = hand(at=(0, 0, 0.5))
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :, 0] = 4 * np.arange(64)
    image[:, :, 1] = 100
    colors = off_picture(image, own.vertices_cam, faces(), own.K)
    facing = (vertex_normals(own.vertices_cam, faces()) * own.vertices_cam).sum(-1) < 0
    x = own.vertices_cam[:, 0] / own.vertices_cam[:, 2] * 60 + 32
    np.testing.assert_allclose(255 * colors[facing, 0], 4 * (x[facing] - 0.5), atol=0.6)
    np.testing.assert_allclose(colors[:, 1], 100 / 255)
    assert 0.2 < facing.mean() < 0.8
    assert len(np.unique(colors[~facing, 0])) == 1
    beside = own.vertices_cam + [5, 0, 0]
    assert np.ptp(off_picture(image, beside, faces(), own.K)) == pytest.approx(0)
