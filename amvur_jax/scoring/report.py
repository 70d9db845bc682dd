"""The one-page report of an evaluation: tables, plots and frames in a single HTML file, nothing beside it."""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from amvur_jax.data.layouts import LAYOUTS, PROGRAMS
from amvur_jax.data.sample import make_sample
from amvur_jax.files.whole import write_whole
from amvur_jax.pictures import draw
from amvur_jax.scoring import plots
from amvur_jax.scoring.tables import TABLE, Scored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from amvur_jax.data.frame import Dataset
    from amvur_jax.evaluate import Evaluated
    from amvur_jax.inference import Predictor
    from amvur_jax.predictions.spool import Parts
    from amvur_jax.scoring.uncertainty import Points

# Of what papers report: the names in a summary of Layout.published.
QUOTED = ("pa_mpjpe_mm", "pa_mpvpe_mm", "f_al_score_5", "f_al_score_15")
TITLES = {
    "root_mpjpe_mm": "joints, wrist-relative, mm",
    "pa_mpjpe_mm": "joints, aligned, mm",
    "mpvpe_mm": "vertices, as predicted, mm",
    "pa_mpvpe_mm": "vertices, aligned, mm",
    "root_mpjpe_auc": "AUC, wrist-relative",
    "pa_mpjpe_auc": "AUC, aligned",
    "f_al_5": "F@5 mm",
    "f_al_15": "F@15 mm",
}
SIGMA_TITLES = {
    "nll": "NLL, nats a coordinate",
    "rank_correlation": "rank correlation, all points",
    "rank_correlation_frames": "rank correlation, frames",
    "ause": "AUSE",
    "coverage_50": "inside 50 %",
    "coverage_80": "inside 80 %",
    "coverage_95": "inside 95 %",
    "sigma_mm": "sigma, mm",
    "error_mm": "error, mm",
}
TYPICAL = 6

STYLE = """
:root { color-scheme: light dark; --ink: #1d2126; --soft: #626a73; --page: #fff; --card: #f4f6f8;
  --line: #dde2e7; --accent: #0a6fb0; --warn: #fff3dc; --warn-ink: #6b4a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7eb; --soft: #9aa4ae; --page: #14171a;
  --card: #1d2226; --line: #30373d; --accent: #62b5ea; --warn: #3a2e12; --warn-ink: #f0cf8a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; }
p { margin: .4rem 0; max-width: 48rem; } .soft, figcaption { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem;
  margin: 1.4rem 0; }
.tile { background: var(--card); border-radius: .6rem; padding: .75rem .9rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.25; font-weight: 650; }
.tile span { color: var(--soft); font-size: .82rem; }
.warn { background: var(--warn); color: var(--warn-ink); border-radius: .6rem; padding: .7rem 1rem;
  margin: .6rem 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); gap: 1.4rem;
  align-items: start; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; width: 100%; }
th, td { padding: .28rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td:first-child, th:first-child { text-align: left; white-space: nowrap; }
tr.ours td { color: var(--accent); font-weight: 650; }
figure { margin: 0; } figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .82rem; margin-top: .3rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1.1rem; }
.frames > figure { background: var(--card); border-radius: .6rem; padding: .6rem; }
.frames .row { display: grid; grid-template-columns: repeat(4, 1fr); gap: .45rem; }
.frames .row img { border-radius: .3rem; background: #fff; }
@media (max-width: 34rem) { .frames, .pair { grid-template-columns: 1fr; } }
"""


def write(
    predictor: Predictor,
    dataset: Dataset,
    root: str | pathlib.Path,
    records: Parts,
    found: Evaluated,
    path: pathlib.Path,
) -> None:
    """Write the report of an evaluation.

    Args:
      predictor: amvur_jax.inference.Predictor.
      dataset: the data set that was predicted.
      root: its folder.
      records: amvur_jax.predictions.spool.Parts of it.
      found: amvur_jax.evaluate.Evaluated.
      path: of the HTML file.
    """
    worst = [row["index"] for row in found.summary["worst"]]
    order = np.argsort(found.scored.scores.per_sample["pa_mpvpe"])
    spread = np.linspace(0.05, 0.75, TYPICAL) * (len(order) - 1)
    typical = [int(order[round(place)]) for place in spread]
    temperature = found.sigma["temperature"]
    frames = {
        i: pictures(predictor, dataset, records[i], temperature)
        for i in dict.fromkeys(typical + worst)
    }
    layout = dataset.layout
    synthetic = (pathlib.Path(root) / "synthetic.json").is_file()
    text = page(
        found.scored,
        found.summary,
        title="Evaluation of a hand network",
        subtitle=f"{'synthetic pictures' if synthetic else layout} in {root}, "
        f"{predictor.config['loss']['mode']} training, crops of {predictor.size} px",
        published={} if synthetic else LAYOUTS[layout].published,
        points=found.points,
        frames=frames,
        typical=typical,
    )
    write_whole(path, text.encode())


def pictures(
    predictor: Predictor, dataset: Dataset, record: np.void, temperature: float | None
) -> dict[str, np.ndarray]:
    """{caption: (224,224,3) uint8} of one frame: the crop, the true mesh, the predicted one, its sigma."""
    i, size, faces = int(record["index"]), draw.PANEL, predictor.hand.faces
    sample = make_sample(dataset.frame(i), size, crop_scale=predictor.crop_scale)
    crop, K = sample["image"], sample["K"]
    joints, vertices = (
        points[i]
        for points in dataset.ground_truth  # type: ignore[union-attr]  # there is one
    )
    moved = record["vertices_cam"] - record["joints_cam"][0] + joints[0]
    sigma_mm = draw.sigma_mm(record["vertices_log_var"], temperature)
    low, high = draw.extent(sigma_mm)
    heat = draw.heat(sigma_mm, low, high)
    return {
        "crop": crop,
        "ground truth": draw.mesh(vertices, faces, K, size, image=crop),
        "prediction": draw.mesh(moved, faces, K, size, image=crop),
        f"sigma {low:.0f}-{high:.0f} mm": draw.mesh(moved, faces, K, size, heat),
    }


def page(
    scored: Scored,
    summary: Mapping[str, Any],
    title: str,
    subtitle: str,
    published: Mapping[str, tuple[float, ...]] | None = None,
    points: Mapping[str, Points] | None = None,
    frames: Mapping[int, Mapping[str, np.ndarray]] | None = None,
    typical: Sequence[int] = (),
) -> str:
    """The HTML text.

    Args:
      scored: amvur_jax.score.Scored.
      summary: its summary, with "uncertainty" where sigmas were scored.
      title: of the page.
      subtitle: what was scored.
      published: {system: its values of QUOTED}, for comparison.
      points: {"joints", "vertices": amvur_jax.scoring.uncertainty.Points} or None.
      frames: {index: pictures} or None.
      typical: indices of frames that are not among the worst, the best first.
    """
    scores, samples = scored.scores, summary["samples"]
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">{_text(subtitle)} · {samples:,} frames · scores of the official '
        f"{PROGRAMS[scores.dataset].title} program</p>",
        _tiles(summary),
    ]
    body += [f'<p class="warn"><b>Look again:</b> {_text(w)}.</p>' for w in summary["warnings"]]
    if published:
        rows = [{"system": name, **dict(zip(QUOTED, v))} for name, v in published.items()]
        rows.append({"system": "this checkpoint", **{k: summary[k] for k in QUOTED}})
        titles = TITLES | {"f_al_score_5": "F@5 mm", "f_al_score_15": "F@15 mm"}
        body += ["<h2>Beside published systems</h2>", _table(rows, titles, ours=len(rows) - 1)]
    body += [
        "<h2>How large are the errors?</h2>",
        '<div class="pair">',
        _plot(
            plots.pck, scores, caption="Correct points by threshold; the numbers are areas (AUC)."
        ),
        _plot(plots.errors, scores, caption="Mean joint error of the frames."),
        "</div>",
    ]
    if frames and typical:
        body += ["<h2>From the best to the worse</h2>", _frames(typical, frames, scored)]
    body += ["<h2>Joint by joint</h2>", '<div class="pair">']
    body.append(_plot(plots.joints, summary["per_joint"], caption="Mean error of each joint."))
    body += [_table(summary["per_joint"], TITLES), "</div>"]
    if "per_sequence" in summary:
        body += ["<h2>Sequence by sequence</h2>", _table(summary["per_sequence"], TITLES)]
    if "uncertainty" in summary:
        body += _uncertainty(summary["uncertainty"], points)
    worst = [row["index"] for row in summary["worst"]]
    body.append(f"<h2>The {len(worst)} worst frames</h2>")
    body.append(
        _frames(worst, frames, scored)
        if frames
        else _table(
            [{k: v for k, v in r.items() if k != "index"} for r in summary["worst"]], TITLES
        )
    )
    official = [key for key in summary if key.startswith(("xyz_", "mesh_", "f_"))]
    rows = [{"score": key, "value": summary[key]} for key in official]
    body += [
        "<h2>The official scores</h2>",
        '<p class="soft">Errors in centimetres. The official alignment allows a mirror; with proper '
        f"rotations joints are off by {summary['proper_pa_mpjpe_mm']:.2f} mm and vertices by "
        f"{summary['proper_pa_mpvpe_mm']:.2f} mm.</p>",
        _table(rows, {}, digits=6),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    joints_auc = next(
        summary[k] for k in ("xyz_procrustes_al_auc3d", "xyz_al_auc3d") if k in summary
    )
    tiles = {
        "PA-MPJPE, mm": f"{summary['pa_mpjpe_mm']:.1f}",
        "PA-MPVPE, mm": f"{summary['pa_mpvpe_mm']:.1f}",
        "F@5 mm, aligned": f"{summary['f_al_score_5']:.3f}",
        "F@15 mm, aligned": f"{summary['f_al_score_15']:.3f}",
        "AUC of joints, aligned": f"{joints_auc:.3f}",
        "MPJPE, wrist-relative, mm": f"{summary['root_mpjpe_mm']:.1f}",
    }
    if "joints_2d_px" in summary:
        tiles["2D error, px of 224"] = f"{summary['joints_2d_px']:.1f}"
    cells = (f'<div class="tile"><b>{v}</b><span>{_text(k)}</span></div>' for k, v in tiles.items())
    return '<div class="tiles">' + "".join(cells) + "</div>"


def _uncertainty(sigma: Mapping[str, Any], points: Mapping[str, Points] | None) -> list[str]:
    fitted = f"fitted on the {sigma['calibration_samples']:,} others"
    where = fitted if sigma["fitted_here"] else "as stored with the checkpoint"
    rows = [
        {"points": f"{kind}, {when}"} | sigma[kind][key]
        for kind in ("joints", "vertices")
        for key, when in (("before", "as predicted"), ("after", "with the temperature"))
    ]
    joints = [
        {k: v for k, v in row.items() if k not in ("rank_correlation_frames",)}
        for row in sigma["per_joint"]
    ]
    return [
        "<h2>Does sigma say how large the error is?</h2>",
        f'<p class="soft">Of the wrist-relative positions, on {sigma["samples"]:,} frames. All variances '
        f"times {sigma['temperature']:.3g}, {where}. AUSE: 0 is "
        "perfect. Sigma and error: root mean square of a coordinate.</p>",
        _table(rows, SIGMA_TITLES, digits=3),
        '<div class="pair" style="margin-top:1.2rem">',
        _plot(
            plots.calibration,
            points,
            sigma["temperature"],
            caption="Calibration: above the diagonal sigma is too large, below too small.",
        ),
        _plot(
            plots.sparsification,
            points,
            caption="Sparsification: the nearer to the dashed line, the better sigma ranks the errors.",
        ),
        "</div>",
        '<details><summary class="soft">Every joint, with the temperature</summary>',
        _table(joints, SIGMA_TITLES, digits=3),
        "</details>",
    ]


def _frames(
    indices: Sequence[int], frames: Mapping[int, Mapping[str, np.ndarray]], scored: Scored
) -> str:
    samples, shown = scored.scores.per_sample, []
    for i in indices:
        tiles = "".join(
            f'<figure><img alt="{_text(name)}" src="{_jpeg(picture)}">'
            f"<figcaption>{_text(name)}</figcaption></figure>"
            for name, picture in frames[i].items()
        )
        root, joints, _, vertices = (1000 * samples[name][i] for name in TABLE)
        shown.append(
            f'<figure><div class="row">{tiles}</div><figcaption><b>{_text(scored.names[i])}</b> · '
            f"aligned: vertices {vertices:.1f}, joints {joints:.1f} mm · wrist-relative joints "
            f"{root:.1f} mm</figcaption></figure>"
        )
    return '<div class="frames">' + "".join(shown) + "</div>"


def _table(
    rows: Sequence[Mapping[str, object]],
    titles: Mapping[str, str],
    digits: int = 2,
    ours: int | None = None,
) -> str:
    head = "".join(f"<th>{_text(titles.get(key, key))}</th>" for key in rows[0])
    lines = []
    for n, row in enumerate(rows):
        cells = "".join(f"<td>{_number(value, digits)}</td>" for value in row.values())
        lines.append(f"<tr{' class=ours' if n == ours else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _number(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else _text(str(value))


def _plot(plot: Callable[..., Figure], *args: Any, caption: str) -> str:
    light, dark = (_uri(plots.svg(plot, *args, dark=d), "image/svg+xml") for d in (False, True))
    return (
        f'<figure><picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{_text(caption)}" src="{light}"></picture>'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _jpeg(picture: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return _uri(data.tobytes(), "image/jpeg")


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _text(value: object) -> str:
    return html.escape(str(value))
