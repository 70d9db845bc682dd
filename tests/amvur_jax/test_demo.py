"""The demo's whole path on a few frames; what it learns in ten minutes is not for a test."""

import json
import re
import zipfile

import cv2
import numpy as np
import pytest
from documents import python_blocks
from tensorboard_events import scalars
from tiny import tiny_config

from amvur_jax import checkpoint, demo


@pytest.mark.slow
def test_the_demo_leaves_everything_that_it_promises(tmp_path, capsys):
    config = tiny_config("")
    config.eval.every = 2
    rows = demo.run(config, tmp_path, frames=(6, 3))
    left = {p.name for p in tmp_path.iterdir()}
    promised = {
        "checkpoints",
        "pred.zip",
        "scores.json",
        "overview.png",
        "tensorboard",
        "manifest.json",
    }
    assert promised <= left
    assert set(rows) == {"untrained network", "mean hand", "after training"}
    assert json.loads((tmp_path / "scores.json").read_text()) == rows["after training"]
    assert len(json.loads(zipfile.ZipFile(tmp_path / "pred.zip").read("pred.json"))[0]) == 3
    assert cv2.imread(str(tmp_path / "overview.png")).shape[1] > 6 * 224
    assert {p.suffix for p in (tmp_path / "prediction").iterdir()} == {
        ".glb",
        ".jpg",
        ".jsonl",
        ".npz",
    }
    # scored on the way, which says which checkpoint is the best
    scored = scalars(tmp_path / "tensorboard")["eval/pa_mpjpe_mm"]
    assert [step for step, _ in scored] == [2, 4]
    best = min(scored, key=lambda entry: (entry[1], -entry[0]))[0]
    assert checkpoint.find(f"{tmp_path}@best")[1] == best
    # the library's example in the README
    crops = np.zeros((2, 32, 32, 3), np.uint8)
    found = {"crops": crops}
    exec(python_blocks("README.md")[0].replace("runs/demo", str(tmp_path)), found)
    assert found["hand"].vertices.mu.shape == (2, 778, 3)
    shown = capsys.readouterr().out
    assert re.search(r"first step after .* s: imports .*data .*state .*compile .*first step", shown)
    assert f"{rows['mean hand']['root_mpjpe_mm']:.1f}" in shown
    # started again it neither trains nor renders anew, and says the same
    before = (tmp_path / "data" / "synthetic.json").stat().st_mtime_ns
    assert demo.run(config, tmp_path, frames=(6, 3)) == rows
    assert (tmp_path / "data" / "synthetic.json").stat().st_mtime_ns == before


def test_photographs_stand_beside_what_is_found_in_them():
    """Of a reconstructor that finds nothing the two are alike: ten photographs, five in a row."""
    photos = sorted(demo.PHOTOS.glob("*.jpg"))
    assert len(photos) == 10

    def nothing(image):
        return []

    nothing.faces = np.zeros((0, 3), int)
    sheet = demo.photo_sheet(nothing)
    assert sheet.shape == (2 * 160, 10 * 160, 3)
    left, right = (sheet[:160, x : x + 160].astype(int) for x in (0, 160))
    assert np.abs(left - right).mean() < 6 and left.std() > 20


def test_of_several_processes_the_others_train_and_evaluate_with_the_first(tmp_path, monkeypatch):
    """Of what only the first makes they do nothing; what takes all of them they do, in order."""
    done = []

    def noted(name):
        return lambda *_, **__: done.append(name)

    monkeypatch.setattr(demo.jax, "process_index", lambda: 1)
    monkeypatch.setattr(demo.jax, "process_count", lambda: 2)
    monkeypatch.setattr(demo.multihost_utils, "sync_global_devices", noted("meet"))
    monkeypatch.setattr(demo.inference, "load", noted("load"))
    for name in ("make_synthetic", "train", "evaluate", "save_picture", "write_json", "predict"):
        monkeypatch.setattr(demo, name, noted(name))
    assert demo.run(tiny_config(""), tmp_path) == {}
    assert done == ["meet", "train", "load", "evaluate"]
    assert not list(tmp_path.iterdir())
