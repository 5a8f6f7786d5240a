"""A small detector of generated pictures: what is left of a picture without its content, and a line between two kinds.

Figures of a picture are its power by spatial frequency (generated ones lack or repeat some: Durall et al. 2020, "Watch
your Up-Convolution") and how its second differences are spread (as in steganalysis: Fridrich, Kodovsky 2012).
Of a network on millions of pictures it is a stand-in with which a study can be run at no cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["Detector", "Separation", "figures", "hardest", "separation"]

_BANDS: Final = 16
_FLOOR: Final = 1e-8
"""Power below which nothing is told apart: pixels are of 8 bits."""
_RIDGE: Final = 1.0
_STEPS: Final = 25
_Z: Final = 1.959963984540054

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


def figures(pixels: Pixels) -> Floats:
    """(25,) figures of a picture, (H, W, 3) uint8 RGB of at least 8 pixels a side.

    16 logarithms of the mean power of its grey values (0 to 1) in rings of spatial frequency, up to the Nyquist one;
    then, of each channel, the logarithm of the standard deviation of second differences, their kurtosis (as a
    logarithm), and the share of those that are 0.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < 8:
        raise ValueError(f"a picture must have 3 channels and 8 pixels a side, not the shape {pixels.shape}")
    values = pixels.astype(np.float64) / 255
    spread = [one for channel in range(3) for one in _spread_of(values[..., channel])]
    return np.array([*_power_of(values.mean(axis=2)), *spread])


def _power_of(grey: Floats) -> Floats:
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2 / grey.size
    down, across = (np.fft.fftfreq(side) for side in grey.shape)
    # 0.5 is the Nyquist frequency; the corners beyond it count in the last ring.
    ring = np.minimum((np.hypot(down[:, None], across[None]) / 0.5 * _BANDS).astype(int), _BANDS - 1).ravel()
    total, count = (np.bincount(ring, weights, _BANDS) for weights in (power.ravel(), np.ones(ring.size)))
    return np.log(total / np.maximum(count, 1) + _FLOOR)


def _spread_of(channel: Floats) -> tuple[float, float, float]:
    parts = [channel[2:] - 2 * channel[1:-1] + channel[:-2], channel[:, 2:] - 2 * channel[:, 1:-1] + channel[:, :-2]]
    left = np.concatenate([part.ravel() for part in parts])
    variance = float(np.mean(left**2))
    kurtosis = float(np.mean(left**4)) / (variance + _FLOOR) ** 2
    return 0.5 * math.log(variance + _FLOOR), math.log(kurtosis + _FLOOR), float(np.mean(np.abs(left) < 1e-9))


@attrs.frozen(kw_only=True, eq=False)
class Detector:
    """P(generated) of pictures by logistic regression: `weights` (F,) of standardised figures, and `bias`."""

    mean: Floats
    scale: Floats
    weights: Floats
    bias: float

    @classmethod
    def learnt(cls, real: Floats, generated: Floats) -> Detector:
        """From the figures of real and generated pictures, (N, F) and (M, F), both kinds with one weight in all.

        Least log loss with a ridge of 1 on standardised weights, by Newton's method.
        """
        if not len(real) or not len(generated):
            raise ValueError("a detector learns from pictures of both kinds")
        rows = np.concatenate([real, generated])
        mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
        rows = np.column_stack([(rows - mean) / scale, np.ones(len(rows))])
        truth = np.repeat([0.0, 1.0], [len(real), len(generated)])
        share = np.repeat([len(rows) / 2 / len(real), len(rows) / 2 / len(generated)], [len(real), len(generated)])
        ridge = np.diag([*np.full(rows.shape[1] - 1, _RIDGE), 0.0])
        weights = np.zeros(rows.shape[1])
        for _ in range(_STEPS):
            found = _logistic(rows @ weights)
            slope = rows.T @ (share * (found - truth)) + ridge @ weights
            bend = (rows * (share * found * (1 - found))[:, None]).T @ rows + ridge
            weights = weights - np.linalg.solve(bend + 1e-9 * np.eye(len(bend)), slope)
        return cls(mean=mean, scale=scale, weights=weights[:-1], bias=float(weights[-1]))

    def probabilities(self, found: Floats) -> Floats:
        """(N,) P(generated) of pictures with these figures, (N, F)."""
        return _logistic((found - self.mean) / self.scale @ self.weights + self.bias)


def _logistic(values: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))


@attrs.frozen(kw_only=True)
class Separation:
    """The probability that a generated picture is told from a real one (AUROC; ties are half), with its 95 % interval.

    `accuracy`: the mean share of both kinds on their side of P = 0.5.
    """

    auroc: float
    low: float
    high: float
    accuracy: float


def separation(real: Sequence[float] | Floats, generated: Sequence[float] | Floats) -> Separation:
    """How well P(generated) tells generated pictures from real ones; the interval by Hanley and McNeil (1982)."""
    fakes, photos = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    if not len(fakes) or not len(photos):
        raise ValueError("pictures of both kinds are needed")
    above = (fakes[:, None] > photos[None]).mean() + 0.5 * (fakes[:, None] == photos[None]).mean()
    one = float(above)
    both, twice = one / (2 - one), 2 * one * one / (1 + one)
    spread = one * (1 - one) + (len(fakes) - 1) * (both - one * one) + (len(photos) - 1) * (twice - one * one)
    error = _Z * math.sqrt(max(0.0, spread) / (len(fakes) * len(photos)))
    return Separation(
        auroc=one,
        low=max(0.0, one - error),
        high=min(1.0, one + error),
        accuracy=float(((fakes > 0.5).mean() + (photos <= 0.5).mean()) / 2),
    )


def hardest(probabilities: Sequence[float] | Floats, count: int) -> list[int]:
    """The places of the generated pictures that look most real, the hardest first."""
    return [int(place) for place in np.argsort(np.asarray(probabilities, np.float64), kind="stable")[:count]]
