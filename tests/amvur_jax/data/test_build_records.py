"""From an official tree to records and batches: the same samples, bad frames, interruptions."""

import dataclasses
import json
import pickle
import re
import shutil
import sys

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from amvur_jax.data import build_records as build_module
from amvur_jax.data.augment import Augmentation
from amvur_jax.data.batches import evaluation_batches, train_batches
from amvur_jax.data.build_records import REACH, Settings, build, summary_text
from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.open import open_dataset
from amvur_jax.data.readers.records import LABELS
from amvur_jax.data.sample import make_sample
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.data.synthetic.paint import Painter
from amvur_jax.errors import UserError
from amvur_jax.evaluate import incomplete
from mano_jax import load_hand

TRAIN, EVALUATION = 5, 2


@pytest.fixture(scope="module")
def hand():
    return load_hand()


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """One official tree of each layout."""
    folder = tmp_path_factory.mktemp("trees")
    with pytest.MonkeyPatch.context() as patch:
        # What the pictures show is test_make.py's.
        patch.setattr(Painter, "frame", background_only)
        for layout in LAYOUTS:
            make_synthetic(folder / layout, TRAIN, EVALUATION, 3, layout=layout)
    return folder


def background_only(painter, shared, vertices, K, background, depth):
    return background, depth, np.zeros(depth.shape)


def assert_same(a, b, but=()):
    assert a.keys() == b.keys()
    for name in a.keys() - set(but):
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lossless", [True, False])
def test_records_give_the_samples_of_the_tree(trees, hand, tmp_path, layout, lossless):
    settings = Settings(lossless=lossless, shard_frames=2)
    report = build(layout, trees / layout, tmp_path / "set", hand, settings, workers=1)
    count = TRAIN * (4 if layout == "freihand" else 1)
    assert report == {
        "train": {"frames": count, "skipped": []},
        "evaluation": {"frames": EVALUATION, "skipped": []},
    }
    for split in ("train", "evaluation"):
        tree, built = (open_dataset(r, split, hand) for r in (trees / layout, tmp_path / "set"))
        assert built.layout == tree.layout == layout and built.names == tree.names
        assert (built.ground_truth is None) == (tree.ground_truth is None) == (split == "train")
        for i in range(len(tree)):
            one, other = tree.frame(i), built.frame(i)
            for field in LABELS.keys() - {"origin", "full_size", "left"}:
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
            # The strongest augmentation that the set was built for.
            rngs = [None, None] if split == "evaluation" else map(np.random.default_rng, [i, i])
            one, other = (make_sample(f, 224, r, REACH) for f, r in zip((one, other), rngs))
            assert_same(one, other, but=() if lossless else ("image",))
            difference = one["image"].astype(float) - other["image"]
            # Of a JPEG of quality 90: nothing is missing at the edges of the region.
            assert np.abs(difference).mean() < 2.5 and np.abs(difference[[0, -1]]).mean() < 4
    for one, other in zip(tree.ground_truth, built.ground_truth):
        np.testing.assert_array_equal(one, other)
    batches = [
        train_batches(open_dataset(r, "train", hand), 64, 4, seed=1)
        for r in (trees / layout, tmp_path / "set")
    ]
    assert_same(*map(next, batches), but=() if lossless else ("image",))
    batches = [
        evaluation_batches(open_dataset(r, "evaluation", hand), 64, 3)
        for r in (trees / layout, tmp_path / "set")
    ]
    assert_same(*map(next, batches), but=() if lossless else ("image",))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_official_joints_are_those_of_the_mesh(trees, hand, layout):
    """From the labels of the tree through the whole hand model, fingertips included."""
    dataset = open_dataset(trees / layout, "train", hand)
    tips = "freihand" if layout == "freihand" else "ho3d"
    for i in (0, TRAIN - 1):
        frame = dataset.frame(i)
        posed = hand.with_shape(frame.betas).with_pose(frame.pose.reshape(16, 3))
        np.testing.assert_allclose(posed.joints_21(tips) + frame.trans, frame.joints_cam, atol=1e-5)
        assert ((frame.projected_joints() >= 0) & (frame.projected_joints() < frame.size)).any()


def test_freihands_root_is_where_its_authors_program_puts_it(trees):
    """uv_root and scale place joint 9 of the mesh: ((uv - pp), f) / scale, f the mean focal length."""
    K, mano, xyz = (
        np.array(json.loads((trees / f"freihand/training_{kind}.json").read_text()))
        for kind in ("K", "mano", "xyz")
    )
    uv, scale = mano[:, 0, 58:60], mano[:, 0, 60:]
    focal = (K[:, 0, 0] + K[:, 1, 1]) / 2
    root = np.concatenate([uv - K[:, :2, 2], focal[:, None]], axis=1) / scale
    np.testing.assert_allclose(root, xyz[:, 9], atol=1e-4)


def test_any_program_reads_the_set_by_tfds_without_tensorflow(trees, hand, tmp_path):
    build("ho3d_v2", trees / "ho3d_v2", tmp_path / "set", hand, Settings(shard_frames=2), workers=1)
    builder = tfds.builder_from_directory(tmp_path / "set")
    source = builder.as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()})
    dataset = open_dataset(trees / "ho3d_v2", "train", hand)
    assert len(source) == len(dataset) == builder.info.splits["train"].num_examples
    for i, record in enumerate(source):
        assert record["name"].decode() == dataset.names[i]
        np.testing.assert_array_equal(record["labels"][:9].reshape(3, 3), dataset.frame(i).K)
    assert "tensorflow" not in sys.modules


def test_an_interrupted_build_is_no_set_and_goes_on_where_it_stopped(
    trees, hand, tmp_path, monkeypatch
):
    source, settings = trees / "ho3d_v2", Settings(shard_frames=2)
    build("ho3d_v2", source, tmp_path / "straight", hand, settings, workers=2)
    encode, calls = build_module.records.encode, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(build_module.records, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build("ho3d_v2", source, tmp_path / "set", hand, settings, workers=1)
    monkeypatch.undo()
    assert not (tmp_path / "set").exists()
    with pytest.raises(UserError, match="interrupted"):
        open_dataset(tmp_path / "set.partial", "train", hand)
    with pytest.raises(UserError, match="begun with other arguments"):
        build("ho3d_v2", source, tmp_path / "set", hand, Settings(lossless=True), workers=1)
    first = tmp_path / "set.partial" / "ho3d_v2-train.array_record-00000-of-00003"
    before = first.stat().st_mtime_ns
    build("ho3d_v2", source, tmp_path / "set", hand, settings, workers=1)
    assert (tmp_path / "set" / first.name).stat().st_mtime_ns == before
    assert {p.name for p in (tmp_path / "set").iterdir()} == {
        p.name for p in (tmp_path / "straight").iterdir()
    }
    whole, straight = (open_dataset(tmp_path / n, "train", hand) for n in ("set", "straight"))
    assert whole.names == straight.names
    for i in range(TRAIN):
        assert_same(make_sample(whole.frame(i), 64), make_sample(straight.frame(i), 64))
    with pytest.raises(UserError, match="exists"):
        build("ho3d_v2", source, tmp_path / "set", hand, settings, workers=1)


@pytest.fixture
def damaged(trees, tmp_path):
    """A tree whose training frames all but the last are bad, each in another way."""
    root = shutil.copytree(trees / "ho3d_v2", tmp_path / "damaged")
    names = (root / "train.txt").read_text().split()
    sequence = names[0].split("/")[0]
    rgb, meta = (root / "train" / sequence / part for part in ("rgb", "meta"))
    data = (rgb / "0000.png").read_bytes()
    (rgb / "0000.png").write_bytes(data[: len(data) // 2])
    (meta / "0001.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    change(meta / "0002.pkl", handJoints3D=np.full((21, 3), np.nan))
    change(meta / "0003.pkl", handPose=np.zeros(45))
    for extra in range(4, 7):
        for part, suffix in ((rgb, ".png"), (meta, ".pkl")):
            shutil.copy(part / f"0004{suffix}", part / f"{extra + 3:04d}{suffix}")
    (rgb / "0007.png").unlink()
    moved = pickle.loads((meta / "0008.pkl").read_bytes())
    change(meta / "0008.pkl", handJoints3D=moved["handJoints3D"] + [0, 0.02, 0])
    away = np.array([9, 0, 0], np.float32)
    change(
        meta / "0009.pkl",
        handJoints3D=moved["handJoints3D"] + away,
        handTrans=moved["handTrans"] + away,
    )
    numbers = (0, 1, 2, 3, 7, 8, 9, 10, 4)
    (root / "train.txt").write_text("".join(f"{sequence}/{n:04d}\n" for n in numbers))
    return root


def change(path, **fields):
    meta = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(meta | fields, protocol=2))


def test_bad_frames_are_left_out_and_named(damaged, hand, tmp_path):
    meta = next((damaged / "evaluation").glob("*/meta/0001.pkl"))
    change(meta, handBoundingBox=np.array([900.0, 10, 990, 90]))
    # Shards of which nothing is left are among them.
    settings = Settings(shard_frames=2)
    report = build("ho3d_v2", damaged, tmp_path / "set", hand, settings, workers=1)
    assert json.loads((tmp_path / "set/report.json").read_text()) == report
    reasons = [entry["reason"] for entry in report["train"]["skipped"]]
    wanted = [
        r"0000\.png: is truncated",
        r"0001\.pkl: .*os\.system",
        r"0002\.pkl: handJoints3D holds NaN",
        r"0003\.pkl: handPose has shape \(45,\)",
        r"0007\.png .*not found",
        r"0008: the MANO parameters and the labelled joints are 20\.\d mm apart",
        r"0009: the box about the hand \(.*\) is not in the picture",
        r"0010\.pkl: cannot be read",
    ]
    assert len(reasons) == len(wanted)
    for reason, pattern in zip(reasons, wanted):
        assert re.search(pattern, reason), reason
    assert (
        "(900, 10, 990, 90) is not in the picture" in report["evaluation"]["skipped"][0]["reason"]
    )
    built = open_dataset(tmp_path / "set", "train", hand)
    assert [name[-4:] for name in built.names] == ["0004"]
    assert built.frame(0).name == built.names[0]
    evaluation = open_dataset(tmp_path / "set", "evaluation", hand)
    assert len(evaluation) == len(evaluation.ground_truth[0]) == EVALUATION - 1
    assert (built.left_out, evaluation.left_out) == (8, 1)
    (warning,) = incomplete(evaluation)
    assert f"lacks 1 of the split's {EVALUATION} frames" in warning
    assert incomplete(open_dataset(damaged, "evaluation", hand)) == []
    text = summary_text(report)
    assert "train: 1 frames, 8 skipped" in text and "no whole submission" in text


def test_strict_stops_at_the_first_bad_frame_and_leaves_no_set(damaged, hand, tmp_path):
    with pytest.raises(UserError, match="is truncated"):
        build("ho3d_v2", damaged, tmp_path / "set", hand, Settings(strict=True), workers=1)
    assert not (tmp_path / "set").exists()


def test_another_hand_model_is_told_from_bad_frames(trees, tmp_path, hand):
    other = dataclasses.replace(hand, v_template=1.3 * hand.v_template)
    with pytest.raises(UserError, match=r"mm from those .*--hand=MANO_RIGHT\.pkl"):
        build("ho3d_v2", trees / "ho3d_v2", tmp_path / "set", other, workers=1)
    build("ho3d_v2", trees / "ho3d_v2", tmp_path / "set", hand, workers=1)
    with pytest.raises(UserError, match=r"built with the hand model [0-9a-f]{12}, this run"):
        open_dataset(tmp_path / "set", "train", other)


def test_more_augmentation_than_the_set_was_built_for_is_refused(trees, hand, tmp_path):
    settings = Settings(reach=Augmentation(rotation=10.0))
    build("ho3d_v2", trees / "ho3d_v2", tmp_path / "set", hand, settings, workers=1)
    data = open_dataset(tmp_path / "set", "train", hand)
    train_batches(data, 64, 2, seed=0, augmentation=Augmentation(rotation=10.0, color=0.5))
    with pytest.raises(UserError, match=r"rotation of at most 10, .* --rotation=20"):
        train_batches(data, 64, 2, seed=0, augmentation=Augmentation(rotation=20.0))


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_set_that_lost_a_part_is_not_taken_for_whole(trees, hand, tmp_path, damage):
    build("ho3d_v2", trees / "ho3d_v2", tmp_path / "set", hand, workers=1)
    shard = next((tmp_path / "set").glob("*-train.array_record*"))
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-100])
    else:
        shard.unlink()
    with pytest.raises(UserError, match="missing or has not the"):
        open_dataset(tmp_path / "set", "train", hand)


def test_the_source_must_be_what_it_is_called(trees, hand, tmp_path):
    with pytest.raises(UserError, match="is ho3d_v3, not --dataset=ho3d_v2"):
        build("ho3d_v2", trees / "ho3d_v3", tmp_path / "set", hand, workers=1)
    build("ho3d_v2", trees / "ho3d_v2", tmp_path / "set", hand, workers=1)
    with pytest.raises(UserError, match="is built already"):
        build("ho3d_v2", tmp_path / "set", tmp_path / "again", hand, workers=1)
    with pytest.raises(UserError, match=r"train\.txt: not found"):
        build("ho3d_v2", tmp_path, tmp_path / "again", hand, workers=1)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("layout", ["ho3d_v2", "freihand"])
def test_records_keep_what_is_seen_of_the_hand_or_say_that_they_do_not(
    trees, hand, tmp_path, caplog, layout, lossless
):
    source = shutil.copytree(trees / layout, tmp_path / "tree")
    rng = np.random.default_rng(0)
    if layout == "freihand":
        for path in (source / "training/mask").iterdir():
            cv2.imwrite(str(path), np.kron(rng.integers(0, 2, (14, 14)) * 255, np.ones((16, 16))))
    else:  # something before a part of each hand
        for path in (source / "train").glob("*/depth/*.png"):
            picture = cv2.imread(str(path))
            picture[:, : int(rng.integers(200, 400))] = [0, 4, 0]  # 0.13 m
            cv2.imwrite(str(path), picture)
    built = tmp_path / "built"
    settings = Settings(lossless=lossless, shard_frames=3, masks=True)
    build(layout, source, built, hand, settings, workers=1)
    tree, records = (open_dataset(r, "train", hand, masks=True) for r in (source, built))
    hidden = 0.0
    for i in range(len(tree)):
        rngs = map(np.random.default_rng, [i, i])
        one, other = (
            make_sample(d.frame(i), 64, r, REACH, masks=True) for d, r in zip((tree, records), rngs)
        )
        assert one["has_visible"] == 1
        assert_same(one, other, but=() if lossless else ("image",))
        hidden += np.mean(~one["visible"])
    assert hidden > 0.01 and not caplog.text
    assert open_dataset(built, "train", hand).frame(0).visible is None

    plain = tmp_path / "plain"
    build(layout, source, plain, hand, Settings(lossless=lossless), workers=1)
    assert not caplog.text
    assert open_dataset(plain, "train", hand, masks=True).frame(0).visible is None
    assert "plain: was built without masks" in caplog.text and "--masks" in caplog.text


def test_masks_of_a_tree_without_any_are_refused_before_anything_is_written(trees, hand, tmp_path):
    source = shutil.copytree(trees / "ho3d_v2", tmp_path / "tree")
    for folder in (source / "train").glob("*/depth"):
        shutil.rmtree(folder)
    with pytest.raises(
        UserError, match=r"--masks: .* neither depth pictures nor masks .* copy them"
    ):
        build("ho3d_v2", source, tmp_path / "set", hand, Settings(masks=True), workers=1)
    assert not (tmp_path / "set.partial").exists()
