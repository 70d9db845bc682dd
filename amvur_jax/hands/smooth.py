"""The One-Euro filter: noise is taken from what hardly moves, and lag from what moves fast.

Casiez, Roussel, Vogel, "1 € Filter: a simple speed-based low-pass filter for noisy input in interactive
systems", CHI 2012. Causal: a value depends on those before it alone.
"""

from __future__ import annotations

import math

import numpy as np


class OneEuro:
    """Smooths points in space or picture that come one after the other.

    min_cutoff: Hz, of what stands still. beta: Hz for each unit of speed. d_cutoff: Hz, of the speed itself.
    A point's coordinates share one cut-off, by the length of its velocity, so that the answer turns with the
    axes.
    """

    def __init__(self, min_cutoff: float, beta: float, d_cutoff: float = 1.0) -> None:
        self.min_cutoff, self.beta, self.d_cutoff = min_cutoff, beta, d_cutoff
        self._time: float | None = None

    def __call__(self, points: np.ndarray, time_s: float, unit: float = 1.0) -> np.ndarray:
        """The smoothed points.

        Args:
          points: (...,d).
          time_s: of them, after those of the call before.
          unit: of speed, as a length of the points' own: with a hand's size in px, a hand is smoothed alike
            from near and far.
        Returns:
          (...,d); at the first call, the points themselves.
        """
        if self._time is None:
            self._raw = self._smooth = points
            self._velocity = np.zeros_like(points)
        else:
            step = time_s - self._time
            velocity = (points - self._raw) / (step * unit)
            self._velocity = self._velocity + _alpha(self.d_cutoff, step) * (
                velocity - self._velocity
            )
            speed = np.linalg.norm(self._velocity, axis=-1, keepdims=True)
            alpha = _alpha(self.min_cutoff + self.beta * speed, step)
            self._raw, self._smooth = points, self._smooth + alpha * (points - self._smooth)
        self._time = time_s
        return self._smooth


def _alpha(cutoff: np.ndarray | float, step_s: float) -> np.ndarray | float:
    """The share of the new value in a low-pass filter of first order."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step_s))
