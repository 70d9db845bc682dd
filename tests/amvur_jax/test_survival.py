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
from ml_collections import ConfigDict
from tensorboard_events import scalars
from tiny import tiniest_config
from trees import write_ho3d

from amvur_jax import checkpoint
from amvur_jax.errors import UserError
from amvur_jax.train import train
from amvur_jax.training.optimizer import make_optimizer

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
    with checkpoint.open_manager(folder / "checkpoints", item) as checkpoints:
        args = checkpoint.ocp.args.Composite(**{item: checkpoint.ocp.args.StandardRestore()})
        return checkpoints.restore(8, args=args)[item]


def together(count, environment, *words):
    """Run as many processes, each of which finds the others by its environment, to their end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [
        start(*words, **environment(count, i), JAX_COORDINATOR_PORT=port) for i in range(count)
    ]
    outputs = [ended(process) for process in processes]
    assert [code for code, _ in outputs] == [0] * count, outputs


def slurm(count, i):
    return {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": str(count),
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_PROCID": str(i),
        "SLURM_LOCALID": str(i),
    }


def open_mpi(count, i):
    return {
        "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": str(count),
        "OMPI_COMM_WORLD_RANK": str(i),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(i),
    }


@pytest.mark.slow
def test_a_run_of_four_processes_goes_on_with_two_and_with_one_as_if_it_had_always_been_one(
    root, straight, tmp_path
):
    """Four find one another by SLURM's variables, two by Open MPI's; each holds its part of a batch."""
    # Several processes agree on a step after that at which they are asked to end.
    together(4, slurm, "asked", 1, tmp_path, root)
    first = checkpoint.newest(tmp_path)
    assert 1 <= first < 8
    together(2, open_mpi, "asked", first + 1, tmp_path, root)
    assert checkpoint.newest(tmp_path) > first
    last = train(tiniest_config(root, batch_size=8, steps=8, ema_decay=0.9), tmp_path)
    # one process writes, and what it writes is what one process alone finds
    alone, shared = (scalars(f / "tensorboard")["train/total"] for f in (straight[0], tmp_path))
    assert [step for step, _ in shared] == [step for step, _ in alone]
    found, want = ([value for _, value in logged] for logged in (shared, alone))
    np.testing.assert_allclose(found, want, rtol=5e-3)
    # What BatchNorm or softmax takes away again has rounding for a gradient, and Adam follows its sign.
    free = "['conv']['bias']", "['heatmap']['bias']"
    want = flat(straight[1]["params"])
    for name, found in flat(last["params"]).items():
        atol = 1e-3 if name.endswith(free) else 1e-5
        np.testing.assert_allclose(found, want[name], rtol=0, atol=atol, err_msg=name)


def flat(tree):
    return {
        jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree.leaves_with_path(tree)
    }


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


def save_scored(folder, *errors):
    """Save a step for each (step, error), by one process that keeps two and the best."""
    config = {"train": {"best_metric": "error_mm"}}
    saver = checkpoint.Saver(checkpoint.manager(folder, keep=2, best="error_mm"), config)
    for step, error in errors:
        saver.save(step, small_state(4, step), {}, error and {"error_mm": error})
    saver.finish()
    saver.close()
    return {p.name for p in (folder / "checkpoints").iterdir()}


def test_what_muon_leaves_out_is_no_hindrance(tmp_path):
    """Its state has holes where parameters are Adam's: it is saved, and comes back."""
    train = ConfigDict(
        {"optimizer": "muon", "learning_rate": 1.0, "steps": 9, "schedule": "cosine"}
    )
    train.update(warmup_steps=0, clip_norm=0.0)
    params = {"backbone": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)}}
    state = small_state(4) | {"model": {"params": params, "batch_stats": {}}}
    state["optimizer"] = make_optimizer(train).init(params)
    state["optimizer"] = jax.tree.map(lambda x: x + 1, state["optimizer"])
    saver = checkpoint.Saver(checkpoint.manager(tmp_path, keep=1), {"train": {}})
    saver.save(1, state, {}, None)
    saver.finish()
    saver.close()
    again, _ = checkpoint.restore_state(tmp_path, jax.tree.map(checkpoint.as_shape, state))
    assert jax.tree.structure(again["optimizer"]) == jax.tree.structure(state["optimizer"])
    jax.tree.map(np.testing.assert_array_equal, again, state)


def test_the_newest_and_the_best_stay_and_a_score_that_is_no_number_is_the_worst(tmp_path):
    errors = [(1, 9.0), (2, 5.0), (3, 7.0), (4, None), (5, float("nan")), (6, None)]
    assert save_scored(tmp_path, *errors) == {"2", "5", "6"}
    # also the best of before the run was started again
    assert save_scored(tmp_path, (7, 6.0), (8, None), (9, 5.5)) == {"2", "8", "9"}
    assert checkpoint.find(f"{tmp_path}@best") == (tmp_path / "checkpoints", 2)
    assert checkpoint.find(tmp_path) == (tmp_path / "checkpoints", 9)
    assert save_scored(tmp_path, (10, 4.0), (11, float("inf"))) == {"10", "11"}


def test_the_best_of_a_run_without_scores_is_named_as_what_it_is(tmp_path):
    save_scored(tmp_path, (1, None))
    with pytest.raises(UserError, match="no checkpoint has a validation score"):
        checkpoint.find(f"{tmp_path}@best")


def damages(folder):
    """{name of the damage: function that does it} to the files of a checkpoint."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size > 4]
    wanted = [p for p in files if p.parts[-2] != folder.name]  # not the mark that it is whole
    for path in wanted:
        name = str(path.relative_to(folder))
        yield f"{name} is lost", path.unlink
        yield (
            f"{name} is cut",
            lambda p=path: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
        )
        yield f"{name} is empty", lambda p=path: p.write_bytes(b"")


# Orbax leaves the coroutine in which it failed unfinished.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_part_is_named_or_does_no_harm(tmp_path):
    whole, state = tmp_path / "whole", small_state(2**12, 3.0)
    saver = checkpoint.Saver(checkpoint.manager(whole), {"model": {}})
    saver.save(1, state, {"step": 1})
    saver.finish()
    saver.close()
    shapes, refused = jax.tree.map(checkpoint.as_shape, state), set()
    for n, (name, _) in enumerate(damages(whole / "checkpoints" / "1")):
        copy = tmp_path / str(n)
        shutil.copytree(whole, copy)
        dict(damages(copy / "checkpoints" / "1"))[name]()
        try:
            restored, place = checkpoint.restore_state(copy, shapes)
            config = checkpoint.read_config(copy)
        except UserError as error:
            assert f"{copy}/checkpoints/1/{name.split('/')[0]}" in str(error), name
            refused.add(name.split("/")[0])
        else:
            assert config == {"model": {}} and place == {"step": 1}, name
            assert (restored["model"]["params"]["w"] == 3).all(), name
        shutil.rmtree(copy)
    assert refused == {"config", "model", "place", "training"}


def test_zeros_before_a_step_play_no_part(tmp_path):
    save_scored(tmp_path, (0, None))
    (tmp_path / "checkpoints" / "0").rename(tmp_path / "checkpoints" / "00000000")
    state, _ = checkpoint.restore_state(tmp_path, jax.tree.map(checkpoint.as_shape, small_state(4)))
    assert (state["model"]["params"]["w"] == 0).all()
    checkpoint.write_calibration(tmp_path, {"temperature": 2.0})
    assert checkpoint.read_calibration(tmp_path) == {"temperature": 2.0}
    checkpoint.write_calibration(
        tmp_path, {"temperature_given": 3.0}
    )  # of other joints: both are kept
    both = {"temperature": 2.0, "temperature_given": 3.0}
    assert checkpoint.read_calibration(tmp_path) == both
