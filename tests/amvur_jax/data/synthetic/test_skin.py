"""Skin, nails and forearm of the made-up hand."""

import numpy as np
import pytest

from amvur_jax.data.synthetic import skin
from mano_jax import load_hand
from mano_jax.topology import FINGERTIPS


def test_palms_are_lighter_than_backs_and_more_so_in_dark_skin():
    hand = load_hand()
    normals_up = np.asarray(skin.vertex_normals(hand.v_template, hand.faces))[:, 1]
    ratio = []
    for tone in (skin.TONES[0], skin.TONES[-1]):
        colors = skin.vertex_colors(skin.skin_map(hand), tone)
        assert colors.shape == (778, 3) and colors.min() > 0 and colors.max() <= 1
        ratio.append(colors[normals_up < -0.7].mean() / colors[normals_up > 0.7].mean())
    assert 1.0 < ratio[0] < ratio[1]


def test_nails_lie_on_the_back_of_the_fingertips():
    hand = load_hand()
    vertices = np.asarray(hand.v_template)
    nails = skin.find_nails(hand)
    tips = vertices[list(FINGERTIPS["ho3d"])]
    assert np.all(np.linalg.norm(nails.centres - tips, axis=1) < 0.02)
    assert np.all(nails.axes[1:, 2, 1] > 0.8)  # out of the four fingers is up
    weight = np.asarray(
        skin.nail_weight(list(vertices.T), (nails.centres, nails.axes, nails.radii))
    )
    assert weight.min() >= 0 and weight.max() == 1
    assert 5 <= np.sum(weight > 0.5) < 60
    away = np.linalg.norm(vertices[:, None] - tips, axis=-1).min(axis=1) > 0.03
    assert np.all(weight[away] == 0)


def test_the_forearm_closes_onto_the_wrist():
    hand = load_hand()
    faces = np.asarray(hand.faces)
    loop = skin.wrist_loop(faces)
    arm = skin.forearm_faces(loop, 778)
    edges = np.concatenate(
        [np.concatenate([f[:, [i, (i + 1) % 3]] for i in range(3)]) for f in (faces, arm)]
    )
    directed = {tuple(e) for e in edges.tolist()}
    assert len(directed) == len(edges)  # each edge once a direction: the arm winds as the hand does
    for a, b in zip(loop, np.roll(loop, -1)):
        assert (a, b) in directed and (b, a) in directed
    rings = skin.forearm_vertices(np.asarray(hand.v_template)[loop], np.array([1.0, 0, 0]))
    assert rings.shape == (skin.RINGS * len(loop), 3)
    assert rings[-1, 0] - np.asarray(hand.v_template)[loop, 0].mean() > 0.3


def test_a_mesh_without_an_open_edge_is_refused():
    with pytest.raises(ValueError, match="open edge"):
        skin.wrist_loop([[0, 1, 2], [0, 2, 1]])
