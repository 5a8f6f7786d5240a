"""Two graphs matched: by hand, and against every assignment."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgforge.graph import Region, Relation, SceneGraph
from sgforge.masks import from_array
from sgforge.matching import RegionMatch, match_regions, match_relations, region_overlap

TRUTH = SceneGraph(
    100,
    100,
    [Region(label="cup", box=(0, 0, 10, 10)), Region(label="table", box=(0, 10, 100, 60)), Region(label="sky")],
    [Relation(0, "on", 1), Relation(0, "near", 1), Relation(1, "under", 0)],
)
FOUND = SceneGraph(
    100,
    100,
    [
        Region(label="Table", box=(0, 10, 100, 50)),
        Region(label="cup", box=(0, 0, 10, 20)),
        Region(label="cup", box=(0, 0, 10, 8)),
        Region(label="sky"),
    ],
    [Relation(2, "ON", 0), Relation(2, "on", 0), Relation(1, "on", 0), Relation(0, "beneath", 2)],
)


def test_regions_match_one_to_one_by_overlap_and_name():
    # cup: 100 of 200 pixels with the larger cup, 80 of 100 with the smaller; table: 4,000 of 5,000; sky has no place.
    assert match_regions(TRUTH, FOUND) == (RegionMatch(0, 2, 0.8, 1.0), RegionMatch(1, 0, 0.8, 1.0))
    assert match_regions(TRUTH, FOUND, least=0.81) == ()
    assert region_overlap(TRUTH, FOUND)[0].tolist() == pytest.approx([0.0, 0.5, 0.8, 0.0])


def test_the_best_pair_first_may_match_fewer():
    cups = [[Region(label="cup", box=(x, 0, x + 10, 1)) for x in places] for places in ((10, 14), (11, 7))]
    first, second = (SceneGraph(100, 10, rows) for rows in cups)
    # Shifted by 1 they share 9 of 11, by 3 they share 7 of 13, by 7 only 3 of 17.
    assert match_regions(first, second, how="greedy") == (RegionMatch(0, 0, 9 / 11, 1.0),)
    assert match_regions(first, second) == (RegionMatch(0, 1, 7 / 13, 1.0), RegionMatch(1, 0, 7 / 13, 1.0))


def test_boxes_overlap_by_the_convention_that_is_named():
    first, second = (SceneGraph(9, 9, [Region(label="cup", box=(0, 0, 1, y))]) for y in (1, 3))
    assert match_regions(first, second) == ()
    # With their last pixels 4 of 8.
    assert match_regions(first, second, pixels="legacy") == (RegionMatch(0, 0, 0.5, 1.0),)


def test_labels_can_be_left_out():
    mouse = SceneGraph(100, 100, [Region(label="mouse", box=(0, 0, 10, 10))])
    assert match_regions(TRUTH, mouse) == ()
    assert match_regions(TRUTH, mouse, similarity=None) == (RegionMatch(0, 0, 1.0, 1.0),)


def test_a_region_without_a_label_is_like_no_other():
    nameless = SceneGraph(100, 100, [Region(box=(0, 0, 10, 10))])
    assert match_regions(nameless, nameless) == ()
    assert len(match_regions(nameless, nameless, similarity=None)) == 1


def test_rejected_rows_take_no_part():
    cup = Region(label="cup", box=(0, 0, 9, 9))
    rejected = SceneGraph(10, 10, [Region(label="cup", box=(0, 0, 9, 9), status="rejected", reason="x"), cup])
    assert match_regions(rejected, rejected) == (RegionMatch(1, 1, 1.0, 1.0),)


def test_relations_match_once_by_their_regions_and_predicate():
    regions = match_regions(TRUTH, FOUND)
    assert match_relations(TRUTH, FOUND, regions) == ((0, 0),)
    assert match_relations(TRUTH, FOUND, ()) == ()
    anything = match_relations(TRUTH, FOUND, regions, similarity=lambda a, b: np.ones((len(a), len(b))))
    assert anything == ((0, 0), (1, 1), (2, 3))


def test_masks_overlap_by_pixel_and_a_region_without_one_overlaps_nothing():
    square = np.zeros((8, 8), bool)
    square[:4, :4] = True
    half = square & (np.arange(8) < 2)
    first = SceneGraph(8, 8, [Region(label="a", mask=from_array(square)), Region(label="a", box=(0, 0, 4, 4))])
    second = SceneGraph(8, 8, [Region(label="a", mask=from_array(half))])
    assert region_overlap(first, second, by="masks").tolist() == [[0.5], [0.0]]
    assert match_regions(first, second, by="masks") == (RegionMatch(0, 0, 0.5, 1.0),)
    # The box of the half is 2 by 4.
    assert region_overlap(first, second).tolist() == [[0.5], [0.5]]


BOXES = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 4), st.integers(1, 4))


def _graph(rows):
    regions = [Region(label=label, box=(x, y, x + w, y + h)) for label, (x, y, w, h) in rows]
    return SceneGraph(20, 20, regions)


GRAPHS = st.lists(st.tuples(st.sampled_from("ab"), BOXES), max_size=4).map(_graph)


@settings(max_examples=150, deadline=None)
@given(GRAPHS, GRAPHS, st.sampled_from([0.1, 0.3, 0.5]))
def test_no_assignment_matches_more_regions_or_the_same_number_better(first, second, least):
    overlap = region_overlap(first, second)
    rows, columns = list(first.regions.values()), list(second.regions.values())

    def value(pairs):
        good = [(i, j) for i, j in pairs if overlap[i, j] >= least and rows[i].label == columns[j].label]
        return len(good), sum(overlap[i, j] for i, j in good)

    padded = [*range(len(columns)), *([-1] * len(rows))]
    options = {tuple(order) for order in permutations(padded, len(rows))}
    best = max((value([(i, j) for i, j in enumerate(order) if j >= 0]) for order in options), default=(0, 0.0))
    found = match_regions(first, second, least=least)
    assert len(found) == best[0]
    assert sum(match.overlap for match in found) == pytest.approx(best[1])
    assert len({match.second for match in found}) == len(found)
