"""The scripts as a user meets them: help, and bad input as one message, exit code not 0, no traceback."""

import pathlib
import subprocess
import sys

import pytest
from trees import write_ho3d

from amvur_jax.runtime import cli

ROOT = pathlib.Path(__file__).parents[1]


def call(script, *flags):
    command = [sys.executable, str(ROOT / "scripts" / script), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def config(name):
    return f"--config={ROOT / 'configs' / name}"


def refused(result, *words):
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert result.stderr.count("error:") == 1
    for word in words:
        assert word in result.stderr


SCRIPTS = sorted(p.name for p in (ROOT / "scripts").glob("[!_]*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_reads(script):
    result = call(script, "--help")
    assert "python scripts/" in result.stdout
    assert "Traceback" not in result.stderr


def test_the_command_has_every_script_but_those_for_the_source_tree():
    own = {"benchmark.py", "build_hand.py", "render_pictures.py"}
    assert {f"{name}.py" for name in cli.COMMANDS} == set(SCRIPTS) - own


def test_a_config_of_ours_goes_by_its_name_and_another_is_named(tmp_path):
    for given in ("nothing", tmp_path / "nothing.py"):
        result = call("train.py", f"--config={given}", f"--workdir={tmp_path / 'run'}")
        refused(result, str(given), "ho3d_weak")
    by_name = call("train.py", "--config=ho3d_weak", f"--config.data.root={tmp_path}", "--dry_run")
    refused(by_name, "train.txt")


def test_a_missing_data_set_names_the_synthetic_one(tmp_path):
    workdir = tmp_path / "run"
    result = call(
        "train.py",
        config("ho3d_weak.py"),
        f"--workdir={workdir}",
        f"--config.data.root={tmp_path / 'nothing'}",
    )
    refused(result, "nothing", "make_synthetic.py")
    assert not workdir.exists()


def test_an_unknown_config_field_is_named(tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    result = call("train.py", config("ho3d_weak.py"), workdir, "--config.train.bath_size=8")
    refused(result, "bath_size")


def test_a_file_that_is_no_hand_model_is_refused(tmp_path):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    write_ho3d(tmp_path / "tree")
    result = call(
        "train.py",
        config("ho3d_weak.py"),
        f"--config.hand={path}",
        f"--config.data.root={tmp_path / 'tree'}",
        f"--workdir={tmp_path / 'run'}",
    )
    refused(result, str(path))
    assert not (tmp_path / "run").exists()


def test_a_folder_without_checkpoint_is_refused(tmp_path):
    result = call("evaluate.py", f"--checkpoint={tmp_path}", f"--output={tmp_path / 'out'}")
    refused(result, str(tmp_path), "checkpoints/STEP")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suite", ["score", "data"])
def test_a_suite_of_benchmarks_is_found_and_one_without_a_picture_named(tmp_path, suite):
    result = call("benchmark.py", f"--suite={suite}", f"--plot={tmp_path / 'plot.png'}")
    refused(result, f"the suite {suite} has no picture")


def test_a_flag_of_another_suite_is_named():
    result = call("benchmark.py", "--suite=score", "--samples=5")
    refused(result, "--samples", "the suite score does not take it")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--input=a.jpg", "--box=1,2,3"], ("--box=1,2,3", "x1,y1,x2,y2")),
        (["--input=a.jpg,b.jpg", "--box=1,2,3,4"], ("not of 2", "--boxes=FILE")),
        (["--input=a.jpg", "--side=left"], ("--side goes with --box",)),
        (["--input=a.jpg", "--focal=0"], ("focal=0", "26mm")),
        (["--input=a.jpg,b.mp4", "--detect=none"], ("b.mp4: is a video", "--detect=none")),
        (["--input=b.mp4", "--box=1,2,3,4"], ("b.mp4: is a video", "--box")),
    ],
)
def test_what_predict_cannot_do_is_named_before_anything_is_written(tmp_path, flags, words):
    refused(call("predict.py", f"--output={tmp_path / 'out'}", *flags), *words)
    assert not (tmp_path / "out").exists()


def test_a_missing_flag_is_named():
    refused(call("predict.py"), "--input", "--output")
