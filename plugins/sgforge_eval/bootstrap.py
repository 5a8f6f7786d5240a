"""Bootstrap intervals over images: all metrics of one or several evaluations under the same resamples.

Per-image sums are resampled, not images: one matrix product of (draws, images) counts with (images, columns) sums, in
blocks of images, so that memory stays small and predictions are never looked at again. Percentile intervals
(Efron 1979); paired when several evaluations of the same images are given together.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge_eval.arrays import Floats, Ints
from sgforge_eval.metrics import Family, GroupedFamily, Metrics, harmonic_means

__all__ = ["Draws", "GroupDraws", "checked_draws", "interval", "resample"]

_BLOCK = 4096
Counts = Ints


@attrs.frozen(eq=False)
class GroupDraws:
    """Resampled per-group values of one grouped family: (draws, size, K), NaN where a draw has no truth."""

    members: tuple[str, ...]
    values: Floats


@attrs.frozen(eq=False)
class Draws:
    """Resampled values by metric name, each (draws,), and by group."""

    values: dict[str, Floats]
    groups: tuple[GroupDraws, ...]


def checked_draws(draws: int) -> int:
    """`draws`, a number of resamples; a negative one is a `ConfigError`."""
    if draws < 0:
        raise ConfigError(f"bootstrap = {draws} must be a number of resamples, 0 for no intervals")
    return draws


def interval(draws: Floats, level: float = 0.95) -> Floats:
    """Percentile interval (2, ...) of resampled values (draws, ...); NaN draws are left out, all NaN gives NaN."""
    tail = (1.0 - level) / 2.0
    flat = draws.reshape(len(draws), -1)
    bounds = np.full((2, flat.shape[1]), np.nan)
    gaps = np.isnan(flat).any(axis=0)
    if not gaps.all():
        bounds[:, ~gaps] = np.quantile(flat[:, ~gaps], [tail, 1.0 - tail], axis=0)
    for column in np.flatnonzero(gaps):
        known = flat[~np.isnan(flat[:, column]), column]
        if len(known):
            bounds[:, column] = np.quantile(known, [tail, 1.0 - tail])
    return bounds.reshape(2, *draws.shape[1:])


def _image_counts(images: int, draws: int, seed: int) -> Counts:
    """(draws, images): how often each image is drawn; a row is one resample of as many images as there are."""
    rng = np.random.default_rng(seed)
    counts = np.empty((draws, images), np.uint8)
    for row in counts:
        # 255 draws of one image of many do not happen; the cast keeps a hundred thousand images in 100 MB.
        row[:] = np.bincount(rng.integers(0, images, images, np.int32), minlength=images)
    return counts


def _family_sums(counts: Counts, families: Sequence[Family]) -> list[Floats]:
    """Per family (draws, K): resampled top over resampled bottom."""
    columns = np.concatenate([np.column_stack([family.top, family.bottom]) for family in families], axis=1)
    total = np.zeros((len(counts), columns.shape[1]))
    for start in range(0, counts.shape[1], _BLOCK):
        total += counts[:, start : start + _BLOCK].astype(np.float32) @ columns[start : start + _BLOCK].astype(
            np.float32
        )
    results, at = [], 0
    for family in families:
        width = len(family.names)
        results.append(_ratio(total[:, at : at + width], total[:, at + width, None]))
        at += width + 1
    return results


def _ratio(top: Floats, bottom: Floats) -> Floats:
    ratio: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return ratio


def _dense_block(family: GroupedFamily, start: int, end: int, images: int) -> Floats:
    """(images, size * (K + 1)) sums of the images of one block; rows `start` to `end` of the family are theirs."""
    width = family.top.shape[1] + 1
    block = np.zeros((images, family.size, width), np.float32)
    image = family.image[start:end] % _BLOCK
    block[image, family.group[start:end], :-1] = family.top[start:end]
    block[image, family.group[start:end], -1] = family.bottom[start:end]
    return block.reshape(images, family.size * width)


def _group_sums(counts: Counts, family: GroupedFamily) -> Floats:
    """(draws, size, K): resampled ratios per group."""
    draws, images = counts.shape
    width = family.top.shape[1] + 1
    total = np.zeros((draws, family.size * width))
    for start in range(0, images, _BLOCK):
        end = min(start + _BLOCK, images)
        low, high = np.searchsorted(family.image, (start, end))
        total += counts[:, start:end].astype(np.float32) @ _dense_block(family, low, high, end - start)
    total = total.reshape(draws, family.size, width)
    return _ratio(total[:, :, :-1], total[:, :, -1:])


def resample(evaluations: Sequence[Metrics], draws: int = 1000, seed: int = 0) -> list[Draws]:
    """`draws` resamples of the images of `evaluations`, which must be of the same images in the same order.

    Every evaluation sees the same resamples, so that differences are paired.
    """
    images = len(evaluations[0].used)
    counts = _image_counts(images, draws, seed)
    results = []
    for metrics in evaluations:
        values: dict[str, Floats] = {}
        for family, found in zip(metrics.families, _family_sums(counts, metrics.families), strict=True):
            values.update(zip(family.names, found.T, strict=True))
        groups = []
        for grouped in metrics.grouped:
            table = _group_sums(counts, grouped)
            values.update(zip(grouped.names, grouped.means(table).T, strict=True))
            groups.append(GroupDraws(grouped.members, table))
        values.update(harmonic_means(values))
        results.append(Draws(values, tuple(groups)))
    return results
