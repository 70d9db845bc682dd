"""A long training that much befalls, beside the same one that nothing befalls: are their ends the same bits?

Both are processes of scripts/train.py, read records of made-up hands, and meet a batch whose labels are NaN.
The disturbed one is killed (SIGKILL) again and again, at any moment, 15 times in the time that the other
takes. Once its disk is full, a file system of its own where the right to mount one is there, and once half of
a shard of its records is gone: then it must end by itself, say what is wrong, and go on once that is mended.
--samples: of each run. A step of 16 takes 0.8 s of processor time (Xeon): by default each run has 6,250.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import jax
import numpy as np

from amvur_jax import checkpoint

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCH = 16
FULL, TRUNCATED = 2, 3  # the launches that find the disk full and a shard short
SPACE, ROOM = 1024, 8  # MiB of the disturbed run's disk, and what is left of them when it is full
SHARDS = 8


def run(quick, samples=100_000, runs="runs/soak"):
    """Yield a row for each thing that befell, and one for each run; starts anew."""
    folder = pathlib.Path(runs).absolute()
    straight, disturbed = folder / "straight", folder / "disturbed"
    for path in (straight, disturbed):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    steps = 24 if quick else max(120, samples // BATCH)
    records = _records(folder, 64 if quick else 2000)
    command = _command(records, steps, saves=6 if quick else 60)

    began = time.monotonic()
    code, said = _ended(_start(command, straight))
    seconds = time.monotonic() - began
    if code:
        raise RuntimeError(said)
    yield {"case": "undisturbed", "steps": steps, "seconds": seconds, **_skipped(straight)}

    with _small_disk(disturbed) as small:
        counts = dict.fromkeys(("launches", "killed", "full_disk", "truncated_shard"), 0)
        pause = 15 if quick else seconds / 15
        for event in _befall(command, disturbed, records, small, pause):
            counts["launches"] += 1
            if event:
                counts[event["case"]] += 1
                yield event | {"saved_step": checkpoint.newest(disturbed)}
        same = _same(straight, disturbed, steps)
        yield {"case": "disturbed", "steps": steps, **counts, **_skipped(disturbed), **same}


def _befall(command, workdir, records, small, pause):
    """Launch it until it is done; yield what befell each launch, None for the last.

    pause: seconds that a launch has on the average; half as much again after one that saved nothing.
    """
    rng = random.Random(0)
    for launch in range(1, 1000):
        before = checkpoint.newest(workdir)
        if launch == TRUNCATED:
            shard = sorted(records.glob("*-train.array_record-*"))[0]
            with _truncated(shard):
                code, said = _ended(_start(command, workdir))
            yield {"case": "truncated_shard", "said": _error(code, said, shard.name)}
            continue
        process = _start(command, workdir)
        if launch == FULL and small:
            while process.poll() is None and checkpoint.newest(workdir) == before:
                time.sleep(0.2)
            with _filled(workdir):
                code, said = _ended(process)
            yield {"case": "full_disk", "said": _error(code, said, "is intact")}
            continue
        try:
            process.wait(rng.uniform(0, 2 * pause))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pause *= 1.5 if checkpoint.newest(workdir) == before else 1.0
            yield {"case": "killed"}
            continue
        code, said = _ended(process)
        if code:
            raise RuntimeError(f"nothing was done to it, and it failed: {said}")
        yield None
        return


def _error(code, said, words):
    """The line of what a process said that is its error; that must have the words in it."""
    line = next((line for line in said.splitlines() if line.startswith("error: ")), "")
    if code != 1 or words not in line:
        raise RuntimeError(
            f"it ended with {code}, and not with an error that says {words!r}: {said}"
        )
    return line


def _records(folder, frames):
    """The folder of records of so many training frames, made where it is not there."""
    records = folder / f"records_{frames}"
    if not records.exists():
        source = folder / "source"
        for words in (
            ["make_synthetic.py", f"--output={source}", f"--train={frames}", "--evaluation=1"],
            [
                "build_dataset.py",
                "--dataset=ho3d_v2",
                f"--source={source}",
                f"--output={records}",
                f"--shard_frames={frames // SHARDS}",
            ],
        ):
            subprocess.run(
                [sys.executable, str(ROOT / "scripts" / words[0]), *words[1:]], check=True
            )
        shutil.rmtree(source)
    return records


def _command(records, steps, saves):
    own = [
        f"data.root={records}",
        "data.cache=False",
        "data.strict=True",
        "eval.every=0",
        f"train.steps={steps}",
        f"train.checkpoint_every={max(1, steps // saves)}",
        "train.picture_every=0",
        "train.warmup_steps=5",
        "train.ema_decay=0.99",
    ]
    flags = ["--config=synthetic_weak", *(f"--config.{field}" for field in own)]
    return [sys.executable, "-m", "benchmarks.soak_run", str(steps // 2), *flags]


def _start(command, workdir):
    """The process; what it says goes to a file beside workdir."""
    with open(workdir.with_suffix(".log"), "wb") as log:
        return subprocess.Popen(
            [*command, f"--workdir={workdir}"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _ended(process):
    """(code, what it said) of a process at its end."""
    code = process.wait()
    log = next(word for word in process.args if word.startswith("--workdir=")).split("=", 1)[1]
    return code, pathlib.Path(log).with_suffix(".log").read_text(errors="replace")


def _skipped(workdir):
    """How many steps were left out."""
    last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    return {"skipped": last["train"]["skipped"]}


def _same(one, other, steps):
    """How many arrays of the last checkpoints there are, and how many differ in a bit."""
    arrays = differ = 0
    for item in ("model", "average", "training"):
        found = [jax.tree.leaves(_stored(workdir, item, steps)) for workdir in (one, other)]
        for a, b in zip(*found, strict=True):
            arrays += 1
            differ += np.asarray(a).tobytes() != np.asarray(b).tobytes()
    return {"arrays": arrays, "differ": differ}


def _stored(workdir, item, step):
    """An item of a checkpoint, as it lies there."""
    with checkpoint.open_manager(workdir / "checkpoints", item) as checkpoints:
        args = checkpoint.ocp.args.Composite(**{item: checkpoint.ocp.args.StandardRestore()})
        return checkpoints.restore(step, args=args)[item]


@contextlib.contextmanager
def _small_disk(folder):
    """Mount a file system of SPACE there; whether it is."""
    mount = shutil.which("mount")
    words = ["-t", "tmpfs", "-o", f"size={SPACE}m", "tmpfs", str(folder)]
    small = bool(mount) and not subprocess.run([mount, *words]).returncode
    try:
        yield small
    finally:
        if small:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def _filled(folder):
    """All but ROOM of its file system is taken."""
    ballast = folder / "ballast"
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - (ROOM << 20))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def _truncated(path):
    """The second half of a file is gone."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        yield
    finally:
        path.write_bytes(whole)
