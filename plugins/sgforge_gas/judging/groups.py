"""Scores of pictures by what their graphs hold: complexity, degree, objects, attributes; and gaps between renderers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from sgforge.graph import Sample

__all__ = ["Group", "gaps", "groups_of", "scores_of", "targeted"]

_Z: Final = 1.959963984540054


@attrs.frozen(kw_only=True)
class Group:
    """The mean of some scores, or of gaps between two, with its 95 % interval; None of one.

    It is normal, on the mean, as far as scores reach (0 to 1, gaps -1 to 1); of few pictures it is too narrow.
    """

    by: str
    name: str
    count: int
    mean: float
    low: float | None = None
    high: float | None = None


def groups_of(sample: Sample) -> Iterator[tuple[str, str]]:
    """The groups that a sample belongs to, as (by, name)."""
    regions, relations = sample.graph.regions, sample.graph.relations
    attributes = [word for row in regions.values() for word in row.attributes]
    degrees = dict.fromkeys(regions, 0)
    for row in relations.values():
        degrees[row.subject] += 1
        degrees[row.object] += 1
    yield "all", "all"
    yield "complexity", str(len(regions) + len(relations) + len(attributes))
    yield "degree", str(max(degrees.values(), default=0))
    yield from (("object", label) for label in dict.fromkeys(row.label or "" for row in regions.values()))
    yield from (("attribute", word) for word in dict.fromkeys(attributes))
    yield from (("relation", word) for word in dict.fromkeys(row.predicate for row in relations.values()))


def totals_of(samples: Iterable[Sample]) -> Iterator[tuple[Sample, float]]:
    """The samples that were judged, with their totals."""
    for sample in samples:
        answers = sample.values.get("answers")
        total = answers.get("total") if isinstance(answers, Mapping) else None
        if isinstance(total, (int, float)):
            yield sample, float(total)


def scores_of(samples: Iterable[Sample]) -> list[Group]:
    """The mean total of each group of judged samples, the worst of each kind first."""
    found: dict[tuple[str, str], list[float]] = {}
    for sample, total in totals_of(samples):
        for group in groups_of(sample):
            found.setdefault(group, []).append(total)
    return _means(found, 0.0)


def gaps(teacher: Iterable[Sample], student: Iterable[Sample]) -> list[Group]:
    """By how much the first renderer's total is above the second's, of the images that both have; the widest first."""
    others = {sample.image_id: total for sample, total in totals_of(student)}
    found: dict[tuple[str, str], list[float]] = {}
    for sample, total in totals_of(teacher):
        if sample.image_id in others:
            for group in groups_of(sample):
                found.setdefault(group, []).append(total - others[sample.image_id])
    return [*reversed(_means(found, -1.0))]


def targeted(samples: Iterable[Sample], found: Iterable[Group], count: int, *, by: Sequence[str]) -> list[Sample]:
    """The `count` samples where the widest gap is expected, of equal ones the first: the mean over the kinds of groups
    in `by` of the mean gap of a sample's groups; groups without a gap count 0.
    """
    known = {(row.by, row.name): row.mean for row in found}

    def expected(sample: Sample) -> float:
        own: dict[str, list[float]] = {kind: [] for kind in by}
        for kind, name in groups_of(sample):
            if kind in own:
                own[kind].append(known.get((kind, name), 0.0))
        return math.fsum(math.fsum(values) / len(values) for values in own.values() if values)

    return sorted(samples, key=expected, reverse=True)[:count]


def _means(found: Mapping[tuple[str, str], Sequence[float]], least: float) -> list[Group]:
    """The means of what lies from `least` to 1."""
    rows = []
    for (by, name), values in found.items():
        mean = math.fsum(values) / len(values)
        if len(values) > 1:
            spread = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
            reach = _Z * math.sqrt(spread / len(values))
            low, high = max(least, mean - reach), min(1.0, mean + reach)
            rows.append(Group(by=by, name=name, count=len(values), mean=mean, low=low, high=high))
        else:
            rows.append(Group(by=by, name=name, count=1, mean=mean))
    return sorted(rows, key=lambda row: (row.by, row.mean, row.name))
