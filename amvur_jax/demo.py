"""The whole path in minutes: photographs, synthetic data, training from 2D, evaluation, prediction."""

import pathlib
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from amvur_jax import inference, weights
from amvur_jax.data.crop import crop_image, crop_matrix
from amvur_jax.data.frame import Dataset
from amvur_jax.data.open import open_dataset
from amvur_jax.data.sample import make_sample
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.detect.detector import Detector
from amvur_jax.evaluate import evaluate, predictions, score_records
from amvur_jax.files.image import read_image
from amvur_jax.files.whole import save_picture, write_json
from amvur_jax.hands.overlay import overlay
from amvur_jax.hands.reconstruct import Box, Reconstructor
from amvur_jax.pictures.overview import overview
from amvur_jax.predict import predict
from amvur_jax.predictions.spool import Parts, PartWriter
from amvur_jax.runtime.startup import return_memory
from amvur_jax.scoring.mean_hand import MeanHand, mean_hand
from amvur_jax.train import train

PHOTOS = weights.SHIPPED.parent / "photos"

COLUMNS = {
    "joints_2d_px": "2D error, px",
    "root_mpjpe_mm": "wrist-relative MPJPE, mm",
    "pa_mpjpe_mm": "PA-MPJPE, mm",
}


def constant_predictions(
    answer: MeanHand, dataset: Dataset, size: int
) -> Iterator[dict[str, np.ndarray]]:
    """What `predictions` yields, of a MeanHand that is the same for every frame and has no variance."""
    constant = {name: values[None] for name, values in answer._asdict().items()}
    constant |= {"joints_log_var": np.zeros((1, 21, 3)), "vertices_log_var": np.zeros((1, 778, 3))}
    for i in range(len(dataset)):
        sample = make_sample(dataset.frame(i), size)
        yield constant | {name: sample[name][None] for name in ("wrist_cam", "K", "index")}


def score(
    batches: Iterable[dict[str, np.ndarray]], dataset: Dataset, size: int, crop_scale: float = 1.0
) -> dict[str, Any]:
    """The scores of a stream of predictions."""
    with tempfile.TemporaryDirectory() as folder:
        with PartWriter(folder) as writer:
            for batch in batches:
                writer.add(batch)
        records = Parts(folder, 1, len(dataset))
        scored = score_records(records, dataset, "ho3d_v2", size, crop_scale=crop_scale)
        return scored.summary


def photo_sheet(reconstructor: Reconstructor, folder: pathlib.Path = PHOTOS) -> np.ndarray:
    """The photographs of a folder, each beside its hands, five in a row: (H, W, 3) uint8."""
    tiles, half = [], 160
    for path in sorted(folder.glob("*.jpg")):
        image = read_image(path)
        hands = reconstructor(image)
        at = hands[0].box.reshape(2, 2).mean(0) if hands else np.array(image.shape[1::-1]) / 2
        side = (
            1.35 * np.ptp(hands[0].box.reshape(2, 2), axis=0).max()
            if hands
            else min(image.shape[:2])
        )
        A = crop_matrix(at, side, half)
        drawn = overlay(image, hands, reconstructor.faces)
        # The overlay of a small photograph is larger.
        B = A @ np.diag([image.shape[1] / drawn.shape[1], image.shape[0] / drawn.shape[0], 1.0])
        pair = crop_image(image, A, half), crop_image(drawn, B, half)
        tiles.append(np.concatenate(pair, axis=1))
    rows = [np.concatenate(tiles[i : i + 5], axis=1) for i in range(0, len(tiles) // 5 * 5, 5)]
    return np.concatenate(rows)


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """{row: scores} as text, one line a row."""
    width = max(map(len, rows)) + 2
    lines = [" " * width + "".join(f"{title:>28s}" for title in COLUMNS.values())]
    for name, scores in rows.items():
        lines.append(f"{name:{width}s}" + "".join(f"{scores[key]:28.1f}" for key in COLUMNS))
    return "\n".join(lines)


def run(
    config: ConfigDict,
    output: str | pathlib.Path,
    frames: tuple[int, int] = (600, 150),
    seed: int = 0,
) -> dict[str, Any]:
    """Make the data, train, evaluate and predict into `output`; print the table and return its rows.

    Args:
      config: configs/demo.py, synthetic_weak.py or one like them; its data.root is set here.
      output: folder: photos.png where the network starts from the shipped weights, data/, checkpoints/,
        tensorboard/, manifest.json, pred.zip, scores.json, overview.png, prediction/.
      frames: how many training and evaluation frames.
      seed: of the data.
    Returns:
      {row: scores}; nothing in all processes of a run but the first, which makes data and pictures.
    """
    start = time.perf_counter()
    output, first = pathlib.Path(output), jax.process_index() == 0
    config.data.root = str(output / "data")
    if first and not (output / "data" / "evaluation.txt").exists():
        make_synthetic(config.data.root, *frames, seed=seed)
    shipped = weights.file_of(config.init_from) == weights.SHIPPED if config.init_from else False
    if first and shipped:
        save_picture(
            output / "photos.png", photo_sheet(Reconstructor(inference.load(), Detector()))
        )
        print(f"{output}/photos.png: the shipped network on photographs it was not trained on")
    jax.clear_caches()  # none of it is needed again
    return_memory()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("data")
    train(config, output)

    predictor = inference.load(output)
    trained = evaluate(predictor, output)
    if not first:
        return {}
    evaluation = open_dataset(config.data.root, "evaluation", hand=predictor.hand)
    start_name = "shipped weights" if shipped else "untrained network"
    began = inference.load() if shipped else inference.untrained(predictor.config)
    average = mean_hand(
        open_dataset(config.data.root, "train", hand=predictor.hand), predictor.hand
    )
    size, scale = predictor.size, predictor.crop_scale
    rows: dict[str, Any] = {
        "mean hand": score(constant_predictions(average, evaluation, size), evaluation, size),
        start_name: score(predictions(began, evaluation, 32), evaluation, size, scale),
        "after training": trained,
    }
    write_json(output / "comparison.json", rows)
    save_picture(output / "overview.png", overview(predictor, evaluation))
    frame = evaluation.frame(len(evaluation) // 2)
    picture = output / "data" / "evaluation" / f"{frame.name.replace('/', '/rgb/')}.png"
    boxes = {picture: [Box(frame.box, "left" if frame.side == "left" else "right")]}
    predict(
        Reconstructor(predictor, None),
        [picture],
        output / "prediction",
        boxes=boxes,
        overwrite=True,
    )

    print(f"\n{len(evaluation)} frames never trained on; px of a 224 crop")
    print(table(rows))
    minutes = (time.perf_counter() - start) / 60
    print(
        f"\n{minutes:.1f} minutes. Look at {output}/overview.png; {output}/pred.zip has the official format."
    )
    return rows
