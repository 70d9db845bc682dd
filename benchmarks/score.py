"""Scoring, reading and writing a whole evaluation split of HO-3D v2's size, each in a process of its own."""

import multiprocessing
import pathlib
import re
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import orjson
from scipy.spatial.transform import Rotation

from amvur_jax.data.readers.ground_truth import JOINTS_FILE, VERTICES_FILE
from amvur_jax.files.whole import writing
from amvur_jax.predictions.reader import open_predictions
from amvur_jax.predictions.writer import PredictionWriter, official
from amvur_jax.score import score_files
from mano_jax import load_hand

SAMPLES = 11_524
HANDS = 64


def write_hands(folder, seed=0):
    """64 true and predicted joints (21,3) and vertices (778,3), m, some 5 to 20 mm apart."""
    keys = jax.random.split(jax.random.key(seed), 3)
    hand = load_hand()
    pose = 0.3 * jax.random.normal(keys[0], (HANDS, 16, 3))
    wrong = pose + 0.15 * jax.random.normal(keys[1], pose.shape)
    sets = {}
    for name, values in (("true", pose), ("predicted", wrong)):
        posed = hand.with_shape(jnp.zeros(10)).with_pose(values.at[:, 0].set(0))
        root = posed.joints[:, :1]
        sets |= {f"{name}_joints": posed.joints_21("ho3d") - root}
        sets |= {f"{name}_vertices": posed.vertices - root}
    with writing(pathlib.Path(folder) / "hands.npz") as file:
        np.savez(file, **sets)


def stream(folder, samples, which, seed=0):
    """Yield `samples` hands in random places before the camera: joints, vertices in OpenCV axes, metres."""
    with np.load(pathlib.Path(folder) / "hands.npz") as file:
        which = [np.float64(file[f"{which}_{kind}"]) for kind in ("joints", "vertices")]
    draws = np.random.default_rng(seed)
    turns = Rotation.random(samples, draws).as_matrix()
    places = draws.uniform([-0.1, -0.1, 0.4], [0.1, 0.1, 0.8], (samples, 3))
    for i in range(samples):
        yield tuple(points[i % HANDS] @ turns[i].T + places[i] for points in which)


def write_truth(folder, samples):
    """The two files of the ground truth, at full precision as the published ones are."""
    names = {JOINTS_FILE: 0, VERTICES_FILE: 1}
    for name, part in names.items():
        with writing(pathlib.Path(folder) / name) as file:
            for n, pair in enumerate(stream(folder, samples, "true")):
                file.write(b"," if n else b"[")
                joints, vertices = pair
                # rounded like the predictions, then away from it: all sixteen digits are read
                points = official(joints, vertices, "ho3d_v2")[part] + 1e-7 / 3
                file.write(orjson.dumps(points.tolist()))
            file.write(b"]")


def write_predictions(folder, samples):
    """pred.zip."""
    truth, predicted = (stream(folder, samples, which) for which in ("true", "predicted"))
    with PredictionWriter(pathlib.Path(folder) / "pred.zip", samples) as writer:
        for hand, (joints, _) in zip(predicted, truth):
            writer.add(*hand, joints[0])


def read_predictions(folder, samples):
    """Every number of pred.zip."""
    with open_predictions(pathlib.Path(folder) / "pred.zip") as (_, vertices):
        assert sum(1 for _ in vertices) == samples


def score(folder, samples):
    """scripts/score.py without its start: read both, all metrics."""
    assert len(score_files(pathlib.Path(folder) / "pred.zip", folder).scores) == samples


def _measured(function, folder, samples, queue):
    before, start = time.process_time(), time.perf_counter()
    function(folder, samples)
    seconds, used = time.perf_counter() - start, time.process_time() - before
    queue.put({"s": seconds, "processor_s": used, "peak_mib": _peak_mib()})


def _peak_mib():
    """This process's largest resident set; ru_maxrss would count the parent's too."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status).group(1)) / 2**10


def in_process(function, folder, samples):
    """Run it in a fresh process: its seconds, processor seconds and peak memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_measured, args=(function, folder, samples, queue))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__} failed")
    return queue.get()


def run(quick):
    """Yield one row a case; the same at a quarter of the samples shows that all is linear."""
    whole = 64 if quick else SAMPLES
    with tempfile.TemporaryDirectory() as folder:
        write_hands(folder)
        for samples in (whole // 4, whole):
            write_truth(folder, samples)
            written = in_process(write_predictions, folder, samples)
            sizes = {
                "pred_zip_mb": (pathlib.Path(folder) / "pred.zip").stat().st_size / 1e6,
                "truth_mb": (pathlib.Path(folder) / VERTICES_FILE).stat().st_size / 1e6,
            }
            yield {"case": "write pred.zip", "samples": samples} | written | sizes
            for name, function in (("read pred.zip", read_predictions), ("score", score)):
                yield {"case": name, "samples": samples} | in_process(function, folder, samples)
