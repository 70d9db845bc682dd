"""The made-up data set: HO-3D's layout and relations, the same bytes for the same seed."""

import json
import pickle

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from amvur_jax.data.readers.freihand import FreiHAND
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.sample import make_sample
from amvur_jax.data.synthetic import make
from amvur_jax.data.synthetic.ho3d_writer import encode_depth
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.errors import UserError
from mano_jax import load_hand
from mano_jax.rotations import rotation_matrix
from render import depth_map

TRAIN, EVALUATION = 3, 2
FLIP = np.array([1, -1, -1])
ALWAYS = {"camMat", "camIDList", "objRot", "objTrans", "objCorners3D", "objCorners3DRest"}
ALWAYS |= {"objName", "objLabel", "handJoints3D"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "synthetic"
    make_synthetic(root, TRAIN, EVALUATION, seed=3)
    return root


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def metas(root, split):
    lines = (root / f"{split}.txt").read_text().split()
    assert lines
    for line in lines:
        sequence, number = line.split("/")
        path = root / split / sequence / "meta" / f"{number}.pkl"
        yield root / split / sequence, number, pickle.loads(path.read_bytes())


def test_layout_is_that_of_ho3d(tree):
    assert (tree / "train.txt").read_text() == "ST0000/0000\nST0000/0001\nST0000/0002\n"
    assert (tree / "evaluation.txt").read_text() == "SE0000/0000\nSE0000/0001\n"
    assert np.shape(json.loads((tree / "evaluation_xyz.json").read_text())) == (2, 21, 3)
    assert np.shape(json.loads((tree / "evaluation_verts.json").read_text())) == (2, 778, 3)
    for split, keys in (
        ("train", ALWAYS | {"handPose", "handTrans", "handBeta"}),
        ("evaluation", ALWAYS | {"handBoundingBox"}),
    ):
        for folder, number, meta in metas(tree, split):
            assert set(meta) == keys
            assert meta["handJoints3D"].shape == ((21, 3) if split == "train" else (3,))
            for part in ("rgb", "depth"):
                assert cv2.imread(str(folder / part / f"{number}.png")).shape == (480, 640, 3)
            assert (folder / "meta" / f"{number}.pkl").read_bytes()[:2] == b"\x80\x02"


def test_a_frame_that_is_not_listed_has_no_labels(tree):
    for split, count in (("train", TRAIN), ("evaluation", EVALUATION)):
        folder = tree / split / f"S{split[0].upper()}0000"
        meta = pickle.loads((folder / "meta" / f"{count:04d}.pkl").read_bytes())
        assert meta and all(value is None for value in meta.values())
        assert (folder / "rgb" / f"{count:04d}.png").exists()


def test_labels_follow_from_the_hand_model(tree):
    """Vertices and joints in OpenGL axes are MANO(handPose, handBeta) + handTrans."""
    hand = load_hand()
    for _, _, meta in metas(tree, "train"):
        pose = jnp.asarray(meta["handPose"].reshape(16, 3))
        posed = hand.with_shape(jnp.asarray(meta["handBeta"])).with_pose(pose)
        joints = np.asarray(posed.joints) + meta["handTrans"]
        tips = np.asarray(posed.vertices)[[744, 333, 444, 555, 672]] + meta["handTrans"]
        np.testing.assert_allclose(meta["handJoints3D"], np.concatenate([joints, tips]), atol=2e-6)
        assert np.all(meta["handJoints3D"][:, 2] < -0.3)


def test_evaluation_truth_agrees_with_its_labels(tree):
    joints = np.array(json.loads((tree / "evaluation_xyz.json").read_text()))
    vertices = np.array(json.loads((tree / "evaluation_verts.json").read_text()))
    np.testing.assert_allclose(joints[:, 16:], vertices[:, [744, 333, 444, 555, 672]], atol=1e-6)
    # The joint regressor on a posed mesh is within millimetres of the chain's joints.
    regressed = np.asarray(load_hand().joint_regressor) @ vertices
    assert np.abs(regressed - joints[:, :16]).max() < 0.012
    for i, (_, _, meta) in enumerate(metas(tree, "evaluation")):
        np.testing.assert_allclose(meta["handJoints3D"], joints[i, 0], atol=1e-6)
        pixels = (joints[i] * FLIP / -joints[i][:, 2:]) @ meta["camMat"][:2].T
        box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
        np.testing.assert_allclose(meta["handBoundingBox"], box, atol=1e-2)


def test_the_hand_is_drawn_where_its_labels_are(tree):
    vertices = np.array(json.loads((tree / "evaluation_verts.json").read_text()))
    for i, (folder, number, meta) in enumerate(metas(tree, "evaluation")):
        depth = cv2.imread(str(folder / "depth" / f"{number}.png"))[..., ::-1].astype(float)
        depth = (depth[..., 0] + 256 * depth[..., 1]) * 0.00012498664727900177
        points = vertices[i] * FLIP
        pixels = np.floor((points / points[:, 2:]) @ meta["camMat"][:2].T).astype(int)
        inside = np.all((pixels >= 1) & (pixels < [639, 479]), axis=1)
        assert inside.mean() > 0.5
        column, row = pixels[inside].T
        # Nothing is seen through the hand; its outline's own pixels may be background.
        nearest = cv2.erode(depth, np.ones((3, 3)))
        assert np.mean(nearest[row, column] - points[inside, 2] < 0.005) > 0.995
        assert np.mean(np.abs(depth[row, column] - points[inside, 2]) < 0.003) > 0.3
        assert depth.max() > 0.9


def test_the_objects_corners_follow_from_its_pose(tree):
    for _, _, meta in metas(tree, "train"):
        rotation = np.asarray(rotation_matrix(jnp.asarray(meta["objRot"][:, 0])))
        corners = meta["objCorners3DRest"] @ rotation.T + meta["objTrans"]
        np.testing.assert_allclose(meta["objCorners3D"], corners, atol=2e-6)
        assert isinstance(meta["objName"], str)


def test_the_projects_own_reader_takes_it(tree):
    frame = HO3D(tree, "train").frame(1)
    posed = load_hand().with_shape(jnp.asarray(frame.betas, jnp.float32))
    posed = posed.with_pose(jnp.asarray(frame.pose.reshape(16, 3), jnp.float32))
    np.testing.assert_allclose(posed.joints[0] + frame.trans, frame.wrist_cam, atol=1e-5)
    evaluation = HO3D(tree, "evaluation")
    np.testing.assert_allclose(
        evaluation.ground_truth[0][:, 0],
        [evaluation.frame(i).wrist_cam for i in range(2)],
        atol=1e-6,
    )


def test_the_same_seed_gives_the_same_bytes_also_after_an_interruption(tree, tmp_path, monkeypatch):
    class Interruption(Exception):
        pass

    draw, drawn = make.Painter.frame, []

    def interrupted(*arguments):
        drawn.append(1)
        if len(drawn) == 6:
            raise Interruption
        return draw(*arguments)

    monkeypatch.setattr(make.Painter, "frame", interrupted)
    with pytest.raises(Interruption):
        make_synthetic(tmp_path / "set", TRAIN, EVALUATION, seed=3)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"train\.txt"):
        HO3D(tmp_path / "set", "train")
    with pytest.raises(UserError, match="other arguments"):
        make_synthetic(tmp_path / "set", TRAIN, EVALUATION, seed=4)
    make_synthetic(tmp_path / "set", TRAIN, EVALUATION, seed=3)
    assert files(tmp_path / "set") == files(tree)


def test_another_seed_gives_another_set(tree, tmp_path):
    make_synthetic(tmp_path / "set", 1, 1, seed=5)
    name = "train/ST0000/rgb/0000.png"
    assert files(tmp_path / "set")[name] != files(tree)[name]


def test_nothing_of_the_users_is_touched(tree, tmp_path):
    before = files(tree)
    (tmp_path / "mine.txt").write_text("mine")
    for folder in (tree, tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UserError, match="--output"):
            make_synthetic(folder, TRAIN, EVALUATION, seed=3)
    assert files(tree) == before
    assert files(tmp_path) == {"mine.txt": b"mine"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"train": 0}, "--train"),
        ({"evaluation": -1}, "--evaluation"),
        ({"seed": -1}, "--seed"),
        ({"difficulty": "hard"}, "--difficulty"),
    ],
)
def test_senseless_arguments_are_named(tmp_path, arguments, named):
    with pytest.raises(UserError, match=named):
        make_synthetic(tmp_path / "set", **({"train": 1, "evaluation": 1} | arguments))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("train", [1, 20, 333])
def test_sequences_have_exactly_the_frames_asked_for(train):
    settings = {"train": train, "evaluation": 1, "seed": 0}
    counts = [count for _, count in make.plan(settings, "train")]
    assert sum(counts) == train
    assert all(20 <= count < 32 for count in counts[:-1])


def test_depth_images_are_within_half_a_step():
    depth = np.random.default_rng(0).uniform(0, 8, (5, 7))
    encoded = encode_depth(depth).astype(float)
    decoded = (encoded[..., 0] + 256 * encoded[..., 1]) * 0.00012498664727900177
    assert np.abs(decoded - depth).max() <= 0.000063


def test_freihands_pictures_show_the_hand_that_the_labels_describe(tmp_path):
    make_synthetic(tmp_path / "set", 1, 1, seed=3, layout="freihand")
    K, vertices = (
        np.array(json.loads((tmp_path / f"set/training_{kind}.json").read_text()))[0]
        for kind in ("K", "verts")
    )
    folder = tmp_path / "set/training"
    mask = cv2.imread(str(folder / "mask/00000000.jpg"))[..., 0] > 127
    pixels = np.floor((vertices / vertices[:, 2:]) @ K[:2].T).astype(int)
    assert mask.shape == (224, 224) and 0.05 < mask.mean() < 0.5
    # The whole hand is in the picture, and the mask is where it is; an object may hide a little.
    assert ((pixels > 0) & (pixels < 224)).all()
    assert mask[pixels[:, 1], pixels[:, 0]].mean() > 0.7
    outline = cv2.dilate(np.uint8(mask), np.ones((9, 9))) > 0
    assert outline[pixels[:, 1], pixels[:, 0]].mean() > mask[pixels[:, 1], pixels[:, 0]].mean()
    variants = [cv2.imread(str(folder / f"rgb/{k:08d}.jpg")).astype(float) for k in range(4)]
    inside, outside = cv2.erode(np.uint8(mask), np.ones((9, 9))) > 0, ~outline
    for variant in (0, 2):
        assert np.abs(variants[variant] - variants[1])[inside].mean() < 3
        assert np.abs(variants[variant] - variants[1])[outside].mean() > 20
    green = variants[0][outside].mean(axis=0)
    assert green[1] > 1.5 * max(green[0], green[2])
    # And so does the sample of any of its variants.
    sample = make_sample(FreiHAND(tmp_path / "set", masks=True).frame(2), 224, masks=True)
    drawn = np.isfinite(mesh_depth(vertices, sample["K"], (224, 224)))
    assert np.sum(drawn & sample["visible"]) > 0.8 * np.sum(drawn | sample["visible"])


def mesh_depth(vertices, K, size):
    """Depths (H, W) m of the mesh, infinite beside it."""
    vertices, K = jnp.asarray(vertices, jnp.float32), jnp.asarray(K, jnp.float32)
    return np.asarray(depth_map(vertices, load_hand().faces, K, size))


def test_what_hides_the_hand_is_seen_in_the_depth_pictures(tmp_path):
    """Against the exact mesh, of a hand that holds something."""
    tree = tmp_path / "set"
    make_synthetic(tree, 1, 1, seed=3, difficulty="wide")
    hides, shows = np.zeros(2), np.zeros(2)  # pixels, and those that the reader has so
    for i, (folder, number, meta) in enumerate(metas(tree, "train")):
        frame = HO3D(tree, masks=True).frame(i)
        posed = load_hand().with_shape(jnp.asarray(frame.betas))
        vertices = posed.with_pose(jnp.asarray(frame.pose.reshape(16, 3))).vertices + frame.trans
        far = mesh_depth(vertices, meta["camMat"], (480, 640))
        depth = cv2.imread(str(folder / "depth" / f"{number}.png"))[..., ::-1].astype(float)
        depth = (depth[..., 0] + 256 * depth[..., 1]) * 0.00012498664727900177
        mesh = np.isfinite(far)
        hidden, shown = mesh & (depth < far - 0.02), mesh & (depth > far - 0.003)
        shown &= cv2.dilate(np.uint8(mesh & ~shown), np.ones((7, 7))) == 0  # where no edge is near
        hides += [hidden.sum(), (hidden & ~frame.visible).sum()]
        shows += [shown.sum(), (shown & frame.visible).sum()]
        assert frame.visible[cv2.dilate(np.uint8(mesh), np.ones((9, 9))) == 0].all()
    assert hides[0] > 100 and hides[1] > 0.85 * hides[0]
    assert shows[0] > 5000 and shows[1] > 0.99 * shows[0]


def test_version_3_is_jpeg_and_tells_the_distance_to_the_object(tmp_path):
    make_synthetic(tmp_path / "set", 1, 1, seed=3, layout="ho3d_v3")
    assert (tmp_path / "set/train/ST0000/rgb/0000.jpg").is_file()
    _, _, meta = next(metas(tmp_path / "set", "train"))
    assert {name for name in meta if name.startswith("handVert")} == {
        "handVertContact",
        "handVertDist",
        "handVertIntersec",
        "handVertObjSurfProj",
    }
    assert meta["handVertDist"].shape == (778,) and meta["handVertObjSurfProj"].shape == (778, 3)
    assert HO3D(tmp_path / "set").layout == "ho3d_v3"
