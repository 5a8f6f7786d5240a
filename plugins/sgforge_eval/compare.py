"""Two predictions of the same images against one truth: paired differences with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from sgforge.errors import ConfigError
from sgforge.tables import Table
from sgforge_eval.evaluate import Settings, Vocabulary, evaluate_graphs
from sgforge_eval.intake.arrays import Floats
from sgforge_eval.intake.inputs import GraphInput
from sgforge_eval.measures.bootstrap import Resamples, few_units, interval
from sgforge_eval.measures.recall import Metrics
from sgforge_eval.report import Outcome, recall_report

__all__ = ["Comparison", "Difference", "compare", "compare_outcomes", "comparison_json", "comparison_tables"]

_PREDICATES = 500  # whose resamples are held at once


@attrs.frozen
class Difference:
    """One metric of both: values, B minus A, and the 95 % interval of the difference; `name` of metric or predicate.

    `low` and `high` are NaN where there is no interval.
    """

    name: str
    metric: str
    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """B minus A."""
        return self.second - self.first

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@attrs.frozen
class Comparison:
    """A against B: differences per metric and per predicate, `draws` resamples of the same images for both."""

    metrics: tuple[Difference, ...]
    predicates: tuple[Difference, ...]
    convention: str
    draws: int
    images: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


def compare(
    first: GraphInput,
    second: GraphInput,
    truth: GraphInput,
    settings: Settings = Settings(),
    *,
    draws: int = 1000,
    vocabulary: Vocabulary | None = None,
) -> Comparison:
    """B (`second`) against A (`first`), paired by image; the vocabulary is the truth's."""
    words = vocabulary or Vocabulary.plain(settings)
    outcomes = [evaluate_graphs(side, truth, settings, words) for side in (first, second)]
    return compare_outcomes(outcomes[0], outcomes[1], draws=draws)


def compare_outcomes(first: Outcome, second: Outcome, *, draws: int = 1000) -> Comparison:
    """Two outcomes over the same truth, compared."""
    both = [first.metrics(), second.metrics()]
    if len(both[0].used) != len(both[1].used):
        raise ConfigError(
            f"the two evaluations are over {len(both[0].used)} and {len(both[1].used)} images: "
            "only evaluations of the same truth can be compared"
        )
    resamples = Resamples.of(len(both[0].used), draws)
    drawn = [resamples.values(metrics) for metrics in both]
    reports = [recall_report(outcome) for outcome in (first, second)]
    few = [few_units(min(report.images_used for report in reports), "image")]
    return Comparison(
        metrics=tuple(_by_metric(reports[0].values, reports[1].values, drawn)),
        predicates=tuple(_by_predicate(both, resamples, first.book.names)),
        convention=first.measure.convention.name,
        draws=draws,
        images={
            side: {"used": report.images_used, "skipped": dict(report.images_skipped)}
            for side, report in zip("AB", reports, strict=True)
        },
        notes=(
            *(note for note in few if note),
            *(f"{side}: {note}" for side, report in zip("AB", reports, strict=True) for note in report.notes),
        ),
    )


def _by_metric(
    first: Mapping[str, float], second: Mapping[str, float], drawn: Sequence[Mapping[str, Floats]]
) -> Iterator[Difference]:
    """Differences of what both sides have; an average precision, no sum over images, has no interval (NaN)."""
    for name in (name for name in first if name in second):
        low, high = np.nan, np.nan
        if name in drawn[0]:
            low, high = interval(drawn[1][name] - drawn[0][name])
        yield Difference(
            name=name, metric=name, first=first[name], second=second[name], low=float(low), high=float(high)
        )


def _by_predicate(both: list[Metrics], resamples: Resamples, predicates: tuple[str, ...]) -> Iterator[Difference]:
    """Differences of constrained recall per predicate that has truth in both, at every K."""
    families = [metrics.grouped[0] for metrics in both]
    tables = [family.table() for family in families]
    rows = np.flatnonzero(~np.isnan(tables[0][:, 0]) & ~np.isnan(tables[1][:, 0]))
    for start in range(0, len(rows), _PREDICATES):
        block = rows[start : start + _PREDICATES]
        first, second = (resamples.by_group(family, block) for family in families)
        bounds = interval(second - first)
        for place, row in enumerate(block.tolist()):
            for column, member in enumerate(families[0].members):
                yield Difference(
                    name=predicates[row],
                    metric=member,
                    first=float(tables[0][row, column]),
                    second=float(tables[1][row, column]),
                    low=float(bounds[0, place, column]),
                    high=float(bounds[1, place, column]),
                )


def comparison_tables(comparison: Comparison, *, per_predicate: bool = True) -> list[Table]:
    """Differences per metric and per predicate; "*" marks an interval that leaves out 0."""
    title = f"B - A, 95 % interval of {comparison.draws} paired resamples"
    tables = [_differences(title, comparison.metrics, named=False)]
    if per_predicate and comparison.predicates:
        tables.append(_differences(f"{title}, per predicate", comparison.predicates, named=True))
    return [attrs.evolve(table, convention=comparison.convention) for table in tables]


def _differences(title: str, rows: Sequence[Difference], *, named: bool) -> Table:
    columns = (*(("predicate",) if named else ()), "metric", "A", "B", "B - A", "low", "high", "")
    return Table(
        title,
        columns,
        tuple(
            (
                *((row.name,) if named else ()),
                *(row.metric, row.first, row.second, row.value, row.low, row.high),
                "*" if row.clear else "",
            )
            for row in rows
        ),
    )


def comparison_json(comparison: Comparison, metric: str, localization: str) -> dict[str, Any]:
    """The object that `--compare --json` prints."""

    def numbers(row: Difference) -> dict[str, float | None]:
        bounds = {"low": row.low, "high": row.high}
        known = {name: None if math.isnan(value) else value for name, value in bounds.items()}
        return {"a": row.first, "b": row.second, "difference": row.value, **known}

    per_predicate: dict[str, dict[str, Any]] = {}
    for row in comparison.predicates:
        per_predicate.setdefault(row.name, {})[row.metric] = numbers(row)
    return {
        "metric": metric,
        "convention": comparison.convention,
        "localization": localization,
        "draws": comparison.draws,
        "values": {row.metric: numbers(row) for row in comparison.metrics},
        "per_predicate": per_predicate,
        "images": {side: dict(counts) for side, counts in comparison.images.items()},
        "notes": list(comparison.notes),
    }
