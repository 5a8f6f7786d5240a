"""Small assignments: the least total by trying all, and the very pairs that the core finds."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.errors import GraphError
from sgforge.matching import hungarian
from sgforge_grpo.assigning import assigned


@st.composite
def tables(draw: st.DrawFn, most: int = 9) -> np.ndarray:
    rows, columns = draw(st.integers(0, most)), draw(st.integers(0, most))
    # Few different numbers, so that many assignments are as good as each other; and others that none is.
    numbers = st.integers(-2, 3).map(float) if draw(st.booleans()) else st.floats(-9, 9)
    values = draw(st.lists(numbers, min_size=rows * columns, max_size=rows * columns))
    return np.array(values, np.float64).reshape(rows, columns)


@given(tables())
def test_the_pairs_are_those_of_the_core(table):
    assert assigned(table).tolist() == hungarian(table).tolist()


@given(tables(most=4))
def test_no_other_assignment_costs_less(table):
    pairs = assigned(table)
    if table.shape[0] > table.shape[1]:
        table, pairs = table.T, pairs[:, ::-1]
    rows = range(table.shape[0])
    least = min(sum(table[row, one[row]] for row in rows) for one in permutations(range(table.shape[1]), len(rows)))
    assert sum(table[row, column] for row, column in pairs.tolist()) == pytest.approx(least)
    assert sorted(pairs[:, 0].tolist()) == list(rows)
    assert len(set(pairs[:, 1].tolist())) == len(rows)


def test_many_rows_and_numbers_that_are_none():
    cost = np.random.default_rng(0).random((80, 70))
    assert assigned(cost).tolist() == hungarian(cost).tolist()
    with pytest.raises(GraphError, match="an assignment needs finite numbers"):
        assigned(np.array([[1.0, np.nan]]))
