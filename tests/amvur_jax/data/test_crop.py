"""The crop: one affine map for pixels and coordinates."""

import cv2
import numpy as np
import pytest

from amvur_jax.data.crop import crop_box, crop_image, crop_matrix, whole_image_box

IMAGE_SIZE = (640, 480)


def centroid(image):
    """Centre of brightness, in coordinates whose first pixel centre is at (0.5, 0.5)."""
    weight = image[..., 0].astype(float)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("size", [64, 224, 448])
@pytest.mark.parametrize("side", [70.0, 224.0, 571.0])
def test_a_square_lands_where_the_matrix_says(size, side):
    rng = np.random.default_rng(size)
    for _ in range(4):
        centre = rng.uniform([200, 150], [440, 330])
        A = crop_matrix(centre, side, size)
        x, y = (centre + rng.uniform(-0.25, 0.25, 2) * side).astype(int)
        image = np.zeros((480, 640, 3), np.uint8)
        image[y : y + 9, x : x + 9] = 255
        expected = (A @ [x + 4.5, y + 4.5, 1])[:2]
        found = centroid(crop_image(image, A, size))
        # What is left is the sampling of the edge; a lost half pixel would be up to 2.7.
        np.testing.assert_allclose(found, expected, atol=0.1 * max(1, size / side))


def test_a_rotating_map_moves_the_pixels_too():
    angle, size = 0.7, 96
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    A = np.eye(3)
    A[:2, :2] = turn * 0.6
    A[:2, 2] = size / 2 - A[:2, :2] @ [300, 200]
    image = np.zeros((480, 640, 3), np.uint8)
    image[225:234, 340:349] = 255
    found = centroid(crop_image(image, A, size))
    np.testing.assert_allclose(found, (A @ [344.5, 229.5, 1])[:2], atol=0.1)


def test_a_crop_of_the_same_scale_copies_pixels():
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    crop = crop_image(image, crop_matrix((300, 200), 64.0, 64), 64)
    np.testing.assert_array_equal(crop, image[168:232, 268:332])


def test_half_scale_equals_the_mean_of_each_block_on_smooth_pictures():
    small = np.random.default_rng(0).integers(0, 255, (15, 20, 3), dtype=np.uint8)
    image = cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)
    crop = crop_image(image, crop_matrix((320, 240), 256.0, 128), 128).astype(float)
    blocks = image[112:368, 192:448].reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(crop - blocks).max() < 4


def test_shrinking_is_smoothed():
    # A one-pixel chequerboard has no detail that a quarter of the size could hold.
    image = np.indices((480, 640)).sum(axis=0) % 2 * 255
    image = np.repeat(image[..., None], 3, axis=2).astype(np.uint8)
    crop = crop_image(image, crop_matrix((320, 240), 256.0, 64), 64)
    assert np.abs(crop.astype(float) - 127.5).max() < 8


def test_outside_the_image_is_black():
    image = np.full((480, 640, 3), 200, np.uint8)
    crop = crop_image(image, crop_matrix((0, 240), 100.0, 50), 50)
    assert (crop[:, :24] == 0).all() and (crop[:, 27:] == 200).all()
    assert (crop_image(image, crop_matrix((-500, 240), 100.0, 50), 50) == 0).all()
    assert (crop_image(image, crop_matrix((2000, 2000), 100.0, 50), 50) == 0).all()


@pytest.mark.parametrize(
    "box, expected_side",
    [
        ((300, 200, 360, 240), 4 * 40),  # 60 wide + 20 of padding: largest half-extent 40
        ((300, 200, 301, 201), 50),
        ((100, 100, 500, 400), 640),
        ((600, 200, 660, 240), 4 * 30),  # clipped to x <= 640
    ],
)
def test_the_published_square(box, expected_side):
    centre, side, usable = crop_box(box, IMAGE_SIZE)
    assert usable
    assert side == pytest.approx(expected_side * 200 / 224)
    np.testing.assert_allclose(centre, [(box[0] + min(box[2], 640)) / 2, (box[1] + box[3]) / 2])


def test_points_and_their_box_make_the_same_square():
    points = np.random.default_rng(1).uniform(100, 400, (21, 2))
    box = [*points.min(axis=0), *points.max(axis=0)]
    np.testing.assert_equal(crop_box(points, IMAGE_SIZE), crop_box(box, IMAGE_SIZE))


def test_jitter_moves_the_centre_and_the_square_still_reaches_the_far_edge():
    box = np.array([250.0, 200.0, 350.0, 260.0])
    draws = [crop_box(box, IMAGE_SIZE, np.random.default_rng(i), 5.0) for i in range(400)]
    moves = np.array([centre for centre, _, _ in draws]) - [300, 230]
    np.testing.assert_allclose(moves.std(axis=0), 5.0, rtol=0.15)
    for (_, side, _), move in zip(draws, moves):
        # Half-extent about the moved centre: 50 + 10 of padding + the move, or 30 + 10 vertically.
        assert side == pytest.approx(4 * max(60 + abs(move[0]), 40 + abs(move[1])) * 200 / 224)


@pytest.mark.parametrize(
    "box",
    [
        (-300, 200, -100, 300),
        (600, 200, 700, 300),
        (300, 450, 360, 560),
        (np.nan, 0, 1, 1),
        (9, 9, 1, 1),
    ],
)
def test_a_hand_whose_centre_is_outside_is_not_usable(box):
    centre, side, usable = crop_box(box, IMAGE_SIZE, np.random.default_rng(0))
    assert not usable
    assert np.isfinite(centre).all() and 0 < side <= 640


BOX = np.array([250.0, 180, 390, 300])


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5, 3.0, 6.3])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_the_crop_is_the_same_share_of_a_picture_of_any_size(factor, seed):
    def crop(factor):
        rng = None if seed is None else np.random.default_rng(seed)
        size = 640 * factor, 480 * factor
        centre, side, usable = crop_box(BOX * factor, size, rng)
        assert usable
        return np.append(centre, side) / factor

    np.testing.assert_allclose(crop(factor), crop(1.0), rtol=1e-12)
    _, side, _ = crop_box(BOX * factor, (640 * factor, 480 * factor))
    assert 140 * factor / side == pytest.approx(0.49, abs=0.005)


@pytest.mark.parametrize("size", [224, 640, 1024, 4000])
@pytest.mark.parametrize("shape", [(1, 1), (1.5, 1), (1, 16 / 9)])
def test_the_whole_image_box_shows_the_largest_square_of_any_picture(size, shape):
    image_size = size * shape[0], size * shape[1]
    centre, side, usable = crop_box(whole_image_box(image_size), image_size)
    assert usable and side == pytest.approx(size)
    np.testing.assert_allclose(centre, np.array(image_size) / 2)
