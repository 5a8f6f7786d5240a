"""The best cells of a table against a plain sort of all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sgforge.engine.barriers.evaluation import SAVED_RELATIONS, saved_relations
from sgforge.graph import Region
from sgforge.stages import Ranking
from sgforge.top_k import top_cells

# Few values make ties; the largest and smallest make products that round or vanish.
VALUES = st.sampled_from([0.0, 1e-45, 1e-30, 0.1, 0.25, 0.3, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 1.0])


@st.composite
def tables(draw):
    rows, columns = draw(st.integers(0, 6)), draw(st.integers(1, 40))
    values = draw(st.lists(VALUES, min_size=rows * columns, max_size=rows * columns))
    factors = draw(st.lists(VALUES, min_size=rows, max_size=rows))
    return np.array(values, np.float32).reshape(rows, columns), np.array(factors, np.float32)


def sorted_cells(scores, factor, count: int) -> list[int]:
    products = [np.float32(score) * np.float32(by) for row, by in zip(scores, factor, strict=True) for score in row]
    places = sorted(range(len(products)), key=lambda place: (-products[place], place))
    return [place for place in places if products[place] > 0][:count]


@given(tables(), st.integers(1, 30))
def test_the_best_cells_are_the_first_of_a_sort(given, count):
    scores, factor = given
    assert top_cells(scores, factor, count).tolist() == sorted_cells(scores, factor, count)


def test_the_best_cells_of_a_wide_table_are_the_first_of_a_sort():
    rng = np.random.default_rng(0)
    scores = (rng.random((30, 3000)) ** 8).astype(np.float32)
    factor = rng.random(30).astype(np.float32)
    for count in (1, 20, 100, 1000):
        expected = np.argsort(-(scores * factor[:, None]), axis=None, kind="stable")[:count]
        assert top_cells(scores, factor, count).tolist() == expected.tolist()


def test_of_regions_without_a_score_the_relations_are_saved_in_order():
    regions = (Region("cup", score=0.0), Region("table"))
    names = tuple(f"p{index:04}" for index in range(2 * SAVED_RELATIONS))
    scores = np.linspace(0.1, 0.9, len(names), dtype=np.float32).reshape(1, -1)
    saved = saved_relations(Ranking(regions, np.array([[0, 1]], np.int32), names, scores))
    # The pair's best one, and of all others, which are equally unlikely, the first so many.
    assert [row.predicate for row in saved] == [*names[:SAVED_RELATIONS], names[-1]]
