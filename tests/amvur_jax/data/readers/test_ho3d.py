"""The HO-3D reader on a folder that the test writes: values, frames of reference, bad input."""

import json
import os
import pickle
import re

import cv2
import jax
import numpy as np
import pytest
from trees import train_meta, write_frame, write_ho3d

from amvur_jax.data.frame import project
from amvur_jax.data.readers import ground_truth
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.errors import UserError
from mano_jax import load_hand

F = np.diag([1.0, -1.0, -1.0])
# The order of the joints as the HO-3D paper's page and the network name them.
HO3D_NAMES = re.findall(r"\w+", "0 I1 I2 I3 M1 M2 M3 P1 P2 P3 R1 R2 R3 T1 T2 T3 T4 I4 M4 R4 P4")
MODEL_NAMES = ("0", *(finger + joint for finger in "TIMRP" for joint in "1234"))


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "HO3D"
    return root, write_ho3d(root)


def test_frames_come_in_the_order_of_the_list_and_only_those(tree):
    root, written = tree
    dataset = HO3D(root)
    assert len(dataset) == 3
    assert dataset.names == ["TR0/0000", "TR1/0001", "TR0/0002"]
    for i, name in enumerate(dataset.names):
        frame = dataset.frame(i)
        assert (frame.name, frame.index) == (name, i)
        np.testing.assert_array_equal(frame.image, written[name][0])


def test_joints_are_in_the_models_order_and_the_opencv_frame(tree):
    root, written = tree
    frame = HO3D(root).frame(1)
    joints = written["TR1/0001"][1]["handJoints3D"]
    for i, name in enumerate(MODEL_NAMES):
        x, y, z = joints[HO3D_NAMES.index(name)]
        np.testing.assert_allclose(frame.joints_cam[i], [x, -y, -z], rtol=1e-6)
    np.testing.assert_array_equal(frame.wrist_cam, frame.joints_cam[0])
    points = project(frame.joints_cam, frame.K)
    np.testing.assert_allclose(frame.box, [*points.min(axis=0), *points.max(axis=0)])


def test_the_hand_model_lands_where_the_opengl_labels_put_it(tree):
    # The published relation: OpenGL vertices are MANO(handPose, handBeta) + handTrans.
    root, written = tree
    hand = load_hand()
    dataset = HO3D(root, hand=hand)
    with jax.default_matmul_precision("highest"):
        for i, name in enumerate(dataset.names):
            meta = written[name][1]
            frame = dataset.frame(i)
            shaped = hand.with_shape(meta["handBeta"])
            gl = shaped.with_pose(meta["handPose"].reshape(16, 3)).vertices + meta["handTrans"]
            posed = shaped.with_pose(frame.pose.astype(np.float32).reshape(16, 3))
            np.testing.assert_allclose(posed.vertices + frame.trans, gl @ F, atol=2e-6)


@pytest.mark.parametrize(
    "rotvec", [(0, 0, 0), (np.pi, 0, 0), (1e-9, 0, 0), (0, 3.0, 0), (-3.1, 0.1, 0), (2, -5, 4)]
)
def test_the_global_rotation_is_turned_into_the_camera_frame(tmp_path, rotvec):
    root = tmp_path / "HO3D"
    write_ho3d(root)
    meta = train_meta(np.random.default_rng(0))
    meta["handPose"][:3] = rotvec
    write_frame(root / "train", "TR0/0000", np.zeros((48, 64, 3), np.uint8), meta)
    frame = HO3D(root).frame(0)
    expected = F @ cv2.Rodrigues(meta["handPose"][:3].astype(float))[0]
    np.testing.assert_allclose(cv2.Rodrigues(frame.pose[:3])[0], expected, atol=1e-7)
    assert np.linalg.norm(frame.pose[:3]) <= np.pi + 1e-9
    np.testing.assert_allclose(frame.pose[3:], meta["handPose"][3:])


def test_evaluation_frames_hold_the_wrist_and_the_box(tree):
    root, written = tree
    frame = HO3D(root, "evaluation").frame(0)
    meta = written["EV0/0000"][1]
    np.testing.assert_allclose(frame.wrist_cam, F @ meta["handJoints3D"])
    np.testing.assert_array_equal(frame.box, meta["handBoundingBox"])
    assert frame.joints_cam is None and frame.pose is None and frame.trans is None


def test_evaluation_ground_truth(tree):
    root, _ = tree
    joints, vertices = HO3D(root, "evaluation").ground_truth
    raw = np.array(json.loads((root / "evaluation_xyz.json").read_text()))
    for i, name in enumerate(MODEL_NAMES):
        np.testing.assert_allclose(joints[:, i], raw[:, HO3D_NAMES.index(name)] @ F)
    raw = np.array(json.loads((root / "evaluation_verts.json").read_text()))
    np.testing.assert_allclose(vertices, raw @ F)


def test_no_ground_truth_files_is_no_error(tmp_path):
    write_ho3d(tmp_path, ground_truth=False)
    assert HO3D(tmp_path, "evaluation").ground_truth is None


def test_version_3_is_read_from_its_jpg_files(tmp_path):
    written = write_ho3d(tmp_path, suffix=".jpg")
    image = HO3D(tmp_path).frame(2).image.astype(float)
    difference = image - written["TR0/0002"][0]
    assert np.abs(difference).mean() < 4


def test_a_list_with_windows_line_ends_and_blank_lines(tree):
    root, _ = tree
    (root / "train.txt").write_bytes(b"TR0/0002\r\n\r\nTR0/0000 \r\n")
    assert HO3D(root).names == ["TR0/0002", "TR0/0000"]


def test_a_missing_folder_names_the_synthetic_alternative(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*make_synthetic\.py --output"):
        HO3D(tmp_path / "nowhere")


@pytest.mark.parametrize("missing", ["train.txt", "train"])
def test_an_incomplete_folder_names_what_is_missing(tree, missing):
    root, _ = tree
    os.rename(root / missing, root / "elsewhere")
    with pytest.raises(UserError, match=f"{missing}: not found.*make_synthetic"):
        HO3D(root)


@pytest.mark.parametrize(
    "line", ["../../etc/0000", "/etc/passwd", "TR0", "TR0/../TR1", "TR0/0000/1", "a\x00b/1"]
)
def test_a_list_cannot_lead_outside_the_folder(tree, line):
    root, _ = tree
    (root / "train.txt").write_text(f"TR0/0000\n{line}\n")
    with pytest.raises(UserError, match=r"train\.txt: .* is no SEQUENCE/FRAME"):
        HO3D(root)


def test_an_empty_list(tree):
    root, _ = tree
    (root / "train.txt").write_text("\n")
    with pytest.raises(UserError, match=r"train\.txt: lists no frames"):
        HO3D(root)


def test_an_absent_image(tree):
    root, _ = tree
    (root / "train/TR0/rgb/0000.png").unlink()
    with pytest.raises(UserError, match=r"TR0/rgb/0000\.png.*not found"):
        HO3D(root).frame(0)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.999])
def test_a_truncated_image(tmp_path, suffix, keep):
    write_ho3d(tmp_path, suffix=suffix)
    path = tmp_path / f"train/TR0/rgb/0000{suffix}"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(UserError, match=rf"0000\{suffix}: is truncated"):
        HO3D(tmp_path).frame(0)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("handPose", None, "handPose is missing or None"),
        ("handPose", np.zeros(45), r"handPose has shape \(45,\), expected \(48,\)"),
        ("handBeta", np.full(10, np.nan), "handBeta holds NaN"),
        ("handJoints3D", np.full((21, 3), 1e300), "handJoints3D holds NaN or a number beyond"),
        ("handTrans", "here", "handTrans holds no numbers"),
        ("handJoints3D", np.zeros((16, 3)), "handJoints3D has shape"),
        ("handTrans", [[1, 2], [3]], "handTrans holds no numbers"),
        ("camMat", np.zeros((3, 3)), "camMat is no camera matrix"),
        ("camMat", None, "camMat is missing"),
    ],
)
def test_bad_labels_name_the_file_and_the_field(tree, field, value, message):
    root, written = tree
    image, meta = written["TR0/0000"]
    write_frame(root / "train", "TR0/0000", image, meta | {field: value})
    with pytest.raises(UserError, match=rf"TR0/meta/0000\.pkl: {message}"):
        HO3D(root).frame(0)


class _RunsCode:
    def __reduce__(self):
        return os.system, ("echo a pickle ran this",)


def test_a_pickle_that_would_run_code_is_refused(tree, capfd):
    root, written = tree
    path = root / "train/TR0/meta/0000.pkl"
    meta = written["TR0/0000"][1] | {"handPose": _RunsCode()}
    path.write_bytes(pickle.dumps(meta, protocol=2))
    with pytest.raises(UserError, match=r"0000\.pkl.*system"):
        HO3D(root).frame(0)
    assert "ran this" not in capfd.readouterr().out


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps([1, 2], protocol=2)])
def test_a_damaged_pickle(tree, data):
    root, _ = tree
    (root / "train/TR0/meta/0000.pkl").write_bytes(data)
    with pytest.raises(UserError, match=r"0000\.pkl"):
        HO3D(root).frame(0)


def test_an_absent_pickle(tree):
    root, _ = tree
    (root / "train/TR0/meta/0000.pkl").unlink()
    with pytest.raises(UserError, match=r"0000\.pkl"):
        HO3D(root).frame(0)


def test_ground_truth_of_another_release(tree):
    root, _ = tree
    (root / "evaluation_xyz.json").write_text(json.dumps(np.zeros((3, 21, 3)).tolist()))
    with pytest.raises(UserError, match=r"evaluation_xyz\.json: has 3 entries .* lists 2"):
        len(HO3D(root, "evaluation").ground_truth)


def test_an_unknown_split(tree):
    with pytest.raises(UserError, match="train and evaluation"):
        HO3D(tree[0], "test")


def test_byte_order_marks_and_windows_lines_change_nothing(tmp_path):
    write_ho3d(tmp_path, train=2, evaluation=2)
    before = [(d.names, d.ground_truth) for d in (HO3D(tmp_path), HO3D(tmp_path, "evaluation"))]
    for name in ("train.txt", "evaluation.txt", "evaluation_xyz.json", "evaluation_verts.json"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    after = [(d.names, d.ground_truth) for d in (HO3D(tmp_path), HO3D(tmp_path, "evaluation"))]
    assert [names for names, _ in after] == [names for names, _ in before]
    for ours, theirs in zip(after[1][1], before[1][1]):
        np.testing.assert_array_equal(ours, theirs)
    assert ground_truth.sample_names(tmp_path) == before[1][0]


def write_depth(root, dataset, metres, size=(480, 640)):
    """A depth picture of one distance for each frame: R and G of the steps."""
    steps = round(metres / 0.00012498664727900177)
    for name in dataset.names:
        folder, number = root / "train" / name.split("/")[0] / "depth", name.split("/")[1]
        folder.mkdir(exist_ok=True)
        rgb = np.full((*size, 3), [steps % 256, steps // 256, 0], np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), rgb[..., ::-1])


def test_depth_pictures_say_what_is_seen_of_the_hand_where_they_are_asked(tree):
    root, _ = tree
    dataset = HO3D(root)
    write_depth(root, dataset, 0.1)
    frame = HO3D(root, masks=True).frame(0)
    assert frame.visible.shape == (480, 640) and frame.visible.dtype == bool
    posed = load_hand().with_shape(frame.betas).with_pose(frame.pose.reshape(16, 3))
    x, y = np.floor(project(np.asarray(posed.vertices) + frame.trans, frame.K)).astype(int).T
    inside = (x >= 0) & (x < 640) & (y >= 0) & (y < 480)
    assert inside.any() and not frame.visible[y[inside], x[inside]].mean() > 0.05
    write_depth(root, dataset, 2.0)
    assert HO3D(root, masks=True).frame(0).visible.all()
    assert dataset.frame(0).visible is None
    assert HO3D(root, "evaluation", masks=True).frame(0).visible is None


def test_depth_pictures_that_are_not_the_pictures_are_named(tree, caplog):
    root, _ = tree
    assert HO3D(root, masks=True).frame(0).visible is None
    assert "depth: not found" in caplog.text and "copy the depth pictures" in caplog.text
    write_depth(root, HO3D(root), 0.5, (240, 320))
    with pytest.raises(UserError, match=r"depth.0000\.png: has 320 x 240 .* 640 x 480; copy"):
        HO3D(root, masks=True).frame(0)
    (root / "train/TR0/depth/0000.png").unlink()
    with pytest.raises(UserError, match=r"depth.0000\.png: cannot be read .* copy the file"):
        HO3D(root, masks=True).frame(0)
