"""The counts of a snapshot against the same counts made row by row from the samples, over random graphs."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from dataset.given import FEW, NAMES, by_id, key_of, sample_lists
from hypothesis import given, settings
from hypothesis import strategies as st

from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.dataset.queries import statistics
from sgforge.dataset.queries.statistics import Figures, Stats, statistics_of
from sgforge.graph import CATEGORIES, Region, Relation, Sample

Row = Region | Relation
Stands = Callable[[Row], bool]


def published(given: list[Sample], folder: Path) -> Snapshot:
    with DatasetWriter.open(folder) as writer:
        return writer.publish_source(given, [key_of(sample.image_id) for sample in given])


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def counted_figures(samples: list[Sample], stands: Stands) -> Figures:
    """Figures of the rows that stand, a relation with both its regions."""
    regions, relations, subjects = 0, [], {}
    for image, sample in enumerate(samples):
        rows = sample.graph.all
        regions += sum(map(stands, rows.regions))
        for row in rows.relations:
            if stands(row) and stands(rows.regions[row.subject]) and stands(rows.regions[row.object]):
                relations.append(row.category)
                subjects.setdefault((image, row.subject), set()).add(row.predicate)
    shares = Counter(relations)
    return Figures(
        regions=regions,
        relations=len(relations),
        regions_per_image=ratio(regions, len(samples)),
        relations_per_image=ratio(len(relations), len(samples)),
        relations_per_region=ratio(len(relations), regions),
        predicates_per_region=ratio(sum(map(len, subjects.values())), len(subjects)),
        categories={name: ratio(shares[name], len(relations)) for name in CATEGORIES},
    )


def counted_effects(samples: list[Sample], order: list[str]) -> list[tuple[str, Figures, Figures]]:
    """(step, before, after): a verdict of a later step, and a row that one made, are not there yet."""

    def place(step: str | None) -> int:
        return order.index(step) if step in order else -1

    every = [row for sample in samples for row in (*sample.graph.all.regions, *sample.graph.all.relations)]
    judging = {row.judged_by for row in every if isinstance(row, Relation) or row.status == "rejected"} - {None}
    steps = sorted(judging, key=lambda name: (order.index(name) if name in order else len(order), name))

    def moment(last: int, undone: Iterable[str]) -> Figures:
        undone = set(undone)
        return counted_figures(
            samples, lambda row: place(row.made_by) <= last and (row.status == "kept" or row.judged_by in undone)
        )

    found = []
    for at, name in enumerate(steps):
        rank = order.index(name) if name in order else len(order)
        found.append((name, moment(rank - 1, steps[at:]), moment(rank, steps[at + 1 :])))
    return found


def check_verdicts(stats: Stats, samples: list[Sample], table: str) -> None:
    rows = [row for sample in samples for row in getattr(sample.graph.all, f"{table}s")]
    makers = Counter("source" if row.made_by is None else row.made_by for row in rows)
    assert stats.made_by[table] == makers
    rejected = [row for row in rows if row.status == "rejected"]
    verdicts: dict[str, Counter[str]] = {}
    for row in rejected:
        step = "source" if row.judged_by is None else row.judged_by
        verdicts.setdefault(step, Counter())["-" if row.reason is None else row.reason] += 1
    assert stats.verdicts[table] == verdicts


def check(stats: Stats, samples: list[Sample], order: list[str]) -> None:
    now = counted_figures(samples, lambda row: row.status == "kept")
    for name in ("regions", "relations", "regions_per_image", "relations_per_image", "relations_per_region"):
        assert getattr(stats, name) == getattr(now, name), name
    assert stats.predicates_per_region == now.predicates_per_region
    kept = [list(sample.graph.regions.values()) for sample in samples]
    relations = [row for sample in samples for row in sample.graph.relations.values()]
    assert stats.images == len(samples)
    assert stats.density == ratio(now.relations, sum(len(rows) * (len(rows) - 1) for rows in kept))
    assert stats.labels == len({row.label for rows in kept for row in rows if row.label is not None})
    assert stats.predicates == len({row.predicate for row in relations})
    assert stats.categories == {name: sum(row.category == name for row in relations) for name in CATEGORIES}
    assert stats.regions_with_mask == sum(row.mask is not None for rows in kept for row in rows)
    assert stats.regions_with_description == sum(bool(row.descriptions) for rows in kept for row in rows)
    assert stats.regions_rejected == sum(row.status == "rejected" for s in samples for row in s.graph.all.regions)
    assert stats.relations_rejected == sum(row.status == "rejected" for s in samples for row in s.graph.all.relations)
    for table in ("region", "relation"):
        check_verdicts(stats, samples, table)
    assert [(each.step, each.before, each.after) for each in stats.filters] == counted_effects(samples, order)


BLOCKS = (sample_lists(min_size=1, max_size=5), st.lists(NAMES, unique=True), st.sampled_from([1, 4, 1000]))


@settings(FEW, max_examples=12)
@given(*BLOCKS)
def test_the_counts_are_those_made_row_by_row_whatever_the_block(samples, order, rows):
    counts_are_those_made_row_by_row(samples, order, rows)


@pytest.mark.slow
@FEW
@given(*BLOCKS)
def test_the_counts_of_more_datasets_are_those_made_row_by_row(samples, order, rows):
    counts_are_those_made_row_by_row(samples, order, rows)


def counts_are_those_made_row_by_row(samples, order, rows):
    # The fixture would be shared by all examples.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(statistics, "_ROWS", rows)
        check(statistics_of(published(samples, Path(folder)), order), by_id(samples), order)


def test_an_empty_dataset_has_no_counts(tmp_path):
    stats = statistics_of(published([], tmp_path))
    assert (stats.images, stats.regions, stats.relations, stats.density) == (0, 0, 0, 0.0)
    assert stats.filters == ()
