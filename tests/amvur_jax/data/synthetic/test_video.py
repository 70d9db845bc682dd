"""The made-up video: smooth, true to what lies beside it, and the same again."""

import cv2
import numpy as np
import pytest

from amvur_jax.data.synthetic.video import RATE, make_video
from amvur_jax.errors import UserError
from amvur_jax.files.video import read_frames
from mano_jax import load_hand


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "new" / "clip.mp4"
    make_video(path, 0.4, seed=3)
    with np.load(path.with_suffix(".npz")) as file:
        return path, [frame.image for frame in read_frames(path)], dict(file)


def test_the_truth_is_that_of_the_hand_model(clip):
    _, images, truth = clip
    assert len(images) == len(truth["time_s"]) == 12 and images[0].shape == (480, 640, 3)
    posed = load_hand().with_shape(truth["betas"]).with_pose(truth["pose"])
    joints = np.asarray(posed.joints_21("ho3d")) + truth["trans"][:, None]
    np.testing.assert_allclose(truth["joints_cam"], joints, atol=1e-5)
    seen = joints @ truth["K"].T
    np.testing.assert_allclose(truth["joints_px"], seen[..., :2] / seen[..., 2:], atol=0.05)


def test_the_hand_is_where_the_truth_has_it(clip):
    """The picture about the palm goes with the joints: shifted by their way, a frame fits another."""
    _, images, truth = clip
    first, last = (image.astype(np.float32) for image in (images[0], images[-1]))
    x, y = (truth["joints_px"][-1] - truth["joints_px"][0])[[0, 5, 9, 13, 17]].mean(0)
    moved = cv2.warpAffine(first, np.array([[1, 0, x], [0, 1, y]]), (640, 480))
    palm = truth["joints_px"][-1][[0, 5, 9, 13, 17]].mean(0).astype(int)
    about = np.s_[palm[1] - 12 : palm[1] + 12, palm[0] - 12 : palm[0] + 12]
    # it is the hand that was followed, not the wall
    assert np.hypot(x, y) > 5
    assert np.abs(moved - last)[about].mean() < np.abs(first - last)[about].mean()


def test_it_moves_smoothly_and_its_background_slowly(clip):
    _, images, truth = clip
    way = np.diff(truth["joints_px"], axis=0)
    assert np.abs(way).max() < 12 and np.abs(np.diff(way, axis=0)).max() < 2
    corner = np.stack(images)[:, :80, :80].astype(float)
    assert np.abs(corner[-1] - corner[0]).mean() > 0.1
    assert np.abs(np.diff(truth["time_s"]) - 1 / RATE).max() < 1e-9


def test_a_name_that_is_no_mp4_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.mp4"):
        make_video(tmp_path / "clip.avi", 1.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        make_video(tmp_path / "file" / "clip.mp4", 0.1)
