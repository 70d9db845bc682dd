"""The page of a training run, or of several side by side: how far they are, their curves, their configs."""

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from amvur_jax.errors import UserError
from amvur_jax.files.places import place
from amvur_jax.files.whole import explained, write_whole
from amvur_jax.scoring import html, plots
from amvur_jax.training.metrics import METRICS, read_metrics
from mano_jax.errors import MALFORMED

REPORT = "curves.html"  # report.html is that of an evaluation, which often lies in the same folder
COLORS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED)
_POINTS = 600  # of a curve at most; more are means of neighbours
_LAST = 20  # lines that the speed is a mean of
_WIDE = 30.0  # a curve whose largest value is so many times its least is drawn by powers of ten


class Curve(NamedTuple):
    """A scalar of a run: the steps (n,), its values (n,), means of the steps before or as they were, and the
    largest of these steps (n,), NaN where that is not known."""

    steps: np.ndarray
    values: np.ndarray
    largest: np.ndarray


class Run(NamedTuple):
    """A run's folder as text, its config, its launches, and its metrics' lines."""

    folder: str
    config: dict[str, Any]
    launches: list[dict[str, Any]]
    lines: list[dict[str, Any]]


def write_report(runs: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Write one HTML file that loads nothing.

    Args:
      runs: folders of train.py, at most four.
      output: the file; None: curves.html in the first run's folder.
    Returns:
      the file.
    Raises:
      UserError: a folder has no run, or what it has is damaged; the file cannot be written.
    """
    if not 0 < len(runs) <= len(COLORS):
        raise UserError(f"--run: expected one to {len(COLORS)} folders, not {len(runs)}")
    text = page([read_run(place(folder)) for folder in runs])
    path = place(output) if output else place(runs[0]) / REPORT
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    return path


def read_run(folder: Path) -> Run:
    """A run's record.

    Raises:
      UserError: it has none, or a damaged one.
    """
    manifest = folder / "manifest.json"
    try:
        found = json.loads(manifest.read_bytes())
        config, launches = found["config"], found["launches"]
        _steps(config), [_time(launch["time"]) for launch in launches]
    except OSError as error:
        raise UserError(
            f"{manifest}: cannot be read ({error.strerror or error}); give the --workdir of train.py"
        ) from None
    except MALFORMED as error:
        raise UserError(f"{manifest}: is not what a run wrote ({error!r})") from None
    lines = read_metrics(folder / METRICS)
    if not lines:
        raise UserError(
            f"{folder / METRICS}: has no line; a run writes one every config.train.log_every steps (of an "
            "earlier version's see its tensorboard/)"
        )
    return Run(str(folder), config, launches, lines)


def page(runs: Sequence[Run]) -> str:
    """The HTML text."""
    title = runs[0].folder if len(runs) == 1 else f"{len(runs)} runs"
    body = [f"<h1>{html.text(title)}</h1>"]
    for run in runs:
        body += _head(run, alone=len(runs) == 1)
    for heading, group in (("Scores of the validation", "eval"), ("Training", "train")):
        curves = {name: [curve(run, group, name) for run in runs] for name in _names(runs, group)}
        if curves:
            body += [f"<h2>{heading}</h2>", '<div class="pair">']
            body += [_drawn(runs, name, each) for name, each in curves.items()]
            body.append("</div>")
    if len(runs) > 1:
        body += ["<h2>Where the configs differ</h2>", _differences(runs)]
    for run in runs:
        shown = html.text(json.dumps(run.config, indent=2))
        body.append(
            f'<details><summary class="soft">config of {html.text(run.folder)}</summary>'
            f"<pre>{shown}</pre></details>"
        )
    return html.document(title, body)


def curve(run: Run, group: str, name: str) -> Curve:
    """A scalar of a run; values that are not finite are left out."""
    found = [
        (line["step"], line[group][name], line.get("largest", {}).get(name))
        for line in run.lines
        if line.get(group, {}).get(name) is not None
    ]
    columns = np.array(found, float).reshape(-1, 3)  # None is NaN
    if len(columns) > _POINTS:
        parts = np.array_split(columns, _POINTS)
        steps, values = (np.array([part[:, i].mean() for part in parts]) for i in (0, 1))
        return Curve(steps, values, np.array([part[:, 2].max() for part in parts]))
    return Curve(*columns.T)


def hours(run: Run) -> float:
    """From each launch to the last line that it wrote, together."""
    starts = [_time(launch["time"]) for launch in run.launches]
    ends = [*starts[1:], datetime.datetime.max.replace(tzinfo=datetime.UTC)]
    times = [_time(line["time"]) for line in run.lines]
    total = 0.0
    for start, end in zip(starts, ends):
        inside = [time for time in times if start <= time < end]
        total += (max(inside) - start).total_seconds() if inside else 0.0
    return total / 3600


def _head(run: Run, alone: bool) -> Iterator[str]:
    """What is known of a run but its curves."""
    if not alone:
        yield f"<h2>{html.text(run.folder)}</h2>"
    last, done = run.launches[-1], run.lines[-1]["step"]
    devices = f"{last['devices']['count']} x {last['devices']['kind']}"
    about = [f"{len(run.launches)} launches", devices, f"jax {last['versions']['jax']}"]
    about += [f"git {last['git'][:12]}"] if last.get("git") else []
    yield f'<p class="soft">{html.text(" · ".join(about))}</p>'
    speed, total = curve(run, "train", "images_per_second"), curve(run, "train", "total")
    tiles = {
        f"of {_steps(run.config):,} steps": f"{done:,}",
        "samples": f"{done * run.config['train']['batch_size']:,}",
        "hours": f"{hours(run):.1f}",
    }
    if len(speed.values):
        tiles["images a second, lately"] = f"{speed.values[-_LAST:].mean():.0f}"
    if len(total.values):
        tiles["loss"] = f"{total.values[-1]:.4g}"
    for name in _names([run], "eval"):
        values = curve(run, "eval", name).values
        if len(values):
            tiles[f"{name}, at last"] = f"{values[-1]:.4g}"
    yield html.tiles(tiles)
    skipped = curve(run, "train", "skipped").values
    if len(skipped) and skipped[-1]:
        yield (
            f'<p class="warn"><b>Look again:</b> {skipped[-1]:.0f} steps were not finite and left out; their '
            f"frames are in {html.text(run.folder)}/bad_steps.</p>"
        )


def _names(runs: Sequence[Run], group: str) -> list[str]:
    """Of a group's scalars, in any of the runs, the loss first."""
    names = {name for run in runs for line in run.lines for name in line.get(group, {})}
    return sorted(names, key=lambda name: (name != "total", name))


def _drawn(runs: Sequence[Run], name: str, curves: Sequence[Curve]) -> str:
    labels = [run.folder for run in runs]
    light, dark = (plots.svg(_plot, name, labels, curves, dark=d) for d in (False, True))
    return html.drawing(light, dark, name, beneath=False)


def _plot(name: str, labels: Sequence[str], curves: Sequence[Curve], dark: bool = False) -> Figure:
    """A scalar of each run by the step; thin: the largest of the steps before."""
    figure, axes = plots.blank(5.2, 2.6, dark)
    for label, color, one in zip(labels, COLORS, curves):
        axes.plot(one.steps, one.largest, color=color, linewidth=0.5, alpha=0.5)
        axes.plot(one.steps, one.values, color=color, linewidth=1.6, label=label)
    values = np.concatenate([one.values for one in curves])
    if len(values) and values.min() > 0 and values.max() > _WIDE * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif len(values) > 1 and np.ptp(values):
        low, high = np.percentile(values, [0.5, 99.5])
        room = 0.08 * max(high - low, np.ptp(values) * 1e-3)
        axes.set_ylim(low - room, high + room)  # the largest may leave it
    plots.finish(axes, dark, "step", name, legend=len(curves) > 1)
    return figure


def _differences(runs: Sequence[Run]) -> str:
    flat = [
        {name: json.dumps(value) for name, value in flatten_dict(run.config, sep=".").items()}
        for run in runs
    ]
    names = sorted({name for one in flat for name in one})
    rows = [
        {"field": name} | {run.folder: one.get(name, "") for run, one in zip(runs, flat)}
        for name in names
        if len({one.get(name, "") for one in flat}) > 1
    ]
    return html.table(rows, {}) if rows else "<p>Nowhere.</p>"


def _steps(config: Mapping[str, Any]) -> int:
    return int(config["train"]["steps"])


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
