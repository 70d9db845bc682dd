"""The scores against the official programs' recorded ones, a slow oracle, and laws."""

import json
from pathlib import Path

import numpy as np
import pytest

from amvur_jax.metrics import (
    Scores,
    f_score,
    nearest_distances,
    procrustes,
    scale_translation,
    score,
)

DATA = Path(__file__).parent / "data"
RECORDED = json.loads((DATA / "eval_scores.json").read_text())
EDGE_CASES = json.loads((DATA / "eval_edge_cases.json").read_text())
# Our names of the recorded per-sample and edge-case numbers.
PER_SAMPLE = {
    "mpjpe": "mpjpe_m",
    "root_mpjpe": "root_rel_mpjpe_m",
    "pa_mpjpe": "pa_mpjpe_m",
    "proper_pa_mpjpe": "pa_mpjpe_m_no_reflection",
    "st_mpjpe": "scale_trans_mpjpe_m",
    "mpvpe": "mpvpe_m",
    "pa_mpvpe": "pa_mpvpe_m",
    "f_5": "f_5",
    "f_al_5": "f_al_5",
    "f_15": "f_15",
    "f_al_15": "f_al_15",
}
EDGE = {
    "mpjpe": "mpjpe",
    "pa_mpjpe": "pa_mpjpe",
    "st_mpjpe": "scale_trans",
    "f_5": "f5",
    "f_15": "f15",
    "pa_mpvpe": "pa_mpvpe",
    "f_al_15": "f_al_15",
}


@pytest.fixture(scope="module")
def case():
    with np.load(DATA / "eval_case.npz") as file:
        return [file[name] for name in ("pred_xyz", "pred_verts", "gt_xyz", "gt_verts")]


@pytest.mark.parametrize("dataset", ["ho3d", "freihand"])
def test_the_official_scores(case, dataset):
    scores = score(*case, dataset=dataset)
    official = RECORDED[f"official_{dataset}"]
    assert list(scores)[: len(official)] == [*official]
    for key, value in official.items():
        # The programs print six decimals.
        assert scores[key] == pytest.approx(value, abs=5.1e-7), key


def test_the_official_scores_at_full_precision(case):
    scores = score(*case)
    for ours, theirs in {
        "xyz": "xyz",
        "xyz_procrustes_al": "xyz_procrustes",
        "xyz_scale_trans_al": "xyz_scale_trans",
        "mesh": "mesh",
        "mesh_al": "mesh_procrustes",
    }.items():
        recorded = RECORDED["full_precision"][theirs]
        assert scores[f"{ours}_mean3d"] == pytest.approx(100 * recorded["mean_m"], rel=1e-9)
        assert scores[f"{ours}_auc3d"] == pytest.approx(recorded["auc"], rel=1e-9)
    for ours, theirs in {
        "mpjpe_mm": "mpjpe_m",
        "root_mpjpe_mm": "root_rel_mpjpe_m",
        "pa_mpjpe_mm": "pa_mpjpe_m",
        "mpvpe_mm": "mpvpe_m",
        "pa_mpvpe_mm": "pa_mpvpe_m",
        "proper_pa_mpjpe_mm": "pa_mpjpe_m_no_reflection",
    }.items():
        assert scores[ours] == pytest.approx(1000 * RECORDED["means"][theirs], rel=1e-6)


def test_the_scores_of_each_sample(case):
    scores = Scores()
    for sample, recorded in zip(zip(*case), RECORDED["per_sample"]):
        scores.add(*sample)
        for ours, theirs in PER_SAMPLE.items():
            # The alignments leave rounding behind where the error is 0; the recorded proper
            # rotation was normalised without the official 1e-8.
            assert scores.per_sample[ours][-1] == pytest.approx(
                recorded[theirs], rel=1e-6, abs=1e-8
            ), (recorded["i"], ours)


@pytest.mark.parametrize("name", EDGE_CASES)
def test_degenerate_predictions(case, name):
    gt_joints, gt_vertices = case[2][3], case[3][3]
    change = {
        "all zeros": lambda x: 0 * x,
        "constant point": lambda x: 0 * x + 0.3,
        "mirrored x": lambda x: x * [-1, 1, 1],
        "x1000 (mm)": lambda x: 1000 * x,
        "point-reflected -g": lambda x: -x,
        "opencv axes (y,z flipped)": lambda x: x * [1, -1, -1],
        "joint order rolled by 1": lambda x: np.roll(x, 1, axis=0) if len(x) == 21 else x,
    }[name]
    found = Scores().add(change(gt_joints), change(gt_vertices), gt_joints, gt_vertices)
    for ours, theirs in EDGE.items():
        assert found[ours] == pytest.approx(EDGE_CASES[name][theirs], rel=1e-6, abs=1e-12), theirs


def random_rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


@pytest.mark.parametrize("proper", [False, True])
def test_alignment_undoes_any_similarity(proper):
    rng = np.random.default_rng(0)
    target = rng.normal(size=(6, 21, 3))
    moved = 0.3 * target @ random_rotation(rng).T + [1, 2, 3]
    np.testing.assert_allclose(procrustes(moved, target, proper), target, atol=1e-6)


def test_only_the_official_alignment_undoes_a_mirror():
    target = np.random.default_rng(0).normal(size=(21, 3))
    mirrored = target * [1, -1, 1]
    np.testing.assert_allclose(procrustes(mirrored, target), target, atol=1e-6)
    assert np.abs(procrustes(mirrored, target, proper=True) - target).max() > 0.1


@pytest.mark.parametrize("proper", [False, True])
def test_no_small_turn_or_scaling_improves_an_alignment(proper):
    rng = np.random.default_rng(1)
    target, points = rng.normal(size=(2, 21, 3))
    aligned = procrustes(points, target, proper)
    best = ((aligned - target) ** 2).sum()
    centre = aligned.mean(axis=0)
    for _ in range(50):
        turn = np.linalg.qr(np.eye(3) + 0.05 * rng.normal(size=(3, 3)))[0]
        turn = turn * np.sign(np.diag(turn))
        other = (aligned - centre) @ turn * (1 + rng.normal(0, 0.05)) + centre
        assert ((other - target) ** 2).sum() >= best - 1e-7


def test_scale_translation_undoes_scale_and_translation():
    target = np.random.default_rng(0).normal(size=(4, 21, 3))
    np.testing.assert_allclose(scale_translation(7 * target + 2, target), target, atol=1e-12)


def test_nearest_distances_against_every_pair():
    rng = np.random.default_rng(0)
    a, b = rng.normal([0.1, 0.2, 0.9], 0.05, (40, 3)), rng.normal([0.1, 0.2, 0.9], 0.05, (30, 3))
    a[:9] = b[:9]
    pairs = np.array([[np.sqrt(((x - y) ** 2).sum()) for y in b] for x in a])
    to_b, to_a = nearest_distances(a, b)
    np.testing.assert_allclose(to_b, pairs.min(axis=1), atol=2e-8)
    np.testing.assert_allclose(to_a, pairs.min(axis=0), atol=2e-8)


def test_f_score_counts_strictly_below_the_threshold():
    assert f_score(np.array([0.0, 1.0]), np.array([0.5]), 1.0) == pytest.approx(2 * 0.5 / 1.5)
    assert f_score(np.array([2.0]), np.array([2.0]), 1.0) == 0


def test_perfect_predictions(case):
    scores = score(case[2], case[3], case[2], case[3])
    assert scores["xyz_mean3d"] == scores["mesh_mean3d"] == 0
    assert scores["xyz_auc3d"] == scores["mesh_auc3d"] == scores["f_score_5"] == 1


def test_scores_take_streams_and_refuse_unequal_ones(case):
    assert score(*(iter(part) for part in case)) == score(*case)
    with pytest.raises(ValueError):
        score(case[0][:3], case[1], case[2], case[3])
    with pytest.raises(ValueError, match="no sample"):
        score([], [], [], [])
    with pytest.raises(ValueError, match="expected ho3d or freihand"):
        Scores("coco")
