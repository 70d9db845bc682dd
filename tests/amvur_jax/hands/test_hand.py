"""A hand and its mirror image."""

import numpy as np
from hands import SIZE, faces, hand

from amvur_jax.data.frame import project
from amvur_jax.hands.hand import mirrored


def test_the_mirror_image_is_seen_in_the_mirror_image():
    right = hand(at=(0.1, 0.02, 0.5))
    K = right.K.copy()
    K[0, 2] += 5  # a principal point beside the middle
    right = right._replace(K=K, joints_px=project(right.joints_cam, K))
    left = mirrored(right, SIZE[0])
    assert left.side == "left"
    np.testing.assert_allclose(project(left.joints_cam, left.K), left.joints_px)
    np.testing.assert_allclose(left.joints_px[:, 0], SIZE[0] - right.joints_px[:, 0])
    np.testing.assert_array_equal(left.faces(faces()), faces()[:, ::-1])
    assert left.box[0] < left.box[2]


def test_mirrored_twice_it_is_the_same():
    for name, value in mirrored(mirrored(hand(), 64), 64)._asdict().items():
        want = getattr(hand(), name)
        if isinstance(want, np.ndarray):
            np.testing.assert_allclose(value, want, err_msg=name)
        else:
            assert value == want, name
