"""The one-page report of an evaluation: tables, plots and frames in a single HTML file, nothing beside it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from amvur_jax.data.layouts import LAYOUTS, PROGRAMS
from amvur_jax.data.sample import make_sample
from amvur_jax.files.whole import write_whole
from amvur_jax.pictures import draw
from amvur_jax.scoring import html, plots
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
        f"<h1>{html.text(title)}</h1>",
        f'<p class="soft">{html.text(subtitle)} · {samples:,} frames · scores of the official '
        f"{PROGRAMS[scores.dataset].title} program</p>",
        _tiles(summary),
    ]
    body += [f'<p class="warn"><b>Look again:</b> {html.text(w)}.</p>' for w in summary["warnings"]]
    if published:
        rows = [{"system": name, **dict(zip(QUOTED, v))} for name, v in published.items()]
        rows.append({"system": "this checkpoint", **{k: summary[k] for k in QUOTED}})
        titles = TITLES | {"f_al_score_5": "F@5 mm", "f_al_score_15": "F@15 mm"}
        body += ["<h2>Beside published systems</h2>", html.table(rows, titles, ours=len(rows) - 1)]
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
    body += [html.table(summary["per_joint"], TITLES), "</div>"]
    if "per_sequence" in summary:
        body += ["<h2>Sequence by sequence</h2>", html.table(summary["per_sequence"], TITLES)]
    if "uncertainty" in summary:
        body += _uncertainty(summary["uncertainty"], points)
    worst = [row["index"] for row in summary["worst"]]
    body.append(f"<h2>The {len(worst)} worst frames</h2>")
    body.append(
        _frames(worst, frames, scored)
        if frames
        else html.table(
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
        html.table(rows, {}, digits=6),
    ]
    return html.document(title, body)


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
    return html.tiles(tiles)


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
        html.table(rows, SIGMA_TITLES, digits=3),
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
        html.table(joints, SIGMA_TITLES, digits=3),
        "</details>",
    ]


def _frames(
    indices: Sequence[int], frames: Mapping[int, Mapping[str, np.ndarray]], scored: Scored
) -> str:
    samples, shown = scored.scores.per_sample, []
    for i in indices:
        tiles = "".join(
            f'<figure><img alt="{html.text(name)}" src="{_jpeg(picture)}">'
            f"<figcaption>{html.text(name)}</figcaption></figure>"
            for name, picture in frames[i].items()
        )
        root, joints, _, vertices = (1000 * samples[name][i] for name in TABLE)
        shown.append(
            f'<figure><div class="row">{tiles}</div><figcaption><b>{html.text(scored.names[i])}</b> · '
            f"aligned: vertices {vertices:.1f}, joints {joints:.1f} mm · wrist-relative joints "
            f"{root:.1f} mm</figcaption></figure>"
        )
    return '<div class="frames">' + "".join(shown) + "</div>"


def _plot(plot: Callable[..., Figure], *args: Any, caption: str) -> str:
    light, dark = (plots.svg(plot, *args, dark=d) for d in (False, True))
    return html.drawing(light, dark, caption)


def _jpeg(picture: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return html.uri(data.tobytes(), "image/jpeg")
