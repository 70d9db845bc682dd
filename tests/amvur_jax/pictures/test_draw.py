"""Pictures: what is drawn lies where the numbers say."""

import numpy as np

import mano_jax
from amvur_jax.pictures import draw

K = np.array([[100.0, 0, 32], [0, 100, 32], [0, 0, 1]])


def test_a_mesh_is_drawn_where_it_projects_and_the_picture_stays_elsewhere():
    hand = mano_jax.load_hand()
    vertices = np.asarray(hand.v_template) + [0, 0, 0.5]
    picture = np.full((64, 64, 3), 7, np.uint8)
    drawn = draw.mesh(vertices, hand.faces, K, 64, image=picture, size=128)
    changed = (drawn != 7).any(-1)
    pixels = vertices @ K.T
    pixels = np.floor(pixels[:, :2] / pixels[:, 2:] * 2).astype(int)
    rows, columns = np.nonzero(changed)
    assert abs(rows.min() - pixels[:, 1].min()) <= 1
    assert abs(columns.max() - pixels[:, 0].max()) <= 1
    assert 0.02 < changed.mean() < 0.5


def test_a_skeleton_puts_a_dot_on_each_joint_that_is_in_the_picture():
    joints = np.random.default_rng(0).uniform(0.1, 0.9, (21, 2))
    joints[20] = 5.0, np.nan
    picture = draw.skeleton(np.zeros((100, 100, 3), np.uint8), joints)
    at = np.floor(joints[:20] * 100).astype(int)
    assert (picture[at[:, 1], at[:, 0]] > 0).any(-1).all()


def test_heat_goes_from_blue_to_red():
    colors = draw.heat(np.linspace(3.0, 4.0, 101), 3.0, 4.0)
    assert colors[0, 2] > colors[0, 0]
    assert colors[-1, 0] > colors[-1, 2]
    assert np.isfinite(draw.heat(np.ones(5), *draw.extent(np.ones(5)))).all()
    # The same number has the same colour, whatever it stands beside.
    np.testing.assert_array_equal(draw.heat(np.array([3.5]), 3.0, 4.0), colors[50:51])


def test_sigma_is_a_coordinates_root_mean_variance():
    log_var = np.log(np.array([[0.01, 0.04, 0.04]]) / 1e6)
    np.testing.assert_allclose(draw.sigma_mm(log_var, None), [np.sqrt(0.03)])
    np.testing.assert_allclose(draw.sigma_mm(log_var, 4.0), [2 * np.sqrt(0.03)])


def test_a_sheet_holds_every_picture():
    rows = [
        {"a": np.full((20, 20, 3), 10 * r + c, np.uint8), "b": np.zeros((20, 20, 3), np.uint8)}
        for r, c in ((1, 1), (2, 2))
    ]
    page = draw.sheet(rows)
    assert all((page == value).all(-1).sum() == 400 for value in (11, 22))
