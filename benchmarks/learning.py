"""How fast the published heads, losses and schedule learn, and ours: error by training samples.

All on the same made-up hands (the root "stream"), with the same backbone, transformer (without dropout: hands
without end need none, and it takes half of a step on a CPU), crop, batch and number of steps, from random
weights; scores on the stream's evaluation split. The rows of a run are read off its checkpoints: what is
there already is not trained again, and a run that was stopped goes on.
"""

import datetime
import json
import pathlib

import numpy as np
from amvur_jax.configs import hand, ho3d_supervised, ho3d_weak, synthetic_supervised
from ml_collections import ConfigDict

from amvur_jax import checkpoint, configuration, inference
from amvur_jax.data.synthetic.stream import LAYERS, Stream
from amvur_jax.data.views import Chosen
from amvur_jax.demo import constant_predictions, score
from amvur_jax.evaluate import predictions
from amvur_jax.files.whole import append_whole
from amvur_jax.scoring.mean_hand import mean_hand
from amvur_jax.train import train

EVALUATIONS = 12
# Where a recipe's heads, losses and schedule come from; ours are in configs/hand.py.
RECIPES = {
    "weak": {"published": ho3d_weak, "ours": None},
    "supervised": {"published": ho3d_supervised, "ours": None},
}
HEADS = (
    "pose_head",
    "keypoints",
    "keypoint_head",
    "spread_head",
    "spread_cues",
    "centred_heads",
    "pose_components",
    "predict_shape",
    "step_init",
)
SCHEDULE = ("learning_rate", "schedule", "warmup_steps", "clip_norm", "ema_decay", "skeletons")


def variant(mode, recipe, samples, quick=False):
    """The config of a run: configs/hand.py with the heads, losses and schedule of the recipe."""
    c = hand.get_config()
    c.data.root, c.data.mix = "stream", ()
    c.loss.use_3d = False
    if mode == "supervised":
        labelled = synthetic_supervised.get_config()
        c.model.camera, c.model.weak_camera_init = (
            "weak_perspective",
            labelled.model.weak_camera_init,
        )
        c.loss.mode, c.loss.align_vertices, c.loss.kl = "supervised", True, labelled.loss.kl
    if RECIPES[mode][recipe]:
        source = RECIPES[mode][recipe].get_config()
        c.model.update({name: source.model[name] for name in HEADS})
        c.train.update({name: source.train[name] for name in SCHEDULE})
        c.loss = ConfigDict(source.loss)
        c.loss.photometric_samples = 4
    if quick:
        c.model.image_size, c.model.backbone.modules = 32, (0, 0, 0)
        c.train.batch_size, c.train.warmup_steps, c.loss.photometric = 4, 0, 0.0
    c.train.steps = max(1, samples // c.train.batch_size)
    c.train.checkpoint_every = max(1, c.train.steps // EVALUATIONS)
    c.train.keep, c.train.picture_every, c.eval.every = 0, 0, 0
    configuration.check(c)
    return c


def run(quick, samples=100_000, runs="runs/learning"):
    """Yield the mean hand's row and one for each checkpoint of each run; `runs`: their folders."""
    if quick:
        samples = min(samples, 8)
    dataset = Stream("evaluation", layers=32 if quick else LAYERS)
    yield {"case": "mean hand", **_mean_hand(dataset)}
    for mode, recipes in RECIPES.items():
        for recipe in recipes:
            folder = pathlib.Path(runs) / f"{mode}_{recipe}"
            train(variant(mode, recipe, samples, quick), folder)
            yield from rows(f"{mode}, {recipe}", folder, dataset)


def rows(case, folder, dataset):
    """Yield a run's row a checkpoint; folder/learning.jsonl keeps them.

    seconds: wall clock of all launches, with compiling and without evaluations.
    """
    batch_size = checkpoint.read_config(folder)["train"]["batch_size"]
    path = folder / "learning.jsonl"
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {row["samples"]: row for row in known}
    for step, seconds in _times(folder).items():
        if step * batch_size not in known:
            predictor = inference.load(folder / "checkpoints" / str(step))
            found = _scores(
                predictions(predictor, dataset, 32), dataset, predictor.size, predictor.crop_scale
            )
            row = {"case": case, "samples": step * batch_size, "seconds": seconds, **found}
            append_whole(path, (json.dumps(row) + "\n").encode())
            known[step * batch_size] = row
        yield known[step * batch_size]


def _times(folder):
    """{step: seconds that the run had taken at that checkpoint}."""
    launches = json.loads((folder / "manifest.json").read_text())["launches"]
    marks = [datetime.datetime.fromisoformat(launch["time"]).timestamp() for launch in launches]
    steps = sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())
    times, total, before = {}, 0.0, 0.0
    for step in steps:
        now = (folder / "checkpoints" / str(step)).stat().st_mtime
        # since the checkpoint before, or the launch that made this one
        total += now - max([before, *(mark for mark in marks if mark <= now)])
        times[step], before = total, now
    return times


def _scores(batches, dataset, size, crop_scale=1.0):
    found = score(batches, dataset, size, crop_scale)
    return {
        "joints_2d_px": found["joints_2d_px"],
        "root_mpjpe_mm": found["root_mpjpe_mm"],
        "pa_mpjpe_mm": found["pa_mpjpe_mm"],
    }


def _mean_hand(dataset):
    model = configuration.hand(hand.get_config())
    mean = mean_hand(Chosen(Stream("train"), np.arange(300)), model)
    found = _scores(constant_predictions(mean, dataset, 64), dataset, 64)
    return {name: found[name] for name in ("root_mpjpe_mm", "pa_mpjpe_mm")}


def plot(rows, file, kind):
    """Draw the curves into an open file: a panel an error, a line a run, dashed where it is supervised."""
    from matplotlib.figure import Figure  # not needed to measure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    units = {
        "joints_2d_px": "2D error, px of 224",
        "root_mpjpe_mm": "wrist-relative MPJPE, mm",
        "pa_mpjpe_mm": "PA-MPJPE, mm",
    }
    colors = {"published": "#d65a2e", "ours": "#0a84c6"}
    for axes, (name, label) in zip(panels, units.items()):
        for mode, recipes in RECIPES.items():
            for recipe in recipes:
                mine = [row for row in rows if row["case"] == f"{mode}, {recipe}"]
                axes.loglog(
                    [row["samples"] for row in mine],
                    [row[name] for row in mine],
                    "--" if mode == "supervised" else "-",
                    color=colors[recipe],
                    label=f"{mode}, {recipe}",
                )
        for row in rows:
            if row["case"] == "mean hand" and name in row:
                axes.axhline(row[name], color="grey", linewidth=0.8, label="mean hand")
        axes.set_xlabel("samples")
        axes.set_ylabel(label)
        axes.grid(alpha=0.2)
    panels[-1].legend(fontsize=7)
    figure.savefig(file, dpi=150, format=kind)
