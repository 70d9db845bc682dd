"""The page of a run: its numbers are those of the run's files, and it loads nothing."""

import datetime
import json

import numpy as np
import pytest

from amvur_jax.errors import UserError
from amvur_jax.report import curve, hours, page, read_run, write_report
from amvur_jax.training.metrics import add

START = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)


def launch(minutes):
    return {
        "time": (START + datetime.timedelta(minutes=minutes)).isoformat(),
        "git": "0123456789abcdef",
        "versions": {"jax": "0.12.0"},
        "devices": {"kind": "cpu", "count": 1},
    }


def run_in(folder, totals, launches=(0,), rate=1e-3, minutes=None, **more):
    """The record of a run with a line every 10 steps, a minute apart unless it is said."""
    folder.mkdir()
    config = {"train": {"steps": 1000, "batch_size": 8, "learning_rate": rate}, "mix": [["a", 1]]}
    (folder / "manifest.json").write_text(
        json.dumps({"config": config, "launches": [launch(m) for m in launches]})
    )
    path = folder / "metrics.jsonl"
    path.touch()
    for i, total in enumerate(totals):
        values = {"total": total, "images_per_second": 40.0} | more
        add(path, 10 * (i + 1), train=values, largest={"total": total + 1})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for i, line in enumerate(lines):
        minute = i + 1 if minutes is None else minutes[i]
        line["time"] = (START + datetime.timedelta(minutes=minute)).isoformat()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_curve_is_what_the_run_measured_and_a_long_one_its_means(tmp_path):
    run = read_run(run_in(tmp_path / "run", [3.0, float("nan"), 1.0]))
    found = curve(run, "train", "total")
    assert found.steps.tolist() == [10, 30] and found.values.tolist() == [3, 1]
    assert found.largest.tolist() == [4, 2]
    assert curve(run, "eval", "total").values.tolist() == []
    totals = np.random.default_rng(0).normal(size=1800)
    long = curve(read_run(run_in(tmp_path / "long", totals)), "train", "total")
    np.testing.assert_allclose(long.values, totals.reshape(600, 3).mean(1))
    np.testing.assert_allclose(long.largest, totals.reshape(600, 3).max(1) + 1)
    np.testing.assert_allclose(long.steps, 10 * (3 * np.arange(600) + 2))


def test_the_hours_between_two_launches_are_none(tmp_path):
    folder = run_in(tmp_path / "run", [3.0, 2.0, 1.0], launches=(0, 100), minutes=(6, 12, 130))
    assert hours(read_run(folder)) == pytest.approx((12 + 30) / 60)


def test_the_page_says_how_far_the_run_is_and_loads_nothing(tmp_path):
    folder = run_in(tmp_path / "a<b>&c", [3.0, 2.0], skipped=3.0)
    add(folder / "metrics.jsonl", 20, eval={"pa_mpjpe_mm": 7.25})
    path = write_report([folder])
    assert path == folder / "curves.html"
    text = path.read_text()
    for words in (
        "of 1,000 steps",
        "<b>20</b>",
        "<b>160</b>",
        "7.25",
        "jax 0.12.0",
        "3 steps were not",
    ):
        assert words in text, words
    assert "a&lt;b&gt;&amp;c" in text and "a<b>" not in text
    assert "default-src 'none'" in text and "http" not in text.split("</style>")[1]
    assert text.count('<img alt="total"') == text.count('<img alt="pa_mpjpe_mm"') == 1


def test_runs_side_by_side_say_where_their_configs_differ(tmp_path):
    folders = [run_in(tmp_path / "a", [3.0, 2.0]), run_in(tmp_path / "b", [2.0], rate=0.5)]
    text = page([read_run(folder) for folder in folders])
    assert text.count('<img alt="total"') == 1
    table = text.split("Where the configs differ")[1].split("</table>")[0]
    assert "train.learning_rate" in table and "0.001" in table and "0.5" in table
    assert "train.steps" not in table and "mix" not in table


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none/manifest\.json: cannot be read .*--workdir"):
        write_report([tmp_path / "none"])
    folder = run_in(tmp_path / "run", [])
    with pytest.raises(UserError, match=r"metrics\.jsonl: has no line"):
        write_report([folder])
    (folder / "manifest.json").write_text('{"config": {}}')
    with pytest.raises(UserError, match=r"manifest\.json: is not what a run wrote"):
        write_report([folder])
    with pytest.raises(UserError, match="one to 4 folders, not 5"):
        write_report([folder] * 5)
