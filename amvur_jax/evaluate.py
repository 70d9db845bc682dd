"""Evaluation of a checkpoint on a split: pred.zip, the scores, those of its sigmas, and a page of both."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from tqdm import tqdm

from amvur_jax import checkpoint, weights
from amvur_jax.data.batches import evaluation_batches
from amvur_jax.data.frame import Dataset, project
from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.open import open_dataset
from amvur_jax.data.readers.photos import Photos
from amvur_jax.data.views import Share
from amvur_jax.detect.crops import joints_of
from amvur_jax.errors import UserError
from amvur_jax.files.lock import locked
from amvur_jax.files.whole import explained, write_json, write_whole
from amvur_jax.predictions.spool import Parts, PartWriter
from amvur_jax.predictions.writer import PredictionWriter, official
from amvur_jax.score import write_scores
from amvur_jax.scoring import report, uncertainty
from amvur_jax.scoring.joints_2d import score_2d, text_2d
from amvur_jax.scoring.tables import Scored, score

if TYPE_CHECKING:
    from amvur_jax.detect.detector import Detector
    from amvur_jax.inference import Predictor

REPORT_SIZE = 224  # 2D errors are given in pixels of the published crop at this side


def predictions(
    predictor: Predictor,
    dataset: Dataset,
    batch_size: int,
    workers: int = 0,
    detector: Detector | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield a dictionary of arrays a batch, in the data set's order, with a progress bar.

    detector: whose joints the network is given, or None for those that it reads off the picture. The fields
    are those of amvur_jax.predictions.spool.RECORD, and `crop` of make_sample; log-variances are those of
    `predictor.sigma`.
    """
    predictor = predictor.on_all_devices()
    devices = jax.local_device_count()
    batch_size = -(-batch_size // devices) * devices
    start = 0
    batches = evaluation_batches(dataset, predictor.size, batch_size, workers, predictor.crop_scale)
    with tqdm(total=len(dataset), unit="image", desc="evaluate", dynamic_ncols=True) as progress:
        for batch in batches:
            given = {}
            if detector is not None:
                # the copies that fill the last batch are of its last frame
                places = np.minimum(np.arange(len(batch["crop"])) + start, len(dataset) - 1)
                given = joints_of(detector, dataset, places, batch["crop"])._asdict()
            start += len(batch["crop"])
            outputs = predictor(batch["image"], 0, **given)
            answer, sigma = predictor.answer(outputs), predictor.sigma(outputs)
            arrays = jax.device_get(
                {
                    "joints_cam": answer.joints.mu,
                    "vertices_cam": answer.vertices.mu,
                    "joints_log_var": sigma.joints,
                    "vertices_log_var": sigma.vertices,
                    "joints_2d": predictor.joints_2d(outputs),
                }
            )
            arrays |= {name: batch[name] for name in ("wrist_cam", "K", "index", "crop")}
            yield {name: values[batch["valid"]] for name, values in arrays.items()}
            progress.update(int(batch["valid"].sum()))


class Evaluated(NamedTuple):
    """What an evaluation found: Scored, the summary that scores.json holds, the sigmas' scores and curves."""

    scored: Scored
    summary: dict[str, Any]
    points: dict[str, uncertainty.Points]
    sigma: dict[str, Any]


def evaluate(
    predictor: Predictor,
    output: str | pathlib.Path | None,
    data_root: str | None = None,
    batch_size: int = 32,
    calibrate: str | pathlib.Path | None = None,
    detector: Detector | None = None,
) -> dict[str, Any] | None:
    """Write output/pred.zip and, where ground truth is there, the scores and report.html.

    Of pictures with 2D labels alone (amvur_jax.data.readers.photos) only scores.txt and scores.json, of 2D.

    Every process of a run takes a share of the frames; the first one writes the files. While they do,
    output/evaluation.lock keeps other evaluations out. Reading, predicting, writing and scoring are
    streams: memory does not hold the split's vertices.

    Args:
      predictor: amvur_jax.inference.Predictor.
      output: folder; None, of 2D labels alone, to write nothing.
      data_root: the data set; None for the one in the checkpoint's config.
      batch_size: images at a time.
      calibrate: path of the checkpoint that the fitted temperature is stored with, or None.
      detector: whose joints the network is given, or None for those that it reads off the picture; each has
        a temperature of its own.
    Returns:
      The scores; None without ground truth, and on all processes but the first.
    Raises:
      UserError: the data set is not as it should be, or the folder cannot be written to or is in use.
    """
    config = predictor.config
    root = data_root or config.get("eval", {}).get("root") or config["data"]["root"]
    dataset = open_dataset(root, "evaluation", predictor.hand)
    if isinstance(dataset, Photos) and not calibrate:
        return evaluate_2d(predictor, dataset, output, batch_size, detector)
    if output is None:
        raise UserError("--output=DIR is needed: the folder of pred.zip and the scores")
    output = pathlib.Path(output)
    if calibrate and dataset.ground_truth is None:
        raise UserError(
            f"{root}: has no ground truth to fit a temperature to; add evaluation_xyz.json and "
            "evaluation_verts.json, or leave out --calibrate"
        )
    layout = dataset.layout
    process, processes = jax.process_index(), jax.process_count()
    with alone_in(output):
        with PartWriter(output, process, processes) as writer:
            share = Share(dataset, process, processes)
            for batch in predictions(
                predictor, share, batch_size, predictor.config["data"]["workers"], detector
            ):
                writer.add(batch)
        if processes > 1:
            multihost_utils.sync_global_devices("predicted")
        if process:
            return None
        records = Parts(output, processes, len(dataset))
        try:
            write_predictions(records, output / "pred.zip", layout)
            if dataset.ground_truth is None:
                for warning in incomplete(dataset):
                    logging.warning("%s", warning)
                return None
            of_joints = "temperature" if detector is None else "temperature_given"
            temperature = None if calibrate else getattr(predictor, of_joints)
            found = score_records(
                records, dataset, layout, predictor.size, temperature, predictor.crop_scale
            )
            if calibrate:
                store_temperature(found.sigma, calibrate, of_joints)
            write_scores(found.scored, output)
            found.summary["joints_from"] = "map" if detector is None else "detector"
            write_json(output / "scores.json", found.summary)
            report.write(predictor, dataset, root, records, found, output / "report.html")
            return found.summary
        finally:
            records.remove()


def evaluate_2d(
    predictor: Predictor,
    dataset: Photos,
    output: str | pathlib.Path | None,
    batch_size: int = 32,
    detector: Detector | None = None,
) -> dict[str, Any] | None:
    """Score the 2D joints of pictures that have no other labels; the first process does.

    Returns:
      The scores of amvur_jax.scoring.joints_2d, which output/scores.txt and scores.json hold; None on all
      processes but the first.
    Raises:
      UserError: a picture cannot be read, or the folder cannot be written to.
    """
    if jax.process_index():
        return None
    joints, units = [], []
    workers = predictor.config["data"]["workers"]
    for batch in predictions(predictor, dataset, batch_size, workers, detector):
        matrix = batch["crop"].astype(np.float64)
        inverse = np.linalg.inv(matrix)[:, :2]
        seen = batch["joints_2d"] * predictor.size
        joints.append(seen @ inverse[..., :2].swapaxes(1, 2) + inverse[:, None, :, 2])
        size = np.sqrt(np.abs(np.linalg.det(matrix[:, :2, :2]))) / predictor.size
        units.append(REPORT_SIZE * predictor.crop_scale * size)
    labels, confidence = dataset.joints_2d
    tracks = [(hand.sequence, hand.hand, hand.frame) for hand in dataset.hands or ()]
    scores = score_2d(np.concatenate(joints), labels, confidence, np.concatenate(units), tracks)
    if output is not None:
        output = pathlib.Path(output)
        with explained(output):
            output.mkdir(parents=True, exist_ok=True)
            write_whole(output / "scores.txt", text_2d(scores).encode())
        write_json(output / "scores.json", scores)
    return scores


@contextlib.contextmanager
def alone_in(output: pathlib.Path) -> Iterator[None]:
    """Hold a folder's lock, the first process for all of them.

    Raises:
      UserError: another evaluation holds it; on every process.
    """
    refusal: UserError | None = None
    with contextlib.ExitStack() as held:
        if jax.process_index() == 0:
            try:
                held.enter_context(locked(output / "evaluation.lock"))
            except UserError as error:
                refusal = error
        if jax.process_count() > 1:
            refused = multihost_utils.broadcast_one_to_all(np.int32(refusal is not None))
            if refused and refusal is None:
                refusal = UserError(f"{output}: is not to be had; the first process says why")
        if refusal is not None:
            raise refusal
        yield


def incomplete(dataset: Dataset) -> list[str]:
    """A list of one warning where a built set lacks frames of the official split, or of none."""
    missing = dataset.left_out
    if not missing:
        return []
    return [
        f"{dataset.root} lacks {missing} of the split's {len(dataset) + missing} frames, which building "
        "left out (report.json names them): the scores are of the others, and pred.zip is no whole "
        "submission; predict from the official folder"
    ]


def write_predictions(records: Parts, path: pathlib.Path, layout: str) -> None:
    """Write pred.zip from the records of a whole split."""
    moved = LAYOUTS[layout].official.on_wrist
    with PredictionWriter(path, len(records), layout) as writer:
        for record in tqdm(records, unit="sample", desc="pred.zip", dynamic_ncols=True, delay=2):
            wrist = record["wrist_cam"] if moved else None
            writer.add(record["joints_cam"], record["vertices_cam"], wrist)


def score_records(
    records: Parts,
    dataset: Dataset,
    layout: str,
    size: int,
    temperature: float | None = None,
    crop_scale: float = 1.0,
) -> Evaluated:
    """Score the records of a whole split against the data set's ground truth.

    size: side of the network's crop, px. crop_scale: that side, times the published one's.

    Returns:
      Evaluated; its scores are those of scripts/score.py for the pred.zip of these records.
    """
    joints, vertices = dataset.ground_truth  # type: ignore[misc]  # callers look first
    truth = official(joints, vertices[:0], layout, rounded=False)[0]
    moved = LAYOUTS[layout].official.on_wrist

    def predicted(record: np.void) -> tuple[np.ndarray, np.ndarray]:
        wrist = record["wrist_cam"] if moved else None
        return official(record["joints_cam"], record["vertices_cam"], layout, wrist)

    scored = score(
        np.stack([predicted(record)[0] for record in records]),
        (predicted(record)[1] for record in records),
        truth,
        (official(joints[:0], v, layout, rounded=False)[1] for v in vertices),
        LAYOUTS[layout].program,
        dataset.names,
    )
    scored.warnings.extend(incomplete(dataset))
    errors_2d: list[float] = []
    parts: dict[str, list[uncertainty.Points]] = {"joints": [], "vertices": []}
    for batch in records.batches():
        i = batch["index"]
        errors_2d += [error_2d_px(record, joints[record["index"]], size) for record in batch]
        root, true_root = batch["joints_cam"][:, :1], joints[i, :1]
        for kind, predicted_points, true_points, start in (
            ("joints", batch["joints_cam"], joints[i], 1),
            ("vertices", batch["vertices_cam"], vertices[i], 0),
        ):
            difference = (predicted_points - root) - (true_points - true_root)
            log_var = batch[f"{kind}_log_var"]
            parts[kind].append(uncertainty.points(difference[:, start:], log_var[:, start:]))
    points = {kind: uncertainty.join(values) for kind, values in parts.items()}
    sigma = uncertainty.summarize(points, dataset.names, temperature)
    summary = scored.summary()
    summary |= {"joints_2d_px": crop_scale * float(np.mean(errors_2d)), "uncertainty": sigma}
    return Evaluated(scored, summary, points, sigma)


def error_2d_px(record: np.void, joints_cam: np.ndarray, size: int) -> float:
    """Mean 2D error of a record's joints, px of a 224 crop; `size` is the side of its own crop, px."""
    target = project(joints_cam, record["K"]) / size
    return REPORT_SIZE * np.linalg.norm(record["joints_2d"] - target, axis=-1).mean()


def store_temperature(sigma: Mapping[str, Any], path: str | pathlib.Path, name: str) -> None:
    """Store a fitted temperature, one of checkpoint.TEMPERATURES, with the checkpoint that it is for."""
    if file := weights.file_of(path):
        weights.write_temperature(file, **{name: sigma["temperature"]})
        return
    samples = name.replace("temperature", "calibration_samples")
    checkpoint.write_calibration(
        path, {name: sigma["temperature"], samples: sigma["calibration_samples"]}
    )
