"""Scoring files as a user does: official text, tables, warnings, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from eval_case import RECORDED, arrays, write_prediction, write_truth
from scipy.linalg import orthogonal_procrustes

from amvur_jax.errors import UserError
from amvur_jax.score import score_files, write_scores
from amvur_jax.scoring.tables import score

ROOT = Path(__file__).parents[2]
NAMES = [f"SM{i // 10}/{i:04d}" for i in range(20)]


@pytest.fixture(scope="module")
def case():
    return arrays()


@pytest.fixture(scope="module")
def truth(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    write_truth(folder, *case[2:], names=NAMES)
    return folder


@pytest.fixture(scope="module")
def scored(case):
    return score(*case, names=NAMES)


def test_the_script_writes_the_official_text(case, truth, tmp_path):
    write_prediction(tmp_path / "pred.json", *case[:2])
    command = [sys.executable, str(ROOT / "scripts/score.py"), "--dataset=ho3d"]
    flags = [f"--prediction={tmp_path / 'pred.json'}", f"--ground_truth={truth}"]
    result = subprocess.run(
        [*command, *flags, f"--output={tmp_path / 'out'}"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    official = "".join(f"{k}: {v:f}\n" for k, v in RECORDED["official_ho3d"].items())
    assert (tmp_path / "out/scores.txt").read_text() == official
    assert result.stdout.startswith(official)
    values = json.loads((tmp_path / "out/scores.json").read_text())
    proper = 1000 * RECORDED["means"]["pa_mpjpe_m_no_reflection"]
    assert values["proper_pa_mpjpe_mm"] == pytest.approx(proper, rel=1e-6)
    assert cv2.imread(str(tmp_path / "out/pck.png")).shape[1] > 500


def test_freihand_has_its_own_keys(case, truth, tmp_path):
    np.savez(tmp_path / "theirs.npz", keypoints=case[0], mesh=case[1])
    values = write_scores(score_files(tmp_path / "theirs.npz", truth, "freihand"), tmp_path)
    official = "".join(f"{k}: {v:f}\n" for k, v in RECORDED["official_freihand"].items())
    assert (tmp_path / "scores.txt").read_text() == official
    assert values["per_joint"][4]["joint"] == "thumb4"


def test_tables_against_the_recorded_samples(scored):
    recorded = RECORDED["per_sample"]
    values = scored.summary()
    halves = (recorded[:10], recorded[10:])
    for row, part in zip(values["per_sequence"], halves, strict=True):
        assert row["samples"] == 10
        for ours, theirs in {"pa_mpjpe_mm": "pa_mpjpe_m", "pa_mpvpe_mm": "pa_mpvpe_m"}.items():
            assert row[ours] == pytest.approx(1000 * np.mean([r[theirs] for r in part]), rel=1e-6)
    worst = sorted(recorded, key=lambda r: -r["pa_mpvpe_m"])[:10]
    assert [row["index"] for row in values["worst"]] == [r["i"] for r in worst]
    assert [row["name"] for row in values["worst"]] == [NAMES[r["i"]] for r in worst]
    assert [row["joint"] for row in values["per_joint"]][:2] == ["wrist", "thumb1"]
    # the numbers are the joints' own: HO-3D has the thumb's first joint at 13
    means, _ = scored.scores.per_keypoint("pa_mpjpe")
    assert values["per_joint"][1]["pa_mpjpe_mm"] == 1000 * means[13]


def test_threads_and_streams_change_nothing(case, scored, monkeypatch):
    monkeypatch.setattr("amvur_jax.scoring.tables._BATCH", 3)
    streamed = score(case[0], iter(case[1]), case[2], iter(case[3]), names=NAMES)
    ours, theirs = streamed.summary(), scored.summary()
    assert ours["xyz_mean3d"] == pytest.approx(theirs["xyz_mean3d"], rel=1e-12)
    assert ours["worst"] == theirs["worst"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda j, v: (j[:19], v[:19]), "19 samples, but .* has 20"),
        (lambda j, v: (j, v[:19]), "20 lists of joints but 19 of vertices"),
        (lambda j, v: (j[:, :20], v), r"entry 0 has shape \(20, 3\)"),
        (
            lambda j, v: (j * np.where(np.arange(20) == 7, np.nan, 1)[:, None, None], v),
            "entry 7 .*NaN",
        ),
        (
            lambda j, v: (j, v * np.where(np.arange(20) == 7, np.nan, 1)[:, None, None]),
            "entry 7 .*NaN",
        ),
    ],
)
def test_a_wrong_count_shape_or_nan_is_an_error(case, truth, tmp_path, change, message):
    write_prediction(tmp_path / "pred.json", *change(*case[:2]))
    with pytest.raises(UserError, match=message):
        score_files(tmp_path / "pred.json", truth)


def zeros_in(count, *which):
    """A function that sets joints (0) or vertices (1) of the first so many samples to zero."""

    def change(*arrays):
        arrays = [x.copy() for x in arrays]
        for i in which:
            arrays[i][:count] = 0
        return arrays

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (zeros_in(6, 1), "the vertices are not predicted"),
        (lambda j, v: (j, np.full_like(v, 0.25)), "the vertices are not predicted"),
        (zeros_in(6, 0), "the joints are not predicted"),
        (zeros_in(4, 0, 1), "in 4 of 6 frames the joints all lie at one point"),
        (zeros_in(1, 1), r"in 1 of 6 frames the vertices all lie at one point.*\(SM0/0000\)"),
        (zeros_in(6, 0, 1), "the joints are not predicted"),
        (lambda j, v: (np.tile(j[:1], (6, 1, 1)), v), "the same hand is predicted in every frame"),
    ],
)
@pytest.mark.parametrize("dataset", ["ho3d", "freihand"])
def test_what_is_not_predicted_is_scored_as_it_is_and_named(case, tmp_path, change, words, dataset):
    joints, vertices, *truth = (x[:6] for x in case)
    write_truth(tmp_path / "truth", *truth, names=NAMES[:6])
    predicted = change(joints, vertices)
    write_prediction(tmp_path / "pred.json", *predicted)
    scored = score_files(tmp_path / "pred.json", tmp_path / "truth", dataset)
    values = write_scores(scored, tmp_path / "out")
    # The official programs' own formulas, of all points as they are.
    for key, points, target in (("xyz", predicted[0], truth[0]), ("mesh", predicted[1], truth[1])):
        raw = 100 * np.linalg.norm(points - target, axis=-1).mean()
        assert values[f"{key}_mean3d"] == pytest.approx(raw, rel=1e-9)
        aligned = "xyz_procrustes_al" if (key, dataset) == ("xyz", "ho3d") else f"{key}_al"
        want = np.mean([official_alignment(p, t) for p, t in zip(points, target)])
        assert values[f"{aligned}_mean3d"] == pytest.approx(100 * want, rel=1e-6)
    assert any(re.search(words, text) for text in values["warnings"]), values["warnings"]


def official_alignment(points, target):
    """Mean distance after the official Procrustes alignment, by scipy's."""
    p, t = points - points.mean(0), target - target.mean(0)
    size = np.linalg.norm(t) + 1e-8
    R, s = orthogonal_procrustes(p / (np.linalg.norm(p) + 1e-8), t / size)
    moved = p / (np.linalg.norm(p) + 1e-8) @ R * s * size
    return np.linalg.norm(moved - t, axis=-1).mean()


def test_a_truth_of_two_releases_is_an_error(case, tmp_path):
    write_truth(tmp_path / "a", case[2], case[3][:19])
    write_prediction(tmp_path / "pred.json", *case[:2])
    with pytest.raises(UserError, match="same release"):
        score_files(tmp_path / "pred.json", tmp_path / "a")
    write_truth(tmp_path / "b", *case[2:], names=NAMES[:3])
    with pytest.raises(UserError, match=r"evaluation\.txt names 3"):
        score_files(tmp_path / "pred.json", tmp_path / "b")
    with pytest.raises(UserError, match=r"evaluation_xyz\.json: cannot be read"):
        score_files(tmp_path / "pred.json", tmp_path / "nowhere")
