"""The batches: order, resuming, workers, shares, the end of an evaluation, damaged frames."""

import itertools
import json

import jax
import numpy as np
import pytest
from trees import write_ho3d

from amvur_jax.data import batches
from amvur_jax.data.batches import evaluation_batches, train_batches
from amvur_jax.data.mixture import Mixture
from amvur_jax.data.prefetch import DevicePrefetch
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.errors import UserError

TRAIN, EVALUATION = 7, 5


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("HO3D")
    write_ho3d(root, train=TRAIN, evaluation=EVALUATION, suffix=".jpg")
    return root


def take(batches, count):
    return list(itertools.islice(batches, count))


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x.keys() == y.keys()
        for name in x:
            np.testing.assert_array_equal(x[name], y[name], err_msg=name)


def test_each_epoch_holds_every_frame_once_in_another_order(tree):
    batches = take(train_batches(HO3D(tree), 32, 3, seed=1), 14)
    epochs = np.concatenate([batch["index"] for batch in batches]).reshape(-1, TRAIN)
    assert (np.sort(epochs, axis=1) == np.arange(TRAIN)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 3


def test_a_run_resumes_exactly_where_it_stopped(tree):
    dataset = HO3D(tree)
    whole = take(train_batches(dataset, 32, 2, seed=3), 9)
    rest = take(train_batches(dataset, 32, 2, seed=3, start_step=5), 4)
    assert_same(whole[5:], rest)


def test_the_seed_changes_the_order_and_the_jitter_changes_with_the_epoch(tree):
    dataset = HO3D(tree)
    one, other = (
        np.concatenate([b["index"] for b in take(train_batches(dataset, 32, TRAIN, s), 4)])
        for s in (0, 1)
    )
    assert (one != other).any()
    first, second = take(train_batches(dataset, 32, TRAIN, seed=0), 2)
    for i in range(TRAIN):
        a = first["crop"][first["index"] == i]
        assert np.abs(a - second["crop"][second["index"] == i]).max() > 1e-3


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_is_in_order_and_its_last_batch_is_padded(tree, workers):
    batches = list(evaluation_batches(HO3D(tree, "evaluation"), 32, 3, workers))
    assert [len(batch["image"]) for batch in batches] == [3, 3]
    valid = np.concatenate([batch["valid"] for batch in batches])
    np.testing.assert_array_equal(valid, [True] * EVALUATION + [False])
    index = np.concatenate([batch["index"] for batch in batches])
    np.testing.assert_array_equal(index[valid], np.arange(EVALUATION))


@pytest.mark.parametrize("room", [0, 640 * 480 * 3 * 4, 1 << 30])
def test_the_cache_changes_nothing_but_the_number_of_reads(tree, monkeypatch, room):
    monkeypatch.setattr(batches, "_CACHE_BYTES", room)
    monkeypatch.setattr(batches.os, "cpu_count", lambda: 1)  # no two threads at the same frame
    dataset, reads = HO3D(tree), []
    frame = dataset.frame
    dataset.frame = lambda i: reads.append(i) or frame(i)
    epochs = 6
    cached = take(train_batches(dataset, 32, TRAIN, seed=2, cache=True), epochs)
    counts = np.sort(np.bincount(reads, minlength=TRAIN))
    kept = min(room // (640 * 480 * 3), TRAIN)
    assert (counts[:kept] == 1).all() and (counts[kept:] >= epochs).all()
    assert_same(cached, take(train_batches(HO3D(tree), 32, TRAIN, seed=2), epochs))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_frame_stops_a_strict_run_and_is_named(tmp_path, workers):
    write_ho3d(tmp_path, train=4, suffix=".jpg")
    path = tmp_path / "train/TR1/rgb/0001.jpg"
    path.write_bytes(path.read_bytes()[:1000])
    batches = train_batches(HO3D(tmp_path), 32, 2, seed=0, workers=workers, strict=True)
    with pytest.raises(UserError, match=r"TR1/rgb/0001\.jpg: is truncated"):
        take(batches, 2)


def test_a_damaged_frame_teaches_nothing_and_its_neighbours_all_that_they_have(tmp_path, caplog):
    write_ho3d(tmp_path, train=4)
    whole = next(train_batches(HO3D(tmp_path), 32, 4, seed=0))
    meta = tmp_path / "train/TR1/meta/0001.pkl"
    meta.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    batch = next(train_batches(HO3D(tmp_path), 32, 4, seed=0))
    bad = batch["index"] == 1
    for name in ("has_image", "has_3d", "has_mesh", "joints_valid"):
        assert not batch[name][bad].any() and batch[name][~bad].all()
    assert "TR1/meta/0001.pkl" in caplog.text and "os.system" in caplog.text.replace(" ", ".")
    for name in whole:
        np.testing.assert_array_equal(batch[name][~bad], whole[name][~bad], err_msg=name)


def write_damaged(folder):
    """Write six frames, of which those in places 1 to 3 of the run's order are damaged; the order."""
    write_ho3d(folder, train=6)
    order = np.concatenate([b["index"] for b in take(train_batches(HO3D(folder), 32, 2, 0), 3)])
    for i in order[1:4]:
        (folder / f"train/TR{i % 2}/rgb/{i:04d}.png").write_bytes(b"no picture")
    return order


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_too_many_unreadable_frames_in_a_row_stop_a_run_across_its_batches(tmp_path, workers):
    order = write_damaged(tmp_path)

    def batches(bad_frames):
        return train_batches(HO3D(tmp_path), 32, 2, 0, workers=workers, bad_frames=bad_frames)

    stopped = batches(2)
    assert "unreadable" not in next(stopped)
    with pytest.raises(UserError) as error:
        next(stopped)
    stopped.close()
    name = HO3D(tmp_path).names[order[3]]
    for words in (f"{tmp_path}: 3 ", name, "data.bad_frames=2", "data.strict", "build_dataset.py"):
        assert words in str(error.value)
    for never in (3, 0):
        going_on = batches(never)
        assert [len(batch["index"]) for batch in take(going_on, 3)] == [2, 2, 2]
        going_on.close()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_with_any_workers_a_restored_iterator_gives_the_same_next_batch(tree, workers):
    dataset = HO3D(tree)
    straight = take(train_batches(dataset, 32, 2, seed=3), 6)
    batches = train_batches(dataset, 32, 2, seed=3, workers=workers)
    assert_same(straight[:3], take(batches, 3))
    state = json.loads(json.dumps(batches.get_state()))
    assert_same(straight[3:4], take(batches, 1))
    batches.close()
    fresh = train_batches(dataset, 32, 2, seed=3, workers=2 - workers)
    fresh.set_state(state)
    assert_same(straight[3:5], take(fresh, 2))
    fresh.close()


def test_a_state_of_other_data_is_refused(tree):
    state = train_batches(HO3D(tree), 32, 2, seed=3).get_state()
    with pytest.raises(UserError, match="seed 3, this run has 4"):
        train_batches(HO3D(tree), 32, 2, seed=4).set_state(state)


def test_processes_share_each_batch(tree):
    dataset = HO3D(tree)
    whole = take(train_batches(dataset, 32, 6, seed=5), 2)
    shares = [
        take(train_batches(dataset, 32, 6, seed=5, process_index=p, process_count=3), 2)
        for p in range(3)
    ]
    for step, batch in enumerate(whole):
        for name, values in batch.items():
            for p in range(3):
                np.testing.assert_array_equal(shares[p][step][name], values[2 * p : 2 * p + 2])
    with pytest.raises(UserError, match="6 samples cannot be shared by 4"):
        train_batches(dataset, 32, 6, seed=5, process_count=4)


def test_a_share_can_be_a_single_sample(tree):
    dataset = HO3D(tree)
    whole = take(train_batches(dataset, 32, 2, seed=5), 3)
    shares = [
        take(train_batches(dataset, 32, 2, seed=5, process_index=p, process_count=2), 3)
        for p in range(2)
    ]
    joined = [{n: np.concatenate([a[n], b[n]]) for n in a} for a, b in zip(*shares)]
    assert_same(whole, joined)


def test_prefetching_to_the_device_changes_nothing_and_keeps_the_place(tree):
    dataset = HO3D(tree)
    straight = take(train_batches(dataset, 32, 2, seed=3), 4)
    ahead = DevicePrefetch(train_batches(dataset, 32, 2, seed=3))
    first = take(ahead, 2)
    assert isinstance(first[0]["image"], jax.Array) and first[0]["image"].dtype == np.uint8
    assert_same(straight[:2], first)
    state = ahead.get_state()
    assert state["step"] == 2
    again = DevicePrefetch(train_batches(dataset, 32, 2, seed=3))
    again.set_state(state)
    assert_same(straight[2:], take(again, 2))
    assert ahead.names(first[0]) == [dataset.names[i] for i in straight[0]["index"]]


def test_batches_say_what_is_visible_where_the_mixture_asks_also_of_what_cannot_be_read(tmp_path):
    write_ho3d(tmp_path, train=TRAIN)
    (tmp_path / "train/TR0/rgb/0000.png").write_bytes(b"")
    plain = next(train_batches(HO3D(tmp_path), 32, TRAIN, seed=0))
    asked = next(train_batches(Mixture((HO3D(tmp_path),), masks=True), 32, TRAIN, seed=0))
    assert asked.keys() - plain.keys() == {"visible", "has_visible"}
    assert asked["visible"].shape == (TRAIN, 32, 32) and not asked["has_visible"].any()
    assert (asked["visible"].any((1, 2)) == (asked["index"] != 0)).all()
    assert_same([plain], [{name: asked[name] for name in plain}])
