"""Writes a made-up data set in exactly the layout of HO-3D v2, HO-3D v3 or FreiHAND.

The same seed gives the same bytes. Frames are written one by one and what makes a set whole last, so that
an interrupted run leaves nothing that a reader takes for whole; the same command goes on with it.
"""

import concurrent.futures
import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tqdm

from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.synthetic.paint import Painter, WriteFrame, lens
from amvur_jax.data.synthetic.scene import (
    DIFFICULTIES,
    IMAGE_SIZE,
    MAX_FRAMES,
    Difficulty,
    Sequence,
    sample_clutter,
    sample_sequence,
)
from amvur_jax.data.synthetic.textures import scatter, surface
from amvur_jax.errors import UserError
from amvur_jax.files.whole import write_whole
from mano_jax import HandModel, load_hand

SPLITS = ("train", "evaluation")
UNFINISHED, FINISHED = "unfinished.json", "synthetic.json"
_SHORTEST, _WRITERS = 20, 2


class Writer(Protocol):
    """What writes one split of a tree: HO3DWriter, where each method is told, and the others."""

    unlisted: int

    def add(
        self, name: str, i: int, index: int, sequence: Sequence, listed: bool
    ) -> WriteFrame | None: ...

    def finish(self) -> None: ...

    def publish(self, plan: list[tuple[str, int]]) -> None: ...


def make_synthetic(
    output: str | Path,
    train: int,
    evaluation: int,
    seed: int = 0,
    difficulty: str = "easy",
    layout: str = "ho3d_v2",
) -> None:
    """Writes a tree of synthetic frames of the embedded hand.

    Args:
      output: folder; it must be new, empty, or the unfinished output of the same arguments.
      train, evaluation: number of listed frames of each split, at least 1.
      seed: of everything.
      difficulty: a key of scene.DIFFICULTIES.
      layout: a key of amvur_jax.data.layouts.LAYOUTS.

    Raises:
      UserError: the arguments make no sense, or the folder is in use or cannot be written.
    """
    settings: dict[str, Any] = {
        "train": train,
        "evaluation": evaluation,
        "seed": seed,
        "difficulty": difficulty,
        "layout": layout,
        "version": 1,
    }
    _check(settings)
    output = Path(output)
    try:
        _claim(output, settings)
        hand = load_hand()
        painter = Painter(hand)
        with tqdm.tqdm(total=train + evaluation, unit="frame", desc="synthetic") as bar:
            writers = {s: LAYOUTS[layout].writer(output, s, hand, settings[s]) for s in SPLITS}
            for split, writer in writers.items():
                _write_split(writer, split, settings, hand, painter, bar.update)
        for split, writer in writers.items():
            writer.publish(plan(settings, split))
        os.replace(output / UNFINISHED, output / FINISHED)
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written: {error}") from error


def plan(settings: Mapping[str, Any], split: str) -> list[tuple[str, int]]:
    """The sequences of a split, as (name, number of listed frames)."""
    rng = np.random.default_rng([settings["seed"], SPLITS.index(split)])
    left = settings[split]
    sequences: list[tuple[str, int]] = []
    while left:
        # One frame more than is listed fits into a sequence.
        count = min(left, int(rng.integers(_SHORTEST, MAX_FRAMES)))
        sequences.append((f"S{split[0].upper()}{len(sequences):04d}", count))
        left -= count
    return sequences


def _check(settings: Mapping[str, Any]) -> None:
    for name in SPLITS:
        if settings[name] < 1:
            raise UserError(f"--{name}={settings[name]}: give the number of frames, at least 1")
    if settings["seed"] < 0:
        raise UserError(f"--seed={settings['seed']}: give a number from 0 on")
    if settings["difficulty"] not in DIFFICULTIES:
        raise UserError(
            f"--difficulty={settings['difficulty']}: choose one of {', '.join(DIFFICULTIES)}"
        )
    if settings["layout"] not in LAYOUTS:
        raise UserError(f"--layout={settings['layout']}: choose one of {', '.join(LAYOUTS)}")


def _claim(output: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder ours, or finds that it is; touches nothing that is not."""
    text = json.dumps(settings, indent=1) + "\n"
    if output.exists() and not output.is_dir():
        raise UserError(f"--output={output}: is a file; give a new folder")
    if output.is_dir() and any(output.iterdir()):
        marker = output / UNFINISHED
        if not marker.is_file():
            raise UserError(
                f"--output={output}: is not empty, nothing was written; give a new folder"
            )
        if marker.read_text() != text:
            raise UserError(
                f"--output={output}: holds an unfinished set made with other arguments "
                f"({marker}); repeat those to finish it, or give a new folder"
            )
        return
    output.mkdir(parents=True, exist_ok=True)
    write_whole(output / UNFINISHED, text.encode())


def _write_split(
    writer: Writer,
    split: str,
    settings: Mapping[str, Any],
    hand: HandModel,
    painter: Painter,
    progress: Callable[[int], object],
) -> None:
    difficulty = DIFFICULTIES[settings["difficulty"]]
    index = 0
    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
        waiting = []
        for number, (name, count) in enumerate(plan(settings, split)):
            key = [settings["seed"], SPLITS.index(split), number]
            unlisted = writer.unlisted if number == 0 else 0
            rng = np.random.default_rng(key)
            sequence = sample_sequence(rng, hand, count + unlisted, difficulty)
            scene = None
            for i in range(count + unlisted):
                write = writer.add(name, i, index, sequence, listed=i < count)
                if write:
                    if scene is None:
                        scene = (
                            painter.sequence(sequence),
                            *_background(rng, painter, sequence, difficulty),
                        )
                    shared, background, far = scene
                    drawn = painter.frame(
                        shared, painter.vertices(sequence, i), sequence.K, background, far
                    )
                    frame_rng = np.random.default_rng([*key, i])
                    waiting.append(pool.submit(_finish, write, *drawn, frame_rng, difficulty))
                    while len(waiting) > 4 * _WRITERS:
                        waiting.pop(0).result()
                if i < count:
                    index += 1
                    progress(1)
        for job in waiting:
            job.result()
    writer.finish()


def _finish(
    write: WriteFrame,
    image: np.ndarray,
    depth: np.ndarray,
    hand: np.ndarray,
    rng: np.random.Generator,
    difficulty: Difficulty,
) -> None:
    picture = lens(rng, image, rng.uniform(0.4, 0.9), difficulty.noise)
    write(picture, depth, hand, rng)


def _background(
    rng: np.random.Generator, painter: Painter, sequence: Sequence, difficulty: Difficulty
) -> tuple[np.ndarray, np.ndarray]:
    """What is behind the hand, and its depth: a wall or a desk, and things on it."""
    picture = surface(rng, IMAGE_SIZE, calm=not difficulty.wide)
    picture = scatter(rng, picture, difficulty.clutter)
    height, width = IMAGE_SIZE
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    distance = rng.uniform(1.1, 1.6)
    depth = distance * (1 + rng.uniform(-0.1, 0.1) * x + rng.uniform(-0.2, 0.2) * y)
    depth = np.round(depth, 3)  # a sensor's own steps, which also keep the file small
    if difficulty.clutter:
        # The hand itself waits behind the camera.
        empty = dataclasses.replace(
            sequence,
            objects=sample_clutter(rng, 0.8 * distance),
            vertices_cam=sequence.vertices_cam[:1] - [0, 0, 9.0],
        )
        picture, depth, _ = painter.frame(
            painter.sequence(empty), painter.vertices(empty, 0), sequence.K, picture, depth
        )
    return picture, depth
