"""The temperature under which probabilities of predicates say how often they are right."""

from __future__ import annotations

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge_robin.looking import calibrated

__all__ = ["Calibration", "fit_temperature"]

Floats = NDArray[np.float64]

_BINS: Final = 10
_LOW, _HIGH = 0.05, 20.0
_ROUNDS: Final = 40


@attrs.frozen
class Calibration:
    """A fitted `temperature`, and the expected calibration error before and after, over ten equal bins.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.
    """

    temperature: float
    error_before: float
    error_after: float


def fit_temperature(logprobs: Floats, truth: NDArray[np.bool_]) -> Calibration:
    """The temperature that fits (N, C) log-probabilities to the answers that are true, (N, C).

    Where several are true of a row, each is as good as another. Without any row it is 1.
    """
    rows = truth.any(axis=1)
    if not rows.any():
        return Calibration(1.0, 0.0, 0.0)
    scores, right = logprobs[rows], truth[rows] / truth[rows].sum(axis=1, keepdims=True)
    low, high = np.log(_LOW), np.log(_HIGH)
    for _ in range(_ROUNDS):  # the loss is convex in 1 / temperature: thirds find its valley
        left, middle = low + (high - low) / 3, high - (high - low) / 3
        if _loss(scores, right, np.exp(left)) <= _loss(scores, right, np.exp(middle)):
            high = middle
        else:
            low = left
    best = float(np.exp((low + high) / 2))
    return Calibration(
        best, _error(calibrated(scores, 1.0), truth[rows]), _error(calibrated(scores, best), truth[rows])
    )


def _loss(scores: Floats, right: Floats, temperature: float) -> float:
    return -float((right * np.log(np.maximum(calibrated(scores, temperature), 1e-300))).sum(axis=1).mean())


def _error(probabilities: Floats, truth: NDArray[np.bool_]) -> float:
    """Expected calibration error of the likeliest answer of each row."""
    best = probabilities.argmax(axis=1)
    sure = probabilities[np.arange(len(best)), best]
    hit = truth[np.arange(len(best)), best]
    bins = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    total = 0.0
    for place in range(_BINS):
        own = bins == place
        if own.any():
            total += abs(float(sure[own].mean()) - float(hit[own].mean())) * int(own.sum())
    return total / len(best)
