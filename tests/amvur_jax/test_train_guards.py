"""What a run refuses, leaves out or only tells, before and in the middle of training."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from tensorboard_events import events, scalars
from tensorboardX.proto.event_pb2 import SessionLog
from tiny import tiniest_config, tiny_config

import mano_jax
from amvur_jax import checkpoint, configuration, inference
from amvur_jax.data.batches import train_batches
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.readers.kinematics import hand_id
from amvur_jax.errors import UserError
from amvur_jax.train import train
from amvur_jax.training import log
from amvur_jax.training.metrics import read_metrics


def test_a_diverging_run_stops_with_the_step(tree, tmp_path):
    config = tiniest_config(tree, learning_rate=1e38, warmup_steps=0, bad_steps=1)
    config.train.checkpoint_every = 1
    with pytest.raises(UserError, match="not finite at step 3"):
        train(config, tmp_path)
    left = [json.loads((tmp_path / "bad_steps" / f"{n}.json").read_text()) for n in (2, 3)]
    names = HO3D(tree).names
    for n, record in enumerate(left, start=1):
        batches = train_batches(HO3D(tree), 32, 2, seed=0, start_step=n)
        assert record["frames"] == [names[i] for i in next(batches)["index"]]
    # nothing of it is in what was saved, perhaps before the host knew of step 2
    saved = [p for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
    assert "1" in {p.name for p in saved}
    shapes = configuration.network(config).shapes
    for path in saved:
        leaves = jax.tree.leaves(checkpoint.restore_model(path, shapes))
        assert all(np.isfinite(leaf).all() for leaf in leaves)


def test_the_host_reads_no_metrics_that_are_not_there(tmp_path):
    class Slow:
        read = 0

        def copy_to_host_async(self):
            pass

        def is_ready(self):
            return False

        def __array__(self, *args, **kwargs):
            Slow.read += 1
            return np.float32(0)

    settings = tiny_config("").train
    metrics = {n: Slow() for n in ("total", "skipped", "skipped_in_a_row")} | {"frames": {}}
    diary = log.Journal(tmp_path, settings, 0, None)
    for step in range(1, 5):
        diary.add(step, dict(metrics))
    assert Slow.read == 0
    diary.flush()
    assert Slow.read == 12
    diary.close()


def journal_of(folder, start, steps, **values):
    """Steps of a run in a journal that logs every second one; values: {metric: by step}."""
    settings = tiny_config("", log_every=2, steps=100).train
    diary = log.Journal(folder, settings, start, lambda frames: [])
    for step in steps:
        metrics = {name: by_step[step] for name, by_step in values.items()}
        metrics |= {"skipped": 0, "skipped_in_a_row": int(not np.isfinite(metrics["total"]))}
        diary.add(step, jax.tree.map(np_like, metrics) | {"frames": {"index": np_like(0)}})
    diary.flush()
    diary.close()


def np_like(value):
    return jax.numpy.asarray(value, jax.numpy.float32)


def test_curves_are_means_of_the_steps_since_the_last_and_go_on_where_a_run_does(tmp_path):
    total = {1: 3.0, 2: 5.0, 3: float("nan"), 4: 8.0, 5: 1.0, 6: 2.0}
    rate = {step: step / 8 for step in total}
    journal_of(tmp_path, 0, [1, 2, 3, 4, 5, 6], total=total, learning_rate=rate)
    found = scalars(tmp_path / "tensorboard")
    assert found["train/total"] == [(2, 4.0), (4, 8.0), (6, 1.5)]
    assert found["train/learning_rate"] == [(2, 0.25), (4, 0.5), (6, 0.75)]
    assert found["largest/total"] == [(2, 5.0), (4, 8.0), (6, 2.0)]
    assert not {name for name in found if name.startswith("largest/")} - {"largest/total"}
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["train"]["total"]) for line in lines] == found["train/total"]
    assert [(line["step"], line["largest"]) for line in lines] == [
        (step, {"total": value}) for step, value in found["largest/total"]
    ]
    # killed, and gone on with from step 4: TensorBoard is told that what was later is void
    before = set((tmp_path / "tensorboard").iterdir())
    journal_of(tmp_path, 4, [5, 6], total=total, learning_rate=rate)
    (new,) = set((tmp_path / "tensorboard").iterdir()) - before
    starts = [e for e in events(new) if e.session_log.status == SessionLog.START]
    assert [event.step for event in starts] == [5]
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [2, 4, 6]


def test_a_trace_of_a_step_that_does_not_come_is_refused(tree, tmp_path):
    with pytest.raises(UserError, match=r"--profile=9: the run has steps 1 to 4"):
        train(tiny_config(tree), tmp_path / "run", profile=9)
    assert not (tmp_path / "run").exists()


def test_groups_of_data_without_sequences_are_refused_before_anything_is_written(tmp_path):
    entry = {"file": "a.jpg", "hand": "right", "joints": np.eye(21, 2).tolist()}
    (tmp_path / "hands.json").write_text(json.dumps(4 * [entry]))
    config = tiniest_config(tmp_path)
    config.data.group = 2
    with pytest.raises(UserError, match=r"config\.data\.group=2: no frame of .* is known to be of"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_what_it_takes_and_writes_nothing(tree, tmp_path, capsys):
    config = tiny_config(tree)
    assert train(config, tmp_path / "run", dry_run=True) is None
    shown = capsys.readouterr().out
    state = inference.untrained(configuration.to_dict(config)).state
    count = sum(leaf.size for leaf in jax.tree.leaves(state["params"]))
    assert f"{count:,}" in shown
    for word in ("GFLOP", "MiB of temporaries", "uint8[2, 32, 32, 3]"):
        assert word in shown
    assert not (tmp_path / "run").exists()


def finished(config, folder):
    """Leave the checkpoint of a run that has done all its steps, its parameters zeros."""
    settings = configuration.to_dict(config) | {"hand_id": hand_id(configuration.hand(config))}
    shapes = configuration.network(config).shapes
    state = {"model": jax.tree.map(lambda s: jax.numpy.zeros(s.shape, s.dtype), shapes)}
    saver = checkpoint.Saver(checkpoint.manager(folder), settings)
    saver.save(config.train.steps, state | {"step": np_like(0)}, {})
    saver.finish()
    saver.close()


def test_a_run_that_goes_on_does_without_what_it_started_from(tree, tmp_path, capsys):
    config = tiniest_config(tree)
    config.init_from = str(tmp_path / "deleted")
    with pytest.raises(UserError, match=r"deleted: no checkpoint here"):
        train(config, tmp_path / "run")
    finished(config, tmp_path / "run")
    assert not any(leaf.any() for leaf in jax.tree.leaves(train(config, tmp_path / "run")))
    assert "all 4 steps are done" in capsys.readouterr().out


def test_a_run_goes_on_with_the_same_hand_wherever_it_lies_and_with_no_other(tree, tmp_path):
    hand = mano_jax.load_hand()
    other = dataclasses.replace(hand, v_template=hand.v_template * 1.01)
    places = {name: str(tmp_path / f"{name}.npz") for name in ("first", "copy", "other")}
    for name, place in places.items():
        mano_jax.save_hand(place, other if name == "other" else hand)
    config = tiniest_config(tree)
    config.hand = places["first"]
    finished(config, tmp_path / "run")
    (tmp_path / "first.npz").unlink()
    config.hand = places["copy"]
    train(config, tmp_path / "run")
    mano_jax.save_hand(places["first"], other)
    for config.hand in (places["other"], places["first"]):
        with pytest.raises(UserError, match=r"another config\.hand"):
            train(config, tmp_path / "run")


def test_more_samples_than_frames_is_refused_before_anything_is_written(tree, tmp_path):
    with pytest.raises(UserError, match=r"config\.train\.batch_size: 64"):
        train(tiny_config(tree, batch_size=64), tmp_path / "run")
    assert not (tmp_path / "run").exists()
