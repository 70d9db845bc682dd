"""predict.py on a photograph, many and a video: beside an older build, and MediaPipe's landmarker.

--baseline: a checkout of an older build, whose predict.py takes one picture and the box of its hand.
--mediapipe: the Python of an environment with mediapipe 1.2.3. Without them ours is measured alone. LiteRT is
measured where it is installed (extra `detect`). docs/benchmarks.md has the commands that make all three.
Seconds are of the wall; cpu_s of all cores, which a busy machine changes less.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

import cv2
import numpy as np

from amvur_jax import inference, weights
from amvur_jax.detect.detector import Detector
from amvur_jax.detect.networks import ASSETS, LANDMARKS, PALMS
from amvur_jax.files.image import read_image
from amvur_jax.files.video import VideoWriter
from amvur_jax.hands.reconstruct import Reconstructor
from amvur_jax.predict import predict

ROOT = pathlib.Path(__file__).parents[1]
PHOTO = ROOT / "amvur_jax" / "assets" / "photos" / "digit_IMG_1187_0.jpg"
# Its own peak at its end: what wait4 says of a child begins with the parent's.
PEAK = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
RATE, SIZE = 30, (640, 480)  # of the video: frames a second, px


def run(quick, baseline=None, mediapipe=None):
    """Yield rows: the command, each further photograph, a video, and memory by its length."""
    turns = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        yield from _commands(folder, baseline, turns)
        ask = stack.enter_context(_landmarker(folder, mediapipe)) if mediapipe else None
        litert = importlib.util.find_spec("ai_edge_litert") is not None
        predictor = inference.load()
        ours = {
            name: Reconstructor(predictor, Detector(backend=name))
            for name in (("opencv", "litert") if litert else ("opencv",))
        }
        yield from _photos(folder, ours, ask, turns, 4 if quick else 32)
        yield from _videos(folder, ours, ask, turns, 20 if quick else 200)
        yield from _memory(folder, (20, 40) if quick else (200, 2000))


def _command(source, cache, *flags):
    """Run predict.py of a checkout: seconds, processor seconds, and peak MiB."""
    command = [sys.executable, "-c", PEAK, str(source / "scripts" / "predict.py"), *map(str, flags)]
    own = {"PYTHONPATH": str(source), "JAX_COMPILATION_CACHE_DIR": str(cache)}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=source, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    words = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {words.decode()}")
    peak = int(words.split(b"VmHWM:")[1].split()[0]) / 1024
    return seconds, usage.ru_utime + usage.ru_stime, peak


def _commands(folder, baseline, turns):
    """From the command to the files of one photograph: first start, with nothing compiled, and later ones."""
    builds = {"ours": (ROOT, ["--overwrite"])}
    if baseline:
        box = "--box=" + ",".join(f"{x:.0f}" for x in Detector()(read_image(PHOTO))[0].box)
        before = pathlib.Path(baseline).resolve()
        # Its own weights: it may not know the network of today's.
        own = before / weights.SHIPPED.relative_to(ROOT)
        builds["baseline"] = before, [box, f"--checkpoint={own}"]
    found = {}
    for turn in range(turns):
        for start in ("cold", "warm"):
            for name, (source, flags) in builds.items():
                cache = folder / f"cache_{name}_{turn}"
                seconds = _command(
                    source, cache, f"--input={PHOTO}", f"--output={folder / name}", *flags
                )
                found.setdefault((start, name), []).append(seconds[:2])
    means = {key: np.median(rows, axis=0).tolist() for key, rows in found.items()}
    for (start, name), (seconds, cpu) in means.items():
        row = {"case": "command", "start": start, "build": name, "s": seconds, "cpu_s": cpu}
        if baseline and name == "ours":
            for other in ("cold", "warm"):
                s, cpu_s = means[other, "baseline"]
                row |= {f"of_{other}_baseline": seconds / s}
                row |= {f"cpu_of_{other}_baseline": cpu / cpu_s}
        yield row


@contextlib.contextmanager
def _landmarker(folder, python):
    """A function that asks benchmarks/landmarker.py, in a process of another Python."""
    task = folder / "hand_landmarker.task"
    with zipfile.ZipFile(task, "w", zipfile.ZIP_STORED) as archive:
        for kind in (PALMS, LANDMARKS):
            archive.writestr(kind.file, (ASSETS / kind.file).read_bytes())
    with subprocess.Popen(
        [python, pathlib.Path(__file__).with_name("landmarker.py"), task],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:

        def ask(**asked):
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())["s"]

        yield ask
        process.stdin.close()


def _timed(reconstructor, pictures, output):
    """Seconds of predict, its overlay left out of a video."""
    start = time.perf_counter()
    summary = predict(
        reconstructor, pictures, output, overwrite=True, draw=pictures[0].suffix != ".mp4"
    )
    assert summary.hands, "the photograph shows a hand"
    return time.perf_counter() - start


def _photos(folder, ours, ask, turns, count):
    """Each further photograph of one hand: what `count` more of them take."""
    photos = folder / "photos"
    photos.mkdir()
    copies = [photos / f"{i}.jpg" for i in range(1 + count)]
    for path in copies:
        shutil.copy(PHOTO, path)

    def further(reconstructor):
        first = _timed(reconstructor, copies[:1], folder / "out")
        return (_timed(reconstructor, copies, folder / "out") - first) / count

    functions = {name: lambda r=r: further(r) for name, r in ours.items()}
    if ask:
        functions["mediapipe"] = lambda: ask(photo=str(PHOTO), times=count) / count
    yield from _rows("further photo", functions, turns)


def _videos(folder, ours, ask, turns, count):
    """A video of one hand, the overlay left out: seconds a frame."""
    path = folder / "clip.mp4"
    write_clip(path, count)
    functions = {
        name: lambda r=r: _timed(r, [path], folder / "out") / count for name, r in ours.items()
    }
    if ask:
        functions["mediapipe"] = lambda: ask(video=str(path)) / count
    yield from _rows("video frame", functions, turns)


def _rows(case, functions, turns):
    """A row for each function, which gives its own seconds: the median of its turns, after one uncounted."""
    found = {name: [] for name in functions}
    for _ in range(1 + turns):
        for name, function in functions.items():
            found[name].append(function())
    medians = {name: statistics.median(seconds[1:]) for name, seconds in found.items()}
    for name, seconds in medians.items():
        row = {"case": case, "by": name, "ms": 1000 * seconds}
        if "mediapipe" in medians:
            row["of_mediapipe"] = seconds / medians["mediapipe"]
        yield row


def _memory(folder, counts):
    """Peak memory of predict.py over videos of different lengths, all compiled by a first one, uncounted."""
    for turn, count in enumerate((counts[0], *counts)):
        path = folder / f"clip_{count}.mp4"
        write_clip(path, count)
        flags = f"--input={path}", f"--output={folder / 'out'}", "--overwrite", "--overlay=False"
        peak = _command(ROOT, folder / "cache_ours_0", *flags)[2]
        if turn:
            yield {"case": "memory", "frames": count, "peak_mib": peak}


def write_clip(path, count):
    """A video of `count` frames: the photograph in a wider picture, under a window that goes to and fro."""
    width, height = SIZE
    photo = cv2.resize(read_image(PHOTO), (height, height))
    wide = cv2.copyMakeBorder(photo, 60, 60, 240, 240, cv2.BORDER_REPLICATE)
    room = np.array([wide.shape[1] - width, wide.shape[0] - height]) / 2
    with VideoWriter(path, SIZE, [i / RATE for i in range(count)]) as video:
        for i in range(count):
            swing = np.sin(2 * np.pi * i / RATE / np.array([3.0, 4.0]))
            x, y = np.rint(room * (1 + 0.8 * swing)).astype(int)
            video.write(wide[y : y + height, x : x + width])
