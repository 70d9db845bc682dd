"""Recorded PyTorch3D outputs and gradients of the hard rasteriser and the Phong shader."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import render

DATA = pathlib.Path(__file__).parents[1] / "recorded"
# PyTorch3D: x left, y up, z forward. Ours: x right, y down, z forward.
FLIP = np.array([-1, -1, 1], np.float32)

CASES = [("hand_64", "persp"), ("hand_64", "fov"), ("ico_64", "persp"), ("hand_224", "persp")]


def loss_weights(shape):
    return np.random.default_rng(12).standard_normal(shape).astype(np.float32)[..., :3]


@functools.cache
def rendered(mesh, camera):
    """The recorded file, and what we make of its input: image, mask, fragments, gradients."""
    record = dict(np.load(DATA / f"raster_hard_{mesh}.npz"))
    size = record[f"{camera}_rgba"].shape[1]
    vertices = record[f"{camera}_verts"] * FLIP
    light = np.zeros((2, 3), np.float32) + np.array([0, 0, -2], np.float32)
    K = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))
    if camera == "persp":
        K[:, [0, 1], [0, 1]] = record["persp_focal"]
        K[:, :2, 2] = record["persp_principal"]
    else:
        translation = record["fov_camera_t"] * FLIP
        vertices = vertices + translation[:, None]
        light = light + translation
        K[:, [0, 1], [0, 1]] = size / 2 / np.tan(np.deg2rad(float(record["fov_fov_deg"])) / 2)
        K[:, :2, 2] = size / 2
    scene = {"faces": jnp.asarray(record["faces"]), "K": jnp.asarray(K), "image_size": (size, size)}

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def gradients(vertices, colors):
        point = render.PointLight(position_cam=jnp.asarray(light))
        image, mask, fragments = render.render_mesh(vertices, colors=colors, light=point, **scene)
        unlit = render.shade(fragments, vertices, scene["faces"], colors, None)[..., 0, :]
        weights = loss_weights(record[f"{camera}_rgba"].shape)
        return jnp.sum(image * weights), (image, mask, fragments, unlit)

    result = gradients(jnp.asarray(vertices), jnp.asarray(record["rgb"]))
    (to_vertices, to_colors), (image, mask, fragments, unlit) = jax.tree.map(np.asarray, result)
    return record, (image, mask, fragments, (to_vertices, to_colors), unlit)


def local_faces(packed, num_faces):
    """PyTorch3D counts faces through the batch; ours are each image's own."""
    first = np.arange(len(packed))[:, None, None, None] * num_faces
    return np.where(packed >= 0, packed - first, -1)


@pytest.mark.parametrize(("mesh", "camera"), CASES)
def test_fragments_equal_the_recorded_ones(mesh, camera):
    record, (_, _, fragments, _, _) = rendered(mesh, camera)
    expected = local_faces(record[f"{camera}_pix_to_face"], len(record["faces"]))
    same = fragments.pix_to_face == expected
    assert np.mean(~same) < 1e-3
    both = same & (expected >= 0)
    assert both.mean() > 0.05
    np.testing.assert_allclose(fragments.zbuf[both], record[f"{camera}_zbuf"][both], atol=1e-5)
    np.testing.assert_allclose(
        fragments.bary_coords[both], record[f"{camera}_bary"][both], atol=1e-3
    )
    np.testing.assert_allclose(fragments.dists[both], record[f"{camera}_dists"][both], atol=1e-6)
    empty = same & (expected < 0)
    assert np.all(fragments.zbuf[empty] == -1) and np.all(fragments.bary_coords[empty] == -1)


@pytest.mark.parametrize(("mesh", "camera"), CASES)
def test_image_equals_the_recorded_one(mesh, camera):
    record, (image, mask, fragments, _, unlit) = rendered(mesh, camera)
    expected = local_faces(record[f"{camera}_pix_to_face"], len(record["faces"]))
    same = (fragments.pix_to_face == expected)[..., 0]
    np.testing.assert_allclose(image[same], record[f"{camera}_rgba"][same][:, :3], atol=1e-4)
    # PyTorch3D's alpha is the sigmoid of a squared distance, 0 outside and >= 1/2 inside.
    np.testing.assert_array_equal(mask[same], record[f"{camera}_rgba"][same][:, 3] > 0.25)
    if f"{camera}_rgba_nolight" in record:
        drawn = same & mask
        np.testing.assert_allclose(
            unlit[drawn], record[f"{camera}_rgba_nolight"][drawn][:, :3], atol=1e-4
        )


@pytest.mark.parametrize(("mesh", "camera"), CASES)
def test_gradients_equal_the_recorded_ones(mesh, camera):
    record, (_, _, _, (to_vertices, to_colors), _) = rendered(mesh, camera)
    for ours, expected in (
        (to_vertices * FLIP, record[f"{camera}_grad_verts"]),
        (to_colors, record[f"{camera}_grad_rgb"]),
    ):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, rtol=1e-2, atol=1e-3 * scale)


@pytest.mark.parametrize(("mesh", "camera"), [c for c in CASES if c[0].endswith("_64")])
def test_visible_vertices_equal_the_recorded_ones(mesh, camera):
    record, (_, _, fragments, _, _) = rendered(mesh, camera)
    visible = render.visible_vertices(
        fragments, jnp.asarray(record["faces"]), record["rgb"].shape[1]
    )
    np.testing.assert_array_equal(np.asarray(visible) > 0, record[f"{camera}_occ_visible"])


@functools.cache
def unit(mesh, size):
    """A raster_unit case: vertices in NDC stand before a camera that undoes the projection."""
    record = np.load(DATA / "raster_unit.npz")
    height, width = size
    name = f"{mesh}_{height if height == width else f'{height}x{width}'}_K1_b0_pc1_clip0_cull0"
    expected = {k: record[f"{name}/{k}"] for k in ("pix_to_face", "zbuf", "bary", "dists")}
    half = min(size) / 2
    K = jnp.array([[half, 0, width / 2], [0, half, height / 2], [0, 0, 1]], jnp.float32)
    draws = np.random.default_rng(99)
    weights = [
        draws.standard_normal(shape).astype(np.float32)[0]
        for shape in ((1, *size, 1), (1, *size, 1, 3), (1, *size, 1))
    ]

    counted = jnp.asarray(expected["pix_to_face"] >= 0, jnp.float32)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(ndc):
        x, y, z = ndc[:, 0], ndc[:, 1], ndc[:, 2]
        vertices = jnp.stack([-x * z, -y * z, z], axis=-1)
        fragments = render.rasterize(vertices, jnp.asarray(record[f"{mesh}_faces"]), K, size)
        per_pixel = (
            fragments.zbuf * weights[0]
            + jnp.sum(fragments.bary_coords * weights[1], axis=-1)
            + fragments.dists * weights[2]
        )
        return jnp.sum(per_pixel * counted), fragments

    ours = jax.tree.map(np.asarray, gradient(jnp.asarray(record[f"{mesh}_verts"])))
    expected["gradient"] = record[f"{name}/grad_verts"]
    return expected, ours[1], ours[0], ours[1].pix_to_face == expected["pix_to_face"]


def test_triangle_soup_equals_the_recorded_one():
    expected, fragments, gradient, same = unit("soup", (24, 40))
    assert same.all()
    np.testing.assert_allclose(fragments.zbuf, expected["zbuf"], atol=1e-5)
    np.testing.assert_allclose(fragments.bary_coords, expected["bary"], atol=1e-4)
    np.testing.assert_allclose(fragments.dists, expected["dists"], atol=1e-6)
    np.testing.assert_allclose(
        gradient, expected["gradient"], rtol=1e-2, atol=1e-3 * np.abs(expected["gradient"]).max()
    )


def test_edge_cases_differ_from_the_recorded_ones_only_in_holes_and_ties():
    expected, fragments, _, same = unit("edge", (32, 32))
    drawn, recorded = fragments.pix_to_face >= 0, expected["pix_to_face"] >= 0
    # PyTorch3D's strict inside test leaves pixel centres on an edge empty, or draws them when
    # rounding says so; ours belong to one face, and an edge goes through them.
    on_edge = np.abs(np.where(drawn, fragments.dists, expected["dists"])) < 1e-12
    assert np.all(on_edge[drawn != recorded])
    assert np.any(drawn & ~recorded)
    recorded &= drawn
    # Elsewhere another face means a tie in depth: coplanar faces, of which ours is the lowest.
    other = recorded & ~same
    np.testing.assert_allclose(fragments.zbuf[recorded], expected["zbuf"][recorded], atol=1e-5)
    assert np.all(fragments.pix_to_face[other] < expected["pix_to_face"][other])
    # The face of no area (3) and the one that crosses the camera plane (4) are in neither.
    assert not np.isin(fragments.pix_to_face, [3, 4]).any()
