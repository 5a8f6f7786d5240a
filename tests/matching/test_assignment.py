"""Assignments against scipy and against every permutation."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linear_sum_assignment

from sgforge.errors import GraphError
from sgforge.matching import greedy, hungarian
from sgforge.matching.assignment import _owners, _owners_of_few

MATRICES = arrays.arrays(
    np.float64,
    st.tuples(st.integers(0, 6), st.integers(0, 6)),
    elements=st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)),
)


@given(MATRICES)
def test_no_other_assignment_costs_less(cost):
    pairs = hungarian(cost)
    rows, columns = linear_sum_assignment(cost)
    assert pairs.shape == (min(cost.shape), 2)
    assert pairs[:, 0].tolist() == sorted(set(pairs[:, 0].tolist()))
    assert len(set(pairs[:, 1].tolist())) == len(pairs)
    assert cost[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(cost[rows, columns].sum(), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_large_ones_are_those_of_scipy(seed):
    cost = np.random.default_rng(seed).random((60, 80))
    rows, columns = linear_sum_assignment(cost)
    assert hungarian(cost).tolist() == np.stack([rows, columns], axis=1).tolist()


@given(MATRICES)
def test_few_and_many_are_reckoned_in_the_same_steps(cost):
    """Of several best assignments too."""
    table = cost if cost.shape[0] <= cost.shape[1] else cost.T
    assert _owners_of_few(table.tolist(), table.shape[1]) == _owners(table).tolist()


def test_the_best_by_hand():
    # Row by row the cheapest is taken: 1 + 8 = 9; the other way round it is 2 + 3.
    assert hungarian([[1, 2], [3, 8]]).tolist() == [[0, 1], [1, 0]]
    every = np.random.default_rng(3).random((5, 5))
    best = min(permutations(range(5)), key=lambda order: sum(every[row, order[row]] for row in range(5)))
    assert hungarian(every)[:, 1].tolist() == list(best)


def test_greedy_takes_the_best_pair_first():
    score = [[0.9, 0.8, 0.1], [0.85, 0.2, 0.1]]
    assert greedy(score).tolist() == [[0, 0], [1, 1]]
    assert greedy(score, least=0.5).tolist() == [[0, 0]]
    assert greedy([[1, 1], [1, 1]]).tolist() == [[0, 0], [1, 1]]
    assert greedy(np.zeros((0, 3))).tolist() == []


@given(MATRICES, st.floats(-2, 2))
def test_greedy_is_the_loop_that_it_says(score, least):
    free = {(row, column): score[row, column] for row in range(score.shape[0]) for column in range(score.shape[1])}
    expected = []
    while free:
        best = max(free, key=lambda pair: (free[pair], -pair[0], -pair[1]))
        if free[best] < least:
            break
        expected.append(list(best))
        free = {pair: value for pair, value in free.items() if pair[0] != best[0] and pair[1] != best[1]}
    assert greedy(score, least).tolist() == expected


@pytest.mark.parametrize("function", [hungarian, greedy])
def test_what_is_no_number_is_named(function):
    with pytest.raises(GraphError, match="not nan in row 1, column 0"):
        function([[1.0], [np.nan]])
    with pytest.raises(GraphError, match="shape"):
        function([1.0, 2.0])
