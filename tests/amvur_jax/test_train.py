"""Training, checkpoints, evaluation and prediction, end to end on a tiny network and data set."""

import dataclasses
import gzip
import json
import shutil
import zipfile

import cv2
import jax
import numpy as np
import pytest
from tensorboard_events import scalars
from tiny import supervised_tiny_config, tiny_config
from trees import write_ho3d

from amvur_jax import checkpoint, configuration, inference
from amvur_jax.data.crop import crop_box, crop_image, crop_matrix
from amvur_jax.data.open import open_dataset
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.errors import UserError
from amvur_jax.evaluate import evaluate
from amvur_jax.files.image import read_image
from amvur_jax.hands.place import rigid
from amvur_jax.hands.reconstruct import Box, Reconstructor
from amvur_jax.predict import predict, told
from amvur_jax.score import score_files
from amvur_jax.train import train
from amvur_jax.training import log
from amvur_jax.training.metrics import read_metrics
from amvur_jax.training.validation import Validator


@pytest.fixture(scope="module")
def compiled_at():
    """How many programs had been compiled at each step of `run`."""
    return {}


@pytest.fixture(scope="module")
def run(tree, compiled_at, tmp_path_factory):
    """A run of four steps, and the parameters that it ended with."""
    folder = tmp_path_factory.mktemp("run")
    compiled, add = [], log.Journal.add

    def counted(self, step, metrics):
        add(self, step, metrics)
        compiled_at[step] = len(compiled)

    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log.Journal, "add", counted)
        config = tiny_config(tree, picture_every=4)
        config.model.fingertips = "auto"
        return folder, train(config, folder, profile=3)


def test_a_run_leaves_what_others_rely_on(run):
    folder, model = run
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config"]["train"]["steps"] == 4
    assert manifest["launches"][0]["devices"]["count"] == len(jax.devices())
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"2", "4"}
    # what the config leaves to the data set is said
    assert checkpoint.read_config(folder)["model"]["fingertips"] == "ho3d"
    shapes = jax.tree.map(checkpoint.as_shape, model)
    restored = checkpoint.restore_model(folder, shapes)
    assert isinstance(restored, dict)
    jax.tree.map(np.testing.assert_array_equal, restored, model)
    logged = scalars(folder / "tensorboard")
    assert {step for step, _ in logged["train/total"]} == {1, 2, 3, 4}
    promised = ("p_joints_2d", "photometric", "learning_rate", "gradient_norm", "skipped")
    promised += ("images_per_second", "data_wait_share")
    assert {f"train/{name}" for name in promised} <= set(logged)
    assert [step for step, _ in logged["predictions"]] == [4]
    assert {"config/text_summary", "hand/text_summary"} <= set(logged)
    assert [line["step"] for line in read_metrics(folder / "metrics.jsonl")] == [1, 2, 3, 4]
    (trace,) = (folder / "profile").rglob("perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))
    events = events["traceEvents"] if isinstance(events, dict) else events
    # of the step alone: what it ran is there, once
    assert sum("train_step" in event.get("name", "") for event in events) > 0


def test_started_again_it_goes_on_to_the_same_parameters(run, tree, tmp_path):
    folder, straight = run
    # the schedule must be that of four steps: stop by taking the later checkpoint away
    shutil.copytree(folder, tmp_path / "again")
    shutil.rmtree(tmp_path / "again" / "checkpoints" / "4")
    again = train(tiny_config(tree), tmp_path / "again")
    jax.tree.map(np.testing.assert_array_equal, again, straight)


def test_training_moves_every_parameter_that_the_weak_loss_reaches(run, tree):
    _, model = run
    config = configuration.to_dict(tiny_config(tree))
    before = inference.untrained(config).state["params"]
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, model["params"])
    still = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(moved)
        if not leaf
    }
    # the weak-perspective heads have no part in this mode, nor have steps where means are used;
    # a key's bias cancels in the softmax; only vertex labels reach the offsets of their variances
    unused = ("prior/weak_camera", "prior/step_", "spread/vertex_offset")
    assert not {n for n in still if not n.startswith(unused) and not n.endswith("key/bias")}


def test_init_from_starts_from_those_parameters(run, tree, tmp_path):
    folder, _ = run
    config = tiny_config(tree, checkpoint_every=1, keep=4)
    config.init_from = str(folder / "checkpoints" / "2")
    shapes = configuration.network(config).shapes
    want = checkpoint.restore_model(config.init_from, shapes)["params"]
    train(config, tmp_path)
    # the learning rate of the first step, of a warm-up of one, is 0
    found = checkpoint.restore_model(tmp_path / "checkpoints" / "1", shapes)["params"]
    jax.tree.map(np.testing.assert_array_equal, found, want)


def test_evaluate_writes_the_official_archive_and_scores(run, tree, tmp_path):
    predictor = inference.load(run[0])
    scores = evaluate(predictor, tmp_path, batch_size=2, calibrate=run[0])
    assert {p.name for p in tmp_path.iterdir()} == {
        "pred.zip",
        "scores.json",
        "scores.txt",
        "pck.png",
        "report.html",
    }
    # the scores are those of the script for the file that was written, to the last digit
    again = score_files(tmp_path / "pred.zip", tree).summary()
    assert {name: scores[name] for name in again} == again
    # and those on the device, during training, agree
    config = tiny_config(tree)
    config.eval.samples = 0
    dataset = open_dataset(config.data.root, "evaluation", predictor.hand)
    found = Validator(predictor.network, predictor.hand, dataset, config)(run[1])
    assert "pa_mpjpe_mm" in found
    for key, value in found.items():
        assert value == pytest.approx(scores[key], abs=2e-3), key
    # the temperature stays with the checkpoint
    assert inference.load(run[0]).temperature == scores["uncertainty"]["temperature"]
    newest = run[0] / "checkpoints" / "4" / "calibration.json"
    newest.write_text("{}")
    with pytest.raises(UserError, match=r"calibration\.json: holds no temperature"):
        inference.load(run[0])
    newest.unlink()
    joints, vertices = json.loads(zipfile.ZipFile(tmp_path / "pred.zip").read("pred.json"))
    assert np.shape(joints) == (3, 21, 3)
    assert np.shape(vertices) == (3, 778, 3)
    wrists = [HO3D(tree, "evaluation").frame(i).wrist_cam for i in range(3)]
    np.testing.assert_allclose(np.array(joints)[:, 0], np.array(wrists) * [1, -1, -1], atol=2e-6)
    assert json.loads((tmp_path / "scores.json").read_text()) == scores
    truth = np.array(json.loads((tree / "evaluation_xyz.json").read_text()))
    want = 100 * np.linalg.norm(np.array(joints) - truth, axis=-1).mean()
    assert scores["xyz_mean3d"] == pytest.approx(want, abs=1e-3)


def test_without_ground_truth_the_archive_is_written_all_the_same(run, tmp_path):
    write_ho3d(tmp_path / "tree", train=2, evaluation=1, ground_truth=False)
    assert evaluate(inference.load(run[0]), tmp_path / "out", tmp_path / "tree") is None
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"pred.zip"}


def reconstructed(predictor, picture, frame):
    """The one hand of a frame's picture, seen by the frame's own camera."""
    reconstructor = Reconstructor(predictor, None)
    boxes = [Box(frame.box, "right")]
    (hand,) = reconstructor(read_image(picture), float(frame.K[0, 0]), boxes)
    return hand


def test_predict_writes_overlay_mesh_and_numbers(run, tree, tmp_path):
    predictor = inference.load(run[0])
    frame = HO3D(tree, "evaluation").frame(0)
    picture = next((tree / "evaluation").glob("*/rgb/0000.png"))
    calibrated = dataclasses.replace(predictor, temperature=4.0)
    boxes = {picture: [Box(frame.box, "right")]}
    summary = predict(Reconstructor(calibrated, None), [picture], tmp_path, boxes=boxes)
    assert {p.name for p in tmp_path.iterdir()} == {
        "0000_overlay.jpg",
        "0000.glb",
        "hands.jsonl",
        "hands.npz",
        "pictures.jsonl",
    }
    assert max(cv2.imread(str(tmp_path / "0000_overlay.jpg")).shape) == 640
    (line,) = (tmp_path / "hands.jsonl").read_text().splitlines()
    joints, K = (np.array(json.loads(line)[name]) for name in ("joints_cam", "K"))
    image = joints @ K.T
    np.testing.assert_allclose(
        image[:, :2] / image[:, 2:], json.loads(line)["joints_px"], atol=0.01
    )
    # sigma is 1000 sqrt(T e^l): twice what it is without the temperature of 4
    plain = reconstructed(predictor, picture, frame)
    assert not plain.sigma_calibrated and json.loads(line)["sigma_calibrated"]
    want = 2 * plain.joints_sigma_mm
    np.testing.assert_allclose(json.loads(line)["joints_sigma_mm"], want, rtol=1e-5)
    # the colours are those that the network was trained to give
    assert plain.colors.shape == (778, 3) and np.ptp(plain.colors) > 0
    said = told(summary)
    assert "(calibrated)" in said and f"index {np.sqrt((want[5:9] ** 2).mean()):.0f}" in said


@pytest.mark.slow
def test_a_supervised_run_from_end_to_end(tree, tmp_path):
    config = supervised_tiny_config(tree)
    model = train(config, tmp_path / "run")
    before = inference.untrained(configuration.to_dict(config)).state["params"]
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, model["params"])
    # what weak supervision does not reach: the weak-perspective camera, and the vertices' variances
    assert all(jax.tree.leaves(moved["prior"]["weak_camera"])) and moved["spread"]["vertex_offset"]
    predictor = inference.load(tmp_path / "run")
    scores = evaluate(predictor, tmp_path / "out", batch_size=2)
    again = score_files(tmp_path / "out" / "pred.zip", tree).summary()
    assert {name: scores[name] for name in again} == again
    # the answer is the posterior, a mesh of the network's own, turned and put before the photograph's camera
    frame = HO3D(tree, "evaluation").frame(0)
    picture = next((tree / "evaluation").glob("*/rgb/0000.png"))
    hand = reconstructed(predictor, picture, frame)
    centre, side, _ = crop_box(frame.box, frame.size)
    crop = crop_image(read_image(picture), crop_matrix(centre, side, 32), 32)
    vertices = np.asarray(predictor(crop[None]).posterior.vertices.mu[0], np.float64)
    R, t = rigid(vertices[None], hand.vertices_cam[None])
    np.testing.assert_allclose(vertices @ R[0].T + t[0], hand.vertices_cam, atol=1e-5)
    assert hand.vertices_cam[:, 2].min() > 0.1


def test_pictures_that_are_no_crops_are_refused(run):
    predictor = inference.load(run[0])
    with pytest.raises(ValueError, match=r"uint8 RGB from 0 to 255, not float32: .*\[0, 1\]"):
        predictor(np.zeros((1, 32, 32, 3), np.float32))
    for shape in ((1, 64, 64, 3), (32, 32, 3), (1, 32, 32, 1)):
        with pytest.raises(ValueError, match=r"crops are \(B, 32, 32, 3\), not"):
            predictor(np.zeros(shape, np.uint8))


def test_another_architecture_is_refused_and_nothing_is_lost(run, tree):
    folder, _ = run
    before = (folder / "manifest.json").read_bytes()
    config = tiny_config(tree)
    config.model.layers = 2
    with pytest.raises(UserError, match=r"another config\.model \(layers: 1\)"):
        train(config, folder)
    config.init_from = str(folder)
    with pytest.raises(UserError, match="encoder0/layers/layer1"):
        train(config, folder.parent / "other")
    # a start that failed leaves nothing that a corrected one trips over
    assert not (folder.parent / "other" / "manifest.json").exists()
    assert (folder / "manifest.json").read_bytes() == before


def test_nothing_is_compiled_after_the_first_steps(run, compiled_at):
    assert compiled_at[2] > 0
    assert compiled_at[4] == compiled_at[2]
