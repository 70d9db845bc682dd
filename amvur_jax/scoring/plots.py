"""Plots of scores, as bytes: PNG for a file, SVG for a page, each in light and dark."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amvur_jax.scoring import uncertainty
from amvur_jax.scoring.metrics import THRESHOLDS, area
from amvur_jax.scoring.scores import Scores

# Okabe and Ito's colours, which colour-blind readers tell apart, light enough for dark pages.
BLUE, ORANGE, GREEN, RED = "#0a84c6", "#e08a00", "#10a37f", "#d65a2e"
_INK = {False: "#30343a", True: "#d4d8de"}


def blank(width: float, height: float, dark: bool) -> tuple[Figure, Axes]:
    """A figure, inches, and its axes, without a background."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    ink = _INK[dark]
    axes.tick_params(colors=ink, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink)
    axes.grid(color=ink, alpha=0.15, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def finish(axes: Axes, dark: bool, x: str, y: str, legend: bool = True) -> None:
    """Name the axes, and show the legend."""
    ink = _INK[dark]
    axes.set_xlabel(x, color=ink, fontsize=9.5)
    axes.set_ylabel(y, color=ink, fontsize=9.5)
    if legend:
        axes.legend(frameon=False, labelcolor=ink, fontsize=9)


def pck(scores: Scores, dark: bool = False) -> Figure:
    """Share of joints and vertices within a threshold, by threshold; the area beneath is the AUC."""
    figure, axes = blank(5.2, 3.4, dark)
    for name, label, color, line in (
        ("pa_mpjpe", "joints, aligned", BLUE, "-"),
        ("pa_mpvpe", "vertices, aligned", ORANGE, "-"),
        ("root_mpjpe", "joints, wrist-relative", BLUE, "--"),
        ("mpvpe", "vertices, as predicted", ORANGE, "--"),
    ):
        share = scores.curve(name)
        text = f"{label}: {area(share):.3f}"
        axes.plot(1000 * THRESHOLDS, share, line, color=color, label=text, linewidth=1.8)
    axes.set_xlim(0, 50)
    axes.set_ylim(0, 1.005)
    finish(axes, dark, "threshold, mm", "share of points within it")
    return figure


def errors(scores: Scores, dark: bool = False) -> Figure:
    """How the samples' errors are distributed."""
    figure, axes = blank(5.2, 3.4, dark)
    samples = scores.per_sample
    names = {"pa_mpjpe": ("joints, aligned", BLUE), "root_mpjpe": ("joints, wrist-relative", GREEN)}
    top = max(np.percentile(1000 * samples[name], 99) for name in names)
    for name, (label, color) in names.items():
        values = np.clip(1000 * samples[name], 0, top)
        axes.hist(
            values,
            bins=np.linspace(0, top, 41),  # type: ignore[arg-type]  # its stub knows no arrays
            color=color,
            alpha=0.55,
            label=label,
        )
        axes.axvline(np.median(values), color=color, linewidth=1.5)
    finish(axes, dark, "mean error of a sample, mm (line: median)", "samples")
    return figure


def joints(rows: Sequence[Mapping[str, Any]], dark: bool = False) -> Figure:
    """Error by joint: wrist-relative and aligned."""
    figure, axes = blank(5.2, 4.2, dark)
    places = np.arange(len(rows))
    for shift, name, label, color in (
        (-0.2, "root_mpjpe_mm", "wrist-relative", GREEN),
        (0.2, "pa_mpjpe_mm", "aligned", BLUE),
    ):
        axes.barh(places + shift, [r[name] for r in rows], 0.38, color=color, label=label)
    axes.set_yticks(places, [r["joint"] for r in rows], fontsize=7.5)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    finish(axes, dark, "mean error, mm", "")
    return figure


def calibration(
    points: Mapping[str, uncertainty.Points], temperature: float, dark: bool = False
) -> Figure:
    """How many points lie inside the region that should hold a share of them; the diagonal is perfect."""
    figure, axes = blank(5.2, 3.8, dark)
    levels = uncertainty.CURVE_LEVELS
    axes.plot([0, 1], [0, 1], color=_INK[dark], linewidth=1, alpha=0.6)
    for (kind, values), color in zip(points.items(), (BLUE, ORANGE)):
        before = uncertainty.coverage(values.squared, levels)
        after = uncertainty.coverage(values.squared / temperature, levels)
        axes.plot(levels, before, "--", color=color, linewidth=1.5, label=f"{kind}, as predicted")
        axes.plot(levels, after, color=color, linewidth=1.8, label=f"{kind}, with the temperature")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.005)
    finish(axes, dark, "share that a region should hold", "share of points inside it")
    return figure


def sparsification(points: Mapping[str, uncertainty.Points], dark: bool = False) -> Figure:
    """Mean error of what stays when the points with the largest sigmas leave; dashed: by the error."""
    figure, axes = blank(5.2, 3.8, dark)
    gone = 1 - uncertainty.KEPT
    for (kind, values), color in zip(points.items(), (BLUE, ORANGE)):
        by_sigma = uncertainty.sparsification(values.error, values.variance)
        by_error = uncertainty.sparsification(values.error, values.error)
        axes.plot(gone, 1000 * by_sigma, color=color, linewidth=1.8, label=f"{kind}, by sigma")
        axes.plot(
            gone, 1000 * by_error, "--", color=color, linewidth=1.2, label=f"{kind}, by the error"
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    finish(axes, dark, "share of points left out", "mean error of the others, mm")
    return figure


def svg(plot: Callable[..., Figure], *args: Any, dark: bool = False) -> bytes:
    """The plot as an SVG, its letters as outlines."""
    with matplotlib.rc_context({"svg.hashsalt": "scores"}):  # the same plot makes the same bytes
        return _save(plot(*args, dark=dark), "svg", metadata={"Date": None})


def png(plot: Callable[..., Figure], *args: Any) -> bytes:
    """The plot as a PNG on white."""
    figure = plot(*args)
    figure.patch.set(facecolor="white", alpha=1)
    return _save(figure, "png", dpi=150)


def _save(figure: Figure, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, **options)
    return file.getvalue()
