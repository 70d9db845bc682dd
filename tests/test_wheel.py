"""The product as pip gives it: the wheel, in an environment of its own, away from the source tree."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest
from tiny import tiniest_config

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_trains_predicts_and_scores(tmp_path):
    def run(*command):
        environment = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            [*map(str, command)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir=wheel", ROOT)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"amvur_jax", "mano_jax", "render"}
    assert {f"{top}/py.typed" for top in tops} <= set(names)
    for name in ("hand_detector.tflite", "hand_landmarks_detector.tflite", "LICENSE", "NOTICE"):
        assert f"amvur_jax/detect/assets/{name}" in names
    for name in ("page.html", "page.css", "page.js", "three.min.js", "LICENSE"):
        assert f"amvur_jax/assets/page/{name}" in names
    run(sys.executable, "-m", "venv", "fresh")
    run("fresh/bin/python", "-m", "pip", "install", "--quiet", wheel)

    amvur = tmp_path / "fresh" / "bin" / "amvur"
    assert "synthetic_weak" in run(amvur)
    run(amvur, "make_synthetic", "--output=data", "--train=4", "--evaluation=2")
    config, flags = tiniest_config("data", steps=2), []
    for part in ("data", "model", "model.backbone", "loss", "eval", "train"):
        # what the test's config changes of the one in the wheel
        for name, value in (
            config[part].items() if "." not in part else config.model.backbone.items()
        ):
            if not hasattr(value, "items") and value is not None and value != ():
                flags.append(f"--config.{part}.{name}={value}")
    run(amvur, "train", "--config=synthetic_weak", "--workdir=run", *flags)
    run(amvur, "evaluate", "--checkpoint=run", "--output=run")
    run(amvur, "score", "--prediction=run/pred.zip", "--ground_truth=data", "--output=scores")
    assert (tmp_path / "run" / "scores.txt").read_text() == (
        tmp_path / "scores" / "scores.txt"
    ).read_text()
    picture = sorted((tmp_path / "data" / "evaluation").glob("*/rgb/*.png"))[0]
    flags = ["--detect=none", "--obj", f"--input={picture}", "--output=out"]
    run(amvur, "predict", "--checkpoint=run", *flags)
    found = {p.suffix for p in (tmp_path / "out").iterdir()}
    assert found == {".jpg", ".obj", ".glb", ".npz", ".jsonl"}
