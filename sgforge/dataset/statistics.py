"""Counts over one snapshot: the figures of the first table of the SVG paper, and what each step judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from sgforge.columns import Ragged
from sgforge.dataset.records import SOURCE_STEP
from sgforge.dataset.snapshot import Snapshot
from sgforge.graph import CATEGORIES

__all__ = ["Effect", "Figures", "Stats", "statistics_of"]


@attrs.frozen
class Figures:
    """The figures of the paper's first table, over the rows that stood at one moment; `categories` are shares.

    `predicates_per_region`: different predicates in which a region is the subject, mean over regions that are one.
    """

    regions: int
    relations: int
    regions_per_image: float
    relations_per_image: float
    relations_per_region: float
    predicates_per_region: float
    categories: Mapping[str, float]


@attrs.frozen
class Effect:
    """What one judging step found, and what it left; rows that later steps made count in neither."""

    step: str
    before: Figures
    after: Figures


@attrs.frozen
class Stats:
    """Counts of one snapshot; kept rows unless a name says otherwise. A kept relation has both its regions kept.

    `density`: kept relations over ordered pairs of kept regions. `predicates_per_region` as in `Figures`. `verdicts`:
    rejected rows by table, step, reason. `made_by`: all rows by table and step ("source" for the source's own).
    `filters`: the effect of each step that judged relations or rejected regions, in order.
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
    filters: tuple[Effect, ...] = ()


def statistics_of(snapshot: Snapshot, steps: Sequence[str] = ()) -> Stats:
    """The counts of a snapshot; `steps` gives the order of judging steps (by name where it does not name them)."""
    work = _Counter(snapshot)
    now = work.figures(work.region_kept, work.relation_kept)
    images = len(snapshot)
    counts = np.bincount(work.region_image[work.region_kept], minlength=images).astype(np.float64)
    pairs = float((counts * (counts - 1)).sum())
    return Stats(
        images=images,
        failed=work.by_text("image/failed_reason", "reason"),
        dropped=work.by_text("image/dropped", "reason"),
        regions=now.regions,
        regions_rejected=len(work.region_kept) - now.regions,
        relations=now.relations,
        relations_rejected=int((work.ids("relation/status") == 1).sum()),
        regions_per_image=now.regions_per_image,
        relations_per_image=now.relations_per_image,
        relations_per_region=now.relations_per_region,
        predicates_per_region=now.predicates_per_region,
        density=_ratio(now.relations, pairs),
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
        self.object = first + self.ids("relation/object")
        self.relation_kept = self._with_regions(self.ids("relation/status") == 0, self.region_kept)

    def _with_regions(self, relations: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Those of the relations both of whose regions stand."""
        both: np.ndarray = relations & regions[self.subject] & regions[self.object]
        return both

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
        return {**({SOURCE_STEP: by_step.pop(SOURCE_STEP, 0) + given} if given else {}), **by_step}

    def verdicts(self, table: str) -> dict[str, dict[str, int]]:
        """Rejected rows of a table by step and reason."""
        rejected = self.ids(f"{table}/status") == 1
        steps, reasons = self.ids(f"{table}/judged_by")[rejected], self.ids(f"{table}/reason")[rejected]
        pairs, counts = np.unique(np.stack([steps, reasons], axis=1), axis=0, return_counts=True)
        found: dict[str, dict[str, int]] = {}
        for (step, reason), count in zip(pairs.tolist(), counts.tolist(), strict=True):
            found.setdefault(self._text("step", step, SOURCE_STEP), {})[self._text("reason", reason, "-")] = count
        return found

    def _text(self, vocabulary: str, index: int, missing: str) -> str:
        return self._snapshot.vocabulary(vocabulary)[index] if index >= 0 else missing

    def figures(self, regions: np.ndarray, relations: np.ndarray) -> Figures:
        """The figures of the regions and relations that two masks choose."""
        images, objects, triplets = len(self._snapshot), int(regions.sum()), int(relations.sum())
        subjects = self.subject[relations]
        distinct = np.unique(np.stack([subjects, self.ids("relation/predicate")[relations]], axis=1), axis=0)
        return Figures(
            objects,
            triplets,
            _ratio(objects, images),
            _ratio(triplets, images),
            _ratio(triplets, objects),
            _ratio(len(distinct), len(np.unique(subjects))),
            {name: _ratio(count, triplets) for name, count in self.categories(relations).items()},
        )

    def filters(self, order: Sequence[str]) -> tuple[Effect, ...]:
        """Figures before and after each judging step, going back from what stands now."""
        words = self._snapshot.vocabulary("step")
        rank = {name: place for place, name in enumerate(order)}
        ids = {table: self.ids(f"{table}/judged_by") for table in ("region", "relation")}
        rejected = {table: (self.ids(f"{table}/status") == 1) for table in ids}
        judging = np.unique(np.concatenate([ids["relation"], ids["region"][rejected["region"]]]))
        names = sorted(
            (words[step] for step in judging if step >= 0), key=lambda name: (rank.get(name, len(order)), name)
        )
        alive = {table: ~mask for table, mask in rejected.items()}
        effects = []
        for name in reversed(names):
            place, step = rank.get(name, len(order)), words.index(name)
            after = self._standing(alive, rank, place)
            alive = {table: mask | (rejected[table] & (ids[table] == step)) for table, mask in alive.items()}
            effects.append(Effect(name, self._standing(alive, rank, place - 1), after))
        return tuple(reversed(effects))

    def _standing(self, alive: Mapping[str, np.ndarray], rank: Mapping[str, int], last: int) -> Figures:
        """Figures of the rows that are alive and were made by the source or a step up to the place `last`."""
        places = np.array([rank.get(name, -1) for name in self._snapshot.vocabulary("step")] + [-1])
        made = {table: mask & (places[self.ids(f"{table}/made_by")] <= last) for table, mask in alive.items()}
        return self.figures(made["region"], self._with_regions(made["relation"], made["region"]))
