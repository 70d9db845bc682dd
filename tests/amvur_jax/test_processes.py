"""Several processes: they predict a split as one alone would, and train without waiting for ever."""

import json
import os
import socket
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from tiny import tiny_config
from trees import write_ho3d

from amvur_jax.train import train

EVALUATE = """
from amvur_jax.runtime import cli
from amvur_jax.scripts import evaluate
cli.run(evaluate.main)
"""

TRAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from tiny import tiny_config
from amvur_jax.runtime import devices, startup
from amvur_jax.train import train
devices._SMALLEST_PART = 64  # so that parts of the tiny network are shared out
_, _, tree, run, coordinator, process = sys.argv
startup.meet_processes(coordinator, 2, int(process))
train(tiny_config(tree, steps=2, shard_parameters=True, picture_every=1), run)
"""

LATE = """
import sys, time, jax
from jax.experimental import multihost_utils
from amvur_jax.runtime import startup
startup.meet_processes(sys.argv[1], 2, int(sys.argv[2]))
jax.devices()
time.sleep(40 * int(sys.argv[2]))
multihost_utils.sync_global_devices("late")
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A tree of HO-3D, and a run on it."""
    root = tmp_path_factory.mktemp("several")
    write_ho3d(root / "tree", train=3, evaluation=5)
    train(tiny_config(root / "tree", steps=1), root / "run")
    return root


def address():
    """A place where processes can meet."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def together(script, commands, devices=1):
    """Run a script with each of the arguments at once, with so many devices; -> [(code, output)]."""
    flags = os.environ.get("XLA_FLAGS", "") + f" --xla_force_host_platform_device_count={devices}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=os.environ | {"XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for arguments in commands
    ]
    try:
        outputs = [process.communicate(timeout=400)[0] for process in started]
        return [(process.returncode, output) for process, output in zip(started, outputs)]
    finally:
        for process in started:
            process.kill()


def evaluation(root, output, *more):
    return [
        f"--checkpoint={root / 'run'}",
        f"--output={root / output}",
        "--batch_size=1",
        "--compilation_cache=",
        *more,
    ]


def scores_of(path):
    """{name: number} of the lines `name: number`."""
    return {name: float(number) for name, number in (line.split(": ") for line in open(path))}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_two_processes_write_what_one_writes(root, devices):
    """One or two devices a process; XLA may round a program of two devices otherwise than that of one."""
    one, two = f"one_{devices}", f"two_{devices}"
    where = [f"--coordinator={address()}", "--processes=2"]
    runs = [(EVALUATE, [evaluation(root, one)])]
    runs += [(EVALUATE, [evaluation(root, two, *where, f"--process={i}") for i in range(2)])]
    for script, commands in runs:
        for code, output in together(script, commands, devices):
            assert code == 0, output
    names = {p.name for p in (root / one).iterdir()}
    assert {p.name for p in (root / two).iterdir()} == names >= {"pred.zip", "scores.txt"}
    scores = [scores_of(root / name / "scores.txt") for name in (two, one)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-3, abs=1e-3)
    found, want = (
        json.loads(zipfile.ZipFile(root / name / "pred.zip").read("pred.json"))
        for name in (two, one)
    )
    for mine, other in zip(found, want, strict=True):  # joints, vertices: m, written to six digits
        np.testing.assert_allclose(mine, other, rtol=0, atol=2e-6)


@pytest.mark.slow
def test_processes_that_are_refused_all_end(root):
    (root / "held").mkdir()
    (root / "held" / "evaluation.lock").write_text("elsewhere 1 0")
    where = [f"--coordinator={address()}", "--processes=2"]
    commands = [evaluation(root, "held", *where, f"--process={i}") for i in range(2)]
    for (code, output), expected in zip(
        together(EVALUATE, commands), ("evaluation.lock", "the first process says why")
    ):
        assert code == 1 and expected in output, output
    assert [p.name for p in (root / "held").iterdir()] == ["evaluation.lock"]


@pytest.mark.slow
def test_shared_parameters_and_pictures_do_not_make_processes_wait(root):
    fixtures, where = os.path.join(os.path.dirname(__file__), "../fixtures"), address()
    commands = [(fixtures, root / "tree", root / "shared", where, i) for i in range(2)]
    for code, output in together(TRAIN, commands):
        assert code == 0, output


@pytest.mark.slow
def test_a_process_may_be_late():
    """It compiles what the other finds in its cache: XLA's CPU processes look for each other for 30 s."""
    where = address()
    for code, output in together(LATE, [(where, i) for i in range(2)]):
        assert code == 0, output
