"""What a run has measured, as lines of JSON beside TensorBoard's file.

A line is of the steps since the last one, {"step", "time", "train": {name: mean}, "largest": {name: value}},
or of a validation, {"step", "time", "eval": {name: value}}. What is not finite is null; time is UTC.
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from amvur_jax.errors import UserError
from amvur_jax.files.whole import append_whole, write_whole

METRICS = "metrics.jsonl"


def begin(path: Path, start: int) -> None:
    """Make the file ready for a run that goes on from a step: what it has of later ones is left out.

    Raises:
      UserError: as of `read_metrics`.
      OSError: it cannot be written.
    """
    kept = [line for line in read_metrics(path) if line["step"] <= start] if start else []
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, b"".join(orjson.dumps(line) + b"\n" for line in kept))


def add(path: Path, step: int, **groups: Mapping[str, float]) -> None:
    """Append a line.

    Raises:
      OSError: it cannot be written; nothing of it is there.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    numbers = {
        group: {name: float(value) for name, value in values.items()}
        for group, values in groups.items()
    }
    append_whole(path, orjson.dumps({"step": step, "time": now} | numbers) + b"\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines, in order; none where there is no file. A last one that was cut off is left out.

    Raises:
      UserError: it cannot be read, or a line is not what a run wrote.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    lines = []
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            entry = orjson.loads(line)
            entry["step"] + 0  # a number
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise UserError(
                f"{path}: line {number} is not what a run wrote; take it out, or the file away"
            ) from None
        lines.append(entry)
    return lines
