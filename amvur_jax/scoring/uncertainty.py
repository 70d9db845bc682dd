"""Does the predicted sigma say how large the error is? Scores of predicted variances against errors.

Of wrist-relative joints (all but the wrist) and vertices, each coordinate normal with its own variance
and the mean that was predicted. One temperature multiplies all variances; it is fitted on frames that
are not scored.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2, rankdata

from mano_jax.topology import JOINT_NAMES

LEVELS = (0.5, 0.8, 0.95)
CURVE_LEVELS = np.linspace(0.01, 0.99, 99)
KEPT = np.linspace(1.0, 0.02, 50)  # shares of the points that the sparsification curve keeps
_MM_NATS = np.log(1000.0)


class Points(NamedTuple):
    """Errors and their predicted spread, one number each for N samples of K points.

    error: (N,K) m. variance: (N,K) m², the sum over the coordinates. squared: (N,K), the sum over the
    coordinates of (error / sigma)². log_det: (N,K), the sum of the log-variances. All float32.
    """

    error: np.ndarray
    variance: np.ndarray
    squared: np.ndarray
    log_det: np.ndarray

    def scaled(self, temperature: float) -> "Points":
        """With all variances times `temperature`."""
        return self._replace(
            variance=self.variance * temperature,
            squared=self.squared / temperature,
            log_det=self.log_det + 3 * np.log(temperature),
        )

    def chosen(self, samples: np.ndarray) -> "Points":
        """Of some of the samples."""
        return Points(*(x[samples] for x in self))


def points(difference: ArrayLike, log_var: ArrayLike) -> Points:
    """Points of differences (N,K,3) m between prediction and truth, and log-variances (N,K,3)."""
    difference, log_var = np.asarray(difference, np.float64), np.asarray(log_var, np.float64)
    square = difference**2
    values = (
        np.sqrt(square.sum(-1)),
        np.exp(log_var).sum(-1),
        (square * np.exp(-log_var)).sum(-1),
        log_var.sum(-1),
    )
    return Points(*(x.astype(np.float32) for x in values))


def join(parts: Sequence[Points]) -> Points:
    """Points of all samples of a list of Points."""
    return Points(*(np.concatenate(arrays) for arrays in zip(*parts)))


def calibration_samples(names: Sequence[str]) -> np.ndarray:
    """Which samples (N,) bool a temperature is fitted on: every other sequence, or every other frame.

    The frames of one sequence resemble one another: they stay on one side.
    """
    sequences = [name.rpartition("/")[0] for name in names]
    order = {sequence: i for i, sequence in enumerate(dict.fromkeys(sequences))}
    if len(order) > 1:
        return np.array([order[sequence] % 2 == 0 for sequence in sequences])
    return np.arange(len(names)) % 2 == 0


def fit_temperature(kinds: Sequence[Points]) -> float:
    """The temperature with which the 95 % regions hold 95 % of the points (split conformal prediction).

    Of errors that are normal the one with the least negative log-likelihood, too; those of hands have
    heavier tails, and that one's 95 % regions would hold fewer.

    Args:
      kinds: list of Points, each kind counted alike however many points it has.
    """
    held = chi2.ppf(LEVELS[-1], 3)
    return float(np.mean([np.quantile(k.squared, LEVELS[-1]) / held for k in kinds]))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's: of the ranks of two arrays of like shape; 0 where one of them is constant."""
    ranks = [rankdata(x.ravel()) for x in (a, b)]
    if min(map(np.ptp, ranks)) == 0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def sparsification(error: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Mean error of the points that stay when those with the largest `order` leave: (50,) for KEPT."""
    ranked = error.ravel()[np.argsort(order, axis=None, kind="stable")]
    means = np.cumsum(ranked, dtype=np.float64) / np.arange(1, ranked.size + 1)
    return means[np.maximum(np.round(KEPT * ranked.size).astype(int), 1) - 1]


def ause(error: np.ndarray, variance: np.ndarray) -> float:
    """Area between the sparsification curves by sigma and by the error itself, over the mean error.

    0 is perfect; what a sigma that says nothing gets depends on how the errors are distributed.
    """
    gap = sparsification(error, variance) - sparsification(error, error)
    width = KEPT[0] - KEPT[-1]
    return float(-np.trapezoid(gap, KEPT) / width / error.mean(dtype=np.float64))


def coverage(squared: np.ndarray, levels: Sequence[float] | np.ndarray = LEVELS) -> np.ndarray:
    """Share of the points inside the region that holds each share of a normal in three dimensions."""
    inside = np.sort(squared, axis=None)
    return np.searchsorted(inside, chi2.ppf(levels, 3), side="right") / inside.size


def score(kind: Points) -> dict[str, float]:
    """The scores of one kind of point.

    Args:
      kind: Points.

    Returns:
      nll: nats a coordinate, in mm. rank_correlation: over all points. rank_correlation_frames: of
      the frames' mean errors and mean sigmas. ause. coverage_50, coverage_80, coverage_95. sigma_mm
      and error_mm: the root mean squares of a coordinate.
    """
    sigma = np.sqrt(kind.variance)
    nll = 0.5 * (3 * np.log(2 * np.pi) + kind.log_det + kind.squared)
    covered = coverage(kind.squared)
    return {
        "nll": float(nll.mean(dtype=np.float64) / 3 + _MM_NATS),
        "rank_correlation": rank_correlation(kind.error, sigma),
        "rank_correlation_frames": rank_correlation(kind.error.mean(1), sigma.mean(1)),
        "ause": ause(kind.error, kind.variance),
        **{f"coverage_{round(100 * p)}": float(c) for p, c in zip(LEVELS, covered)},
        "sigma_mm": 1000 * float(np.sqrt(kind.variance.mean(dtype=np.float64) / 3)),
        "error_mm": 1000 * float(np.sqrt((kind.error**2).mean(dtype=np.float64) / 3)),
    }


def summarize(
    kinds: Mapping[str, Points], names: Sequence[str], temperature: float | None = None
) -> dict[str, Any]:
    """All scores, before and after the temperature, on the frames that it was not fitted on.

    Args:
      kinds: {"joints": Points of 20 joints, "vertices": Points}.
      names: of the N samples.
      temperature: one that was fitted before, or None to fit it on calibration_samples.

    Returns:
      {"temperature", "fitted_here", "samples", kind: {"before": score, "after": score}, "per_joint"}.
    """
    fitted_on = calibration_samples(names)
    scored = ~fitted_on if len(names) > 1 else np.ones(1, bool)
    fitted = fit_temperature([kind.chosen(fitted_on) for kind in kinds.values()])
    values: dict[str, Any] = {
        "temperature": fitted if temperature is None else temperature,
        "fitted_here": temperature is None,
        "calibration_samples": int(fitted_on.sum()),
        "samples": int(scored.sum()),
    }
    for name, kind in kinds.items():
        kind = kind.chosen(scored)
        values[name] = {
            "before": score(kind),
            "after": score(kind.scaled(values["temperature"])),
        }
    joints = kinds["joints"].chosen(scored).scaled(values["temperature"])
    values["per_joint"] = [
        {"joint": name} | score(Points(*(x[:, i : i + 1] for x in joints)))
        for i, name in enumerate(JOINT_NAMES[1:])
    ]
    return values
