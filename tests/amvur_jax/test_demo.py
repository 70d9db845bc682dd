"""The demo's whole path on a few frames; what it learns in ten minutes is not for a test."""

import json
import zipfile

import cv2
import pytest
from tiny import tiny_config

from amvur_jax import demo


@pytest.mark.slow
def test_the_demo_leaves_everything_that_it_promises(tmp_path, capsys):
    rows = demo.run(tiny_config(""), tmp_path, frames=(6, 3))
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
    assert set(rows) == {"untrained network", "mean hand", "trained network"}
    assert json.loads((tmp_path / "scores.json").read_text()) == rows["trained network"]
    assert len(json.loads(zipfile.ZipFile(tmp_path / "pred.zip").read("pred.json"))[0]) == 3
    assert cv2.imread(str(tmp_path / "overview.png")).shape[1] > 6 * 224
    assert len(list((tmp_path / "prediction").iterdir())) == 3
    shown = capsys.readouterr().out
    assert f"{rows['mean hand']['root_mpjpe_mm']:.1f}" in shown
    # started again it neither trains nor renders anew, and says the same
    before = (tmp_path / "data" / "synthetic.json").stat().st_mtime_ns
    assert demo.run(tiny_config(""), tmp_path, frames=(6, 3)) == rows
    assert (tmp_path / "data" / "synthetic.json").stat().st_mtime_ns == before


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
