"""Counts over one snapshot: the figures of the first table of the SVG paper, and what each step judged.

Read a block of images at a time, so that memory does not grow with the dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

import attrs
import numpy as np

from sgforge.dataset.records import SOURCE_STEP
from sgforge.dataset.snapshot import Snapshot
from sgforge.graph import CATEGORIES

__all__ = ["Effect", "Figures", "Stats", "statistics_of"]

_ROWS: Final = 2**18
"""Regions and relations of a block: its columns take some 20 MB."""
_TABLES: Final = ("region", "relation")


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
    `filters`: the effect of each step that judged relations or rejected regions, in order. `values`: by table and
    further column, how many of its rows have a value.
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
    values: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)


def statistics_of(snapshot: Snapshot, steps: Sequence[str] = ()) -> Stats:
    """The counts of a snapshot; `steps` gives the order of judging steps (by name where it does not name them)."""
    images, judges = len(snapshot), _Judges(snapshot, steps)
    now, counted = _Standing(), _Counted(snapshot)
    effects = [(_Standing(), _Standing()) for _ in judges.names]
    for block in _blocks(snapshot):
        now.add(block, block.region_kept, block.relation_kept)
        counted.add(block)
        for standing, moments in zip(effects, judges.moments(block), strict=True):
            for sums, (regions, relations) in zip(standing, moments, strict=True):
                sums.add(block, regions, relations)
    figures = now.figures(images)
    return Stats(
        images=images,
        failed=_by_text(snapshot, "image/failed_reason"),
        dropped=_by_text(snapshot, "image/dropped"),
        regions=figures.regions,
        regions_rejected=snapshot.meta.counts["regions"] - figures.regions,
        relations=figures.relations,
        relations_rejected=counted.rejected("relation"),
        regions_per_image=figures.regions_per_image,
        relations_per_image=figures.relations_per_image,
        relations_per_region=figures.relations_per_region,
        predicates_per_region=figures.predicates_per_region,
        density=_ratio(figures.relations, counted.pairs),
        labels=int(counted.labels.sum()),
        predicates=int(counted.predicates.sum()),
        regions_with_mask=counted.with_mask,
        regions_with_description=counted.described,
        categories=now.by_category(),
        made_by={table: counted.makers(table) for table in _TABLES},
        verdicts={table: counted.verdicts(table) for table in _TABLES},
        filters=tuple(
            Effect(name, before.figures(images), after.figures(images))
            for name, (before, after) in zip(judges.names, effects, strict=True)
        ),
        values=_values(snapshot),
    )


def _values(snapshot: Snapshot) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for column in snapshot.meta.columns:
        found = snapshot.value_column(*column.key)
        if found is not None:
            counts.setdefault(column.target, {})[column.name] = int(found.ends[-1])
    return counts


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _by_text(snapshot: Snapshot, path: str) -> dict[str, int]:
    """How many images have each reason in the column `path`; those without one are left out."""
    ids = snapshot.array(path).read()
    return _named(np.bincount(ids[ids >= 0]), snapshot.vocabulary("reason"))


def _named(counts: np.ndarray, words: Sequence[str]) -> dict[str, int]:
    return {words[index]: int(counts[index]) for index in np.flatnonzero(counts).tolist()}


class _Block:
    """The columns of some images that lie side by side, each read when it is asked for; regions count from 0."""

    def __init__(self, snapshot: Snapshot, counts: tuple[np.ndarray, np.ndarray], starts: tuple[int, int]) -> None:
        self._snapshot, self._counts = snapshot, counts
        self._starts = dict(zip(_TABLES, starts, strict=True))
        self._sizes = dict(zip(_TABLES, (int(rows.sum()) for rows in counts), strict=True))
        self._columns: dict[str, np.ndarray] = {}

    def column(self, path: str) -> np.ndarray:
        """The rows of one flat column of regions or relations."""
        found = self._columns.get(path)
        if found is None:
            table = path.partition("/")[0]
            start = self._starts[table]
            found = self._columns[path] = self._snapshot.array(path).read(start, start + self._sizes[table])
        return found

    @cached_property
    def region_image(self) -> np.ndarray:
        """The image of each region, counted from 0."""
        return np.repeat(np.arange(len(self._counts[0])), self._counts[0])

    @cached_property
    def region_kept(self) -> np.ndarray:
        """Whether each region stands now."""
        kept: np.ndarray = self.column("region/status") == 0
        return kept

    @cached_property
    def relation_kept(self) -> np.ndarray:
        """Whether each relation and both its regions stand now."""
        return self.with_regions(self.column("relation/status") == 0, self.region_kept)

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The subject and the object of each relation among the regions of the block."""
        regions, relations = self._counts
        first = np.repeat(np.cumsum(regions) - regions, relations)
        return first + self.column("relation/subject"), first + self.column("relation/object")

    def with_regions(self, relations: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Those of the relations both of whose regions stand."""
        subjects, objects = self._ends
        both: np.ndarray = relations & regions[subjects] & regions[objects]
        return both

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The relations sorted by subject, then predicate: their rows, and a number for each (subject, predicate)."""
        span = self.predicates + 1
        key = self._ends[0] * span + self.column("relation/predicate") + 1
        order = np.argsort(key)
        return order, key[order]

    @property
    def predicates(self) -> int:
        """How many predicates the vocabulary has."""
        return self._snapshot.array("vocabulary/predicate_len").rows

    def subjects_and_pairs(self, relations: np.ndarray) -> tuple[int, int]:
        """How many regions are a subject of the chosen relations, and how many (subject, predicate) there are."""
        order, key = self._pairs
        chosen = key[relations[order]]
        # The sort is by subject first, so what differs from its neighbour is new.
        return _distinct(chosen // (self.predicates + 1)), _distinct(chosen)


def _distinct(ordered: np.ndarray) -> int:
    """How many different numbers there are in an ordered array."""
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + min(len(ordered), 1)


def _blocks(snapshot: Snapshot) -> Iterator[_Block]:
    """All images in blocks of about `_ROWS` rows, an image of more alone."""
    counts = [snapshot.array(f"image/{table}_count").read().astype(np.int64) for table in _TABLES]
    regions, relations = (np.concatenate([[0], np.cumsum(column)]) for column in counts)
    rows = regions + relations
    start = 0
    while start < len(snapshot):
        stop = max(start + 1, int(np.searchsorted(rows, rows[start] + _ROWS, side="right")) - 1)
        yield _Block(
            snapshot, (counts[0][start:stop], counts[1][start:stop]), (int(regions[start]), int(relations[start]))
        )
        start = stop


class _Standing:
    """Sums over the rows that stood at one moment, from which its figures are drawn."""

    def __init__(self) -> None:
        self._regions = self._relations = self._subjects = self._pairs = 0
        self._categories = np.zeros(len(CATEGORIES), np.int64)

    def add(self, block: _Block, regions: np.ndarray, relations: np.ndarray) -> None:
        """Count the regions and relations of a block that two masks choose."""
        subjects, pairs = block.subjects_and_pairs(relations)
        self._regions += int(np.count_nonzero(regions))
        self._relations += int(np.count_nonzero(relations))
        self._subjects += subjects
        self._pairs += pairs
        self._categories += np.bincount(block.column("relation/category")[relations], minlength=len(CATEGORIES))

    def by_category(self) -> dict[str, int]:
        """How many of the relations each category has."""
        return dict(zip(CATEGORIES, self._categories.tolist(), strict=True))

    def figures(self, images: int) -> Figures:
        """The figures over so many images."""
        return Figures(
            regions=self._regions,
            relations=self._relations,
            regions_per_image=_ratio(self._regions, images),
            relations_per_image=_ratio(self._relations, images),
            relations_per_region=_ratio(self._relations, self._regions),
            predicates_per_region=_ratio(self._pairs, self._subjects),
            categories={name: _ratio(count, self._relations) for name, count in self.by_category().items()},
        )


class _Counted:
    """What is counted once, over all rows or over those that stand now."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._steps, self._reasons = snapshot.vocabulary("step"), snapshot.vocabulary("reason")
        self._made = {table: np.zeros(len(self._steps) + 1, np.int64) for table in _TABLES}
        self._verdicts: dict[str, Counter[int]] = {table: Counter() for table in _TABLES}
        self.labels, self.predicates = (
            np.zeros(snapshot.array(f"vocabulary/{name}_len").rows, bool) for name in ("label", "predicate")
        )
        self.pairs = self.with_mask = self.described = 0

    def add(self, block: _Block) -> None:
        """Count one block."""
        for table in _TABLES:
            self._made[table] += np.bincount(block.column(f"{table}/made_by") + 1, minlength=len(self._steps) + 1)
            rejected = block.column(f"{table}/status") == 1
            judges = block.column(f"{table}/judged_by")[rejected].astype(np.int64) + 1
            reasons = block.column(f"{table}/reason")[rejected] + 1
            verdicts, counts = np.unique(judges * (len(self._reasons) + 1) + reasons, return_counts=True)
            self._verdicts[table].update(dict(zip(verdicts.tolist(), counts.tolist(), strict=True)))
        regions = block.region_kept
        for seen, path, kept in (
            (self.labels, "region/label", regions),
            (self.predicates, "relation/predicate", block.relation_kept),
        ):
            ids = block.column(path)[kept]
            seen[ids[ids >= 0]] = True
        an_image = np.bincount(block.region_image[regions])
        self.pairs += int((an_image * (an_image - 1)).sum())
        self.with_mask += int(np.count_nonzero(regions & (block.column("region/has_mask") == 1)))
        self.described += int(np.count_nonzero(regions & (block.column("region/description_count") > 0)))

    def rejected(self, table: str) -> int:
        """The rejected rows of a table."""
        return sum(self._verdicts[table].values())

    def makers(self, table: str) -> dict[str, int]:
        """All rows of a table by the step that made them, the source's own first."""
        given, *made = self._made[table].tolist()
        by_step = _named(np.array(made, np.int64), self._steps)
        return {**({SOURCE_STEP: by_step.pop(SOURCE_STEP, 0) + given} if given else {}), **by_step}

    def verdicts(self, table: str) -> dict[str, dict[str, int]]:
        """Rejected rows of a table by step and reason."""
        found: dict[str, dict[str, int]] = {}
        for code, count in sorted(self._verdicts[table].items()):
            step, reason = divmod(code, len(self._reasons) + 1)
            name = self._steps[step - 1] if step else SOURCE_STEP
            found.setdefault(name, {})[self._reasons[reason - 1] if reason else "-"] = count
        return found


Moment = tuple[np.ndarray, np.ndarray]


class _Judges:
    """The steps that judged relations or rejected regions, and which rows stood before and after each of them."""

    def __init__(self, snapshot: Snapshot, order: Sequence[str]) -> None:
        words = snapshot.vocabulary("step")
        rank = {name: place for place, name in enumerate(order)}
        self._last = len(order)
        # A row that no step made is the source's: it stood before all of them. Index -1 finds the last place.
        self._places = np.array([rank.get(name, -1) for name in words] + [-1])
        judging = np.zeros(len(words) + 1, bool)
        for block in _blocks(snapshot):
            judging[block.column("relation/judged_by")] = True
            judging[block.column("region/judged_by")[block.column("region/status") == 1]] = True
        found = [
            (rank.get(words[step], self._last), words[step], step) for step in np.flatnonzero(judging[:-1]).tolist()
        ]
        self._steps = [(place, step) for place, _, step in sorted(found)]
        self.names = tuple(words[step] for _, step in self._steps)

    def moments(self, block: _Block) -> list[tuple[Moment, Moment]]:
        """The regions and relations that stood before each step and after it, going back from what stands now."""
        rejected = {table: block.column(f"{table}/status") == 1 for table in _TABLES}
        alive = {table: ~mask for table, mask in rejected.items()}
        found = []
        for place, step in reversed(self._steps):
            after = self._standing(block, alive, place)
            alive = {
                table: mask | (rejected[table] & (block.column(f"{table}/judged_by") == step))
                for table, mask in alive.items()
            }
            found.append((self._standing(block, alive, place - 1), after))
        return found[::-1]

    def _standing(self, block: _Block, alive: Mapping[str, np.ndarray], last: int) -> Moment:
        """The rows that are alive and were made by the source or a step up to the place `last`."""
        regions, relations = (
            mask & (self._places[block.column(f"{table}/made_by")] <= last) for table, mask in alive.items()
        )
        return regions, block.with_regions(relations, regions)
