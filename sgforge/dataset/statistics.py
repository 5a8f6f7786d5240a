"""Counts over one snapshot: the figures of the first table of the SVG paper, and what each step judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from sgforge.columns import Ragged
from sgforge.dataset.snapshot import Snapshot
from sgforge.graph import CATEGORIES

__all__ = ["FilterShares", "Stats", "statistics_of"]


@attrs.frozen
class FilterShares:
    """Category shares of the relations that stood before a judging step, and of those that it left."""

    step: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    relations_before: int
    relations_after: int


@attrs.frozen
class Stats:
    """Counts of one snapshot; kept rows unless a name says otherwise. A kept relation has both its regions kept.

    `density`: kept relations over ordered pairs of kept regions. `predicates_per_region`: different predicates in which
    a region is the subject, mean over regions that are a subject. `verdicts`: rejected rows by table, step, reason.
    `made_by`: all rows by table and step ("source" for the source's own).
    """

    images: int
    failed: Mapping[str, int]
    dropped: Mapping[str, int]
    regions: int
    regions_rejected: int
    relations: int
    relations_rejected: int
    regions_per_image: float
    relations_per_image: float
    relations_per_region: float
    predicates_per_region: float
    density: float
    labels: int
    predicates: int
    regions_with_mask: int
    regions_with_description: int
    categories: Mapping[str, int]
    made_by: Mapping[str, Mapping[str, int]]
    verdicts: Mapping[str, Mapping[str, Mapping[str, int]]]
    filters: tuple[FilterShares, ...] = ()


def statistics_of(snapshot: Snapshot, steps: Sequence[str] = ()) -> Stats:
    """The counts of a snapshot; `steps` gives the order of judging steps (by name where it does not name them)."""
    work = _Counter(snapshot)
    regions, relations = int(work.region_kept.sum()), int(work.relation_kept.sum())
    images = len(snapshot)
    counts = np.bincount(work.region_image[work.region_kept], minlength=images).astype(np.float64)
    pairs = float((counts * (counts - 1)).sum())
    subjects = work.subject[work.relation_kept]
    distinct = len(np.unique(np.stack([subjects, work.ids("relation/predicate")[work.relation_kept]], axis=1), axis=0))
    return Stats(
        images=images,
        failed=work.by_text("image/failed_reason", "reason"),
        dropped=work.by_text("image/dropped", "reason"),
        regions=regions,
        regions_rejected=len(work.region_kept) - regions,
        relations=relations,
        relations_rejected=int((work.ids("relation/status") == 1).sum()),
        regions_per_image=_ratio(regions, images),
        relations_per_image=_ratio(relations, images),
        relations_per_region=_ratio(relations, regions),
        predicates_per_region=_ratio(distinct, len(np.unique(subjects))),
        density=_ratio(relations, pairs),
        labels=work.distinct("region/label", work.region_kept),
        predicates=work.distinct("relation/predicate", work.relation_kept),
        regions_with_mask=int((work.ids("region/has_mask")[work.region_kept] == 1).sum()),
        regions_with_description=int((work.described()[work.region_kept]).sum()),
        categories=work.categories(work.relation_kept),
        made_by={table: work.made_by(table) for table in ("region", "relation")},
        verdicts={table: work.verdicts(table) for table in ("region", "relation")},
        filters=work.filters(steps),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


class _Counter:
    """Columns of one snapshot, read once, and what is counted in them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._columns: dict[str, np.ndarray] = {}
        self.region_kept = self.ids("region/status") == 0
        counts = self.ids("image/region_count").astype(np.int64)
        self.region_image = np.repeat(np.arange(len(snapshot)), counts)
        first = np.repeat(np.cumsum(counts) - counts, self.ids("image/relation_count"))
        self.subject = first + self.ids("relation/subject")
        other = first + self.ids("relation/object")
        self.both_kept = self.region_kept[self.subject] & self.region_kept[other]
        self.relation_kept = (self.ids("relation/status") == 0) & self.both_kept

    def ids(self, path: str) -> np.ndarray:
        """One flat column."""
        if path not in self._columns:
            column = self._snapshot.column(path)
            assert not isinstance(column, Ragged)
            self._columns[path] = column
        return self._columns[path]

    def described(self) -> np.ndarray:
        """Whether each region has a description."""
        return self._snapshot.array("region/description_count").read() > 0

    def by_text(self, path: str, vocabulary: str) -> dict[str, int]:
        """How often each text occurs; rows without one are left out."""
        return self._count(self.ids(path), self._snapshot.vocabulary(vocabulary))

    def _count(self, ids: np.ndarray, words: Sequence[str]) -> dict[str, int]:
        counts = np.bincount(ids[ids >= 0], minlength=len(words)).tolist()
        return {text: count for text, count in zip(words, counts, strict=True) if count}

    def distinct(self, path: str, rows: np.ndarray) -> int:
        """How many different texts the rows have."""
        ids = self.ids(path)[rows]
        return len(np.unique(ids[ids >= 0]))

    def categories(self, rows: np.ndarray) -> dict[str, int]:
        """How many of the rows each category has."""
        counts = np.bincount(self.ids("relation/category")[rows], minlength=len(CATEGORIES)).tolist()
        return dict(zip(CATEGORIES, counts, strict=True))

    def made_by(self, table: str) -> dict[str, int]:
        """All rows of a table by the step that made them."""
        ids = self.ids(f"{table}/made_by")
        by_step = self._count(ids, self._snapshot.vocabulary("step"))
        given = int((ids < 0).sum())
        return {**({"source": by_step.pop("source", 0) + given} if given else {}), **by_step}

    def verdicts(self, table: str) -> dict[str, dict[str, int]]:
        """Rejected rows of a table by step and reason."""
        rejected = self.ids(f"{table}/status") == 1
        steps, reasons = self.ids(f"{table}/judged_by")[rejected], self.ids(f"{table}/reason")[rejected]
        pairs, counts = np.unique(np.stack([steps, reasons], axis=1), axis=0, return_counts=True)
        found: dict[str, dict[str, int]] = {}
        for (step, reason), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            found.setdefault(self._text("step", step, "source"), {})[self._text("reason", reason, "-")] = count
        return found

    def _text(self, vocabulary: str, index: int, missing: str) -> str:
        return self._snapshot.vocabulary(vocabulary)[index] if index >= 0 else missing

    def filters(self, order: Sequence[str]) -> tuple[FilterShares, ...]:
        """Category shares before and after each step that rejected relations, going back from what stands now."""
        words = self._snapshot.vocabulary("step")
        judged, rejected = self.ids("relation/judged_by"), (self.ids("relation/status") == 1) & self.both_kept
        judging = [words[index] for index in np.unique(judged[rejected & (judged >= 0)]).tolist()]
        judging.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
        standing = self.relation_kept
        shares = []
        for name in reversed(judging):
            before = standing | (rejected & (judged == words.index(name)))
            sizes = int(before.sum()), int(standing.sum())
            shares.append(FilterShares(name, self._shares(before), self._shares(standing), *sizes))
            standing = before
        return tuple(reversed(shares))

    def _shares(self, rows: np.ndarray) -> dict[str, float]:
        total = int(rows.sum())
        return {name: _ratio(count, total) for name, count in self.categories(rows).items()}
