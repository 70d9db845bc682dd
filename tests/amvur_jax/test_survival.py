"""Runs that are killed, asked to stop, out of disk or spread over processes: real processes, real signals."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard_events import scalars
from tiny import tiniest_config
from trees import write_ho3d

from amvur_jax import checkpoint
from amvur_jax.errors import UserError
from amvur_jax.train import train

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ho3d")
    write_ho3d(folder, train=11, evaluation=1)
    return folder


def start(*words, **environment):
    command = [sys.executable, str(FIXTURES / "doomed_run.py"), *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(FIXTURES)} | environment
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process):
    output = process.communicate(timeout=600)[0]
    return process.returncode, output


@pytest.fixture(scope="module")
def straight(root, tmp_path_factory):
    """A run of eight steps that nothing befell: its folder and parameters."""
    folder = tmp_path_factory.mktemp("straight")
    return folder, train(tiniest_config(root, batch_size=8, steps=8, ema_decay=0.9), folder)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(root, straight, tmp_path):
    def steps():
        return checkpoint.newest(tmp_path)

    code, output = ended(start("before", 4, tmp_path, root))
    assert (code, steps()) == (-signal.SIGKILL, 2), output
    code, output = ended(start("during", 4, tmp_path, root))
    assert (code, steps()) == (-signal.SIGKILL, 2), output
    # half a checkpoint lies there, and is nobody's
    assert [p.name for p in (tmp_path / "checkpoints").iterdir() if not p.name.isdigit()]
    code, output = ended(start("after", 4, tmp_path, root))
    assert (code, steps()) == (-signal.SIGKILL, 4), output
    code, output = ended(start("asked", 5, tmp_path, root))
    assert (code, steps()) == (0, 5), output
    assert "stopped by SIGTERM, saved at step 5" in output
    train(tiniest_config(root, batch_size=8, steps=8, ema_decay=0.9), tmp_path)
    for item in ("model", "average", "training"):
        found, want = (_stored(folder, item) for folder in (tmp_path, straight[0]))
        jax.tree.map(np.testing.assert_array_equal, found, want)


def _stored(folder, item):
    """An item of the checkpoint of step 8, as it lies there."""
    with checkpoint.open_manager(folder / "checkpoints") as checkpoints:
        args = checkpoint.ocp.args.Composite(**{item: checkpoint.ocp.args.StandardRestore()})
        return checkpoints.restore(8, args=args)[item]


@pytest.mark.slow
def test_two_processes_train_as_one_does(root, straight, tmp_path):
    """They find one another by SLURM's variables; each holds half of a batch."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    slurm = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "JAX_COORDINATOR_PORT": str(port),
    }
    processes = [
        start("never", 0, tmp_path, root, **slurm, SLURM_PROCID=str(i), SLURM_LOCALID=str(i))
        for i in range(2)
    ]
    for process in processes:
        code, output = ended(process)
        assert code == 0, output
    # one process writes, and what it writes is what one process alone finds
    alone, together = (scalars(f / "tensorboard")["train/total"] for f in (straight[0], tmp_path))
    assert [step for step, _ in together] == [step for step, _ in alone]
    found, want = ([value for _, value in logged] for logged in (together, alone))
    np.testing.assert_allclose(found, want, rtol=5e-3)
    shapes = jax.tree.map(checkpoint.as_shape, straight[1])
    checkpoint.restore_model(tmp_path, shapes)  # onto the one device here


def small_state(size, value=0.0):
    """A state as the step has it, of `size` numbers."""
    return {
        "model": {"params": {"w": jnp.full(size, value)}, "batch_stats": {}},
        "optimizer": {"mu": jnp.full(size, value)},
        "step": jnp.int32(0),
    }


@contextlib.contextmanager
def small_disk(folder, mib):
    """A file system of so many MiB in a folder."""
    mount = shutil.which("mount")
    size = f"size={mib}m"
    if not mount or subprocess.run([mount, "-t", "tmpfs", "-o", size, "tmpfs", folder]).returncode:
        pytest.skip("the right to mount a file system is missing: run the tests as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_said_and_the_checkpoint_before_is_whole(tmp_path):
    with small_disk(tmp_path, mib=6):
        saver = checkpoint.Saver(checkpoint.manager(tmp_path), {"config": "as it was"})
        saver.save(1, small_state(2**18, 1.0), {"step": 1})
        saver.finish()
        rng = np.random.default_rng(0)  # not to be compressed
        noise = jnp.asarray(rng.normal(size=2**21), jnp.float32)
        large = {"model": {"params": {"w": noise}, "batch_stats": {}}, "step": jnp.int32(2)}
        with pytest.raises(UserError, match=r"checkpoint of step 2 .* the one of step 1 is intact"):
            saver.save(2, large, {"step": 2})
            saver.finish()
        saver.close()
        shapes = jax.tree.map(checkpoint.as_shape, small_state(2**18))
        state, place = checkpoint.restore_state(tmp_path, shapes)
        assert place == {"step": 1}
        np.testing.assert_array_equal(state["model"]["params"]["w"], np.ones(2**18))


def test_what_is_saved_is_what_was_there_though_the_buffers_are_used_again(tmp_path):
    saver = checkpoint.Saver(checkpoint.manager(tmp_path), {})
    state = small_state(2**20, 1.0)
    double = jax.jit(lambda s: jax.tree.map(lambda x: 2 * x, s), donate_argnums=0)
    saver.save(1, state, {})
    for _ in range(3):
        state = double(state)
    saver.finish()
    saver.close()
    restored, _ = checkpoint.restore_state(
        tmp_path, jax.tree.map(checkpoint.as_shape, small_state(2**20))
    )
    np.testing.assert_array_equal(restored["model"]["params"]["w"], np.ones(2**20))


def test_the_newest_and_the_best_stay(tmp_path):
    saver = checkpoint.Saver(checkpoint.manager(tmp_path, keep=2, best="error_mm"), {})
    for step, error in ((1, 9.0), (2, 5.0), (3, 7.0), (4, None), (5, 8.0), (6, None)):
        saver.save(step, small_state(4), {}, error and {"error_mm": error})
    saver.finish()
    saver.close()
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"2", "5", "6"}
