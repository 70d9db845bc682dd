"""metrics.jsonl: what was measured comes back, of a run that was killed too."""

import datetime
import json

import pytest

from amvur_jax.errors import UserError
from amvur_jax.training.metrics import add, begin, read_metrics


def test_what_is_added_comes_back_in_order(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    begin(path, 0)
    assert read_metrics(path) == []
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    add(path, 2, train={"total": 0.5}, largest={"total": 1.5})
    add(path, 2, eval={"pa_mpjpe_mm": float("nan")})
    first, second = read_metrics(path)
    assert first["step"] == 2 and first["train"] == {"total": 0.5}
    assert first["largest"] == {"total": 1.5} and second["eval"] == {"pa_mpjpe_mm": None}
    assert before <= datetime.datetime.fromisoformat(first["time"])
    # any reader of JSON lines has it
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2, 2]


def test_a_run_that_goes_on_drops_what_was_measured_after_its_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (2, 4, 6):
        add(path, step, train={"total": float(step)})
    with open(path, "ab") as file:  # killed while it wrote
        file.write(b'{"step": 8, "tra')
    begin(path, 4)
    assert [line["step"] for line in read_metrics(path)] == [2, 4]
    begin(path, 0)
    assert read_metrics(path) == []


@pytest.mark.parametrize("line", [b"nothing", b"[1]", b'{"time": 1}', b'{"step": "2"}', b""])
def test_a_line_of_another_kind_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    add(path, 2, train={"total": 1.0})
    with open(path, "ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl: line 2 is not what a run wrote"):
        read_metrics(path)
