"""What of a ranking stands in the saved predictions, worked out by hand."""

from __future__ import annotations

import numpy as np

import sgforge.engine.barriers.evaluation
from sgforge.engine.barriers.evaluation import saved_relations
from sgforge.graph import Region
from sgforge.stages import Ranking

REGIONS = (Region("cup", score=0.5), Region("table"), Region("lamp", score=0.1))


def saved(pairs: list[tuple[int, int]], scores: list[list[float]]) -> list[tuple[int, str, int, float]]:
    ranking = Ranking(REGIONS, np.array(pairs).reshape(-1, 2), ("on", "near"), np.array(scores).reshape(-1, 2))
    return [(row.subject, row.predicate, row.object, round(row.score or 0, 6)) for row in saved_relations(ranking)]


def test_relations_come_by_their_score_times_those_of_their_regions_and_keep_their_own() -> None:
    assert saved([(0, 1), (1, 2)], [[0.4, 0.2], [0.9, 0.3]]) == [
        (0, "on", 1, 0.4),  # 0.4 * 0.5 * 1 = 0.2
        (0, "near", 1, 0.2),  # 0.1
        (1, "on", 2, 0.9),  # 0.9 * 1 * 0.1 = 0.09
        (1, "near", 2, 0.3),  # 0.03
    ]


def test_what_no_graph_may_hold_or_was_given_no_chance_is_left_out() -> None:
    assert saved([(1, 1), (0, 1)], [[0.9, 0.8], [0.3, 0.0]]) == [(0, "on", 1, 0.3)]
    assert saved([(0, 1)], [[0.0, 0.0]]) == []
    assert saved([], []) == []


def test_of_very_many_the_best_stay_and_of_each_pair_the_best(monkeypatch) -> None:
    monkeypatch.setattr(sgforge.engine.barriers.evaluation, "SAVED_RELATIONS", 2)
    assert saved([(0, 1), (1, 2)], [[0.4, 0.2], [0.9, 0.3]]) == [
        (0, "on", 1, 0.4),
        (0, "near", 1, 0.2),
        (1, "on", 2, 0.9),
    ]
