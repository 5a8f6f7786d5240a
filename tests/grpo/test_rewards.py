"""Rewards under mode robust: worked by hand, against a slow oracle, and by the contract."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from grpo.graphs import bigram, built, cases, credit_of, graph, said, sample, worth
from hypothesis import given
from hypothesis import strategies as st

from sgforge.errors import ConfigError, StepError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.stages import Credit, Failure, Outcome, Part, Resources
from sgforge.testing import HolderContract, RewardContract
from sgforge_grpo import _REWARDS, desk
from sgforge_grpo.comparing import _assigned
from sgforge_grpo.config import GateOptions
from sgforge_grpo.gate import GateReward

CUP, TABLE, LAMP = ("cup", (10, 10, 30, 50)), ("table", (0, 40, 100, 100)), ("lamp", (60, 0, 80, 40))
TRUTH = sample([CUP, TABLE, LAMP], [(0, "on", 1), (2, "on", 1), (0, "near", 2)])

for _name in _REWARDS:
    _class = type("TestContract" + _name.title().replace("-", ""), (RewardContract,), {"component": _name})
    globals()[_class.__name__] = _class


class TestContractGate(HolderContract, RewardContract):
    component = "gate"
    options = {"rewards": ["format", {"use": "recall-hard", "weight": 5.0}]}


PERFECT = {
    **dict.fromkeys(
        ["format", "node-accuracy", "node-box", "edge-soft", "recall-hard", "recall-relax", "precision"], 1.0
    ),
    **dict.fromkeys(["f1", "predicate-rarity", "length", "hallucination"], 1.0),
    "hard": 6.0,
    "hard-relax": 6.0,
    "soft": 10.0,
}


def test_objects_are_assigned_at_the_least_cost_of_all_together():
    # The best pair first would leave the other at 1; in the next no two want the same; one is empty, wide, tall.
    costs = [[[0.0, 0.1], [0.05, 1.0]], [[0.0, 0.1], [0.5, 0.0]], [[3.0, 1.0, 2.0]], [[3.0], [1.0], [2.0]]]
    flat = np.concatenate([np.array(cost).ravel() for cost in costs])
    found = _assigned(flat, np.array([2, 0, 2, 1, 3]), np.array([2, 4, 2, 3, 1]))
    assert [one.tolist() for one in found] == [[0, 1, 2, 3, 4, 6], [1, 2, 4, 7, 9, 12]]


def least_of(cost: np.ndarray) -> float:
    wide = cost if cost.shape[0] <= cost.shape[1] else cost.T
    return min(
        sum(wide[row, of] for row, of in enumerate(one)) for one in permutations(range(wide.shape[1]), len(wide))
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4), st.randoms(use_true_random=False))
def test_many_are_assigned_as_each_alone(shapes, dice):
    costs = [np.array([dice.randrange(6) for _ in range(rows * columns)], float) for rows, columns in shapes]
    rows, columns = (np.array([shape[side] for shape in shapes], np.int64) for side in (0, 1))
    own, places = _assigned(np.concatenate([np.zeros(0), *costs]), rows, columns)
    total = sum(least_of(cost.reshape(shape)) for shape, cost in zip(shapes, costs, strict=True))
    assert np.concatenate([np.zeros(0), *costs])[places].sum() == pytest.approx(total)
    begins, first = (rows * columns).cumsum() - rows * columns, rows.cumsum() - rows
    matrix = begins.searchsorted(places, side="right") - 1 if len(shapes) else places
    assert len(own) == np.minimum(rows, columns).sum()
    column = (places - begins[matrix]) % np.maximum(columns[matrix], 1)
    assert (own == first[matrix] + (places - begins[matrix]) // np.maximum(columns[matrix], 1)).all()
    assert len(set(own.tolist())) == len(set(zip(matrix.tolist(), column.tolist(), strict=True))) == len(own)


@pytest.mark.parametrize(("name", "most"), PERFECT.items())
def test_the_truth_itself_is_worth_the_most_and_nothing_the_least(name, most):
    credit = credit_of(name, TRUTH, TRUTH.graph)
    assert credit.total == pytest.approx(most)
    assert built(name).range[1] == most
    for nothing in (SceneGraph(100, 100), "", '{"objects": [], "relationships": []}'):
        assert worth(name, TRUTH, nothing) == 0.0


@pytest.mark.parametrize("name", PERFECT)
def test_a_truth_without_relations_is_never_worth_anything_for_relations(name):
    bare = sample([CUP, TABLE])
    answer = graph([CUP, TABLE], [(0, "on", 1)])
    if name in ("edge-soft", "recall-hard", "recall-relax", "precision", "f1", "predicate-rarity", "length"):
        assert worth(name, bare, answer) == 0.0
    else:
        assert worth(name, bare, answer) > 0.0
    assert worth(name, sample([]), answer) <= (1.0 if name in ("format", "hard", "hard-relax", "soft") else 0.0)


def test_recall_worked_by_hand():
    # 2 of 3 relations found, 1 wrong: recall 2/3, Jaccard 2/4, F1 4/6, precision 2/3.
    answer = graph([CUP, TABLE, LAMP], [(0, "on", 1), (2, "on", 1), (1, "under", 0)])
    assert worth("recall-hard", TRUTH, answer, wrong=0.0) == pytest.approx(2 / 3)
    assert worth("recall-hard", TRUTH, answer) == pytest.approx(2 / 4)
    assert worth("recall-hard", TRUTH, answer, wrong=0.5) == pytest.approx(2 / 3.5)
    assert worth("f1", TRUTH, answer) == pytest.approx(4 / 6)
    assert worth("precision", TRUTH, answer) == pytest.approx(2 / 3)
    credit = credit_of("recall-hard", TRUTH, answer)
    assert credit.relations == (1.0, 1.0, 0.0)
    assert worth("hard", TRUTH, answer) == pytest.approx(1 + 5 / 2)


def test_an_iou_of_a_half_is_near_enough_and_less_is_not():
    # 10..30 by 10..50 against 10..30 by 10..30: IoU exactly 1/2; by 10..29: less.
    for top, found in ((30, 1.0), (29.9, 0.0)):
        answer = graph([("cup", (10, 10, 30, top)), TABLE], [(0, "on", 1)])
        assert worth("recall-hard", sample([CUP, TABLE], [(0, "on", 1)]), answer) == found


def test_a_number_of_hundreds_of_digits_takes_its_own_box_alone():
    truth = sample([CUP, TABLE])
    # The first answers that are read with these options are looked at for their unit, as they were written.
    answer = said([("cup.1", (10**400, 100, 300, 500)), ("table.2", (0, 400, 1000, 1000))])
    assert worth("node-box", truth, answer, iou=0.47) == pytest.approx(1 / 2)


def test_nodes_worked_by_hand():
    truth = sample([CUP, TABLE])
    # The cup's box has an IoU of 20*20 / (20*40) = 1/2, the table is said to be a lamp, the third thing is not there.
    answer = graph([("cup", (10, 10, 30, 30)), ("lamp", TABLE[1]), ("dog", (80, 0, 90, 10))])
    assert worth("node-box", truth, answer, wrong=0.0) == pytest.approx((0.5 + 1.0) / 2)
    assert worth("node-box", truth, answer) == pytest.approx(1.5 / (2 + 3 - 1.5))
    assert worth("node-accuracy", truth, answer, wrong=0.0) == pytest.approx(1 / 2)
    assert credit_of("node-accuracy", truth, answer).regions == (1.0, 0.0, 0.0)
    # At a third of the IoU that is asked for, a name is worth a third.
    far = graph([("cup", (10, 10, 30, 50 - 40 * 5 / 6))])
    assert worth("node-accuracy", sample([CUP]), far) == pytest.approx((1 / 3) / (1 + 1 - 1 / 3))


def test_several_predicates_of_a_pair_all_count():
    truth = sample([CUP, TABLE], [(0, "on", 1), (0, "near", 1)])
    both = graph([CUP, TABLE], [(0, "on", 1), (0, "near", 1)])
    for name in ("edge-soft", "recall-hard", "recall-relax"):
        assert worth(name, truth, both) == 1.0
        assert worth(name, truth, graph([CUP, TABLE], [(0, "near", 1)])) == 0.5


def test_names_are_normalised_on_both_sides():
    truth = sample([("sky-other_merged", (0, 0, 100, 50)), TABLE], [(0, "Above_the", 1)])
    answer = graph([("Sky other merged", (0, 0, 100, 50)), ("TABLE.4", TABLE[1])], [(0, "above the", 1)])
    for name in PERFECT:
        assert worth(name, truth, answer, similarity="exact") == PERFECT[name]
    assert worth("recall-hard", truth, graph([("skies", (0, 0, 100, 50)), TABLE], [(0, "above the", 1)])) == 0.0


def test_likeness_counts_where_it_is_asked_for():
    words = {"on": {"on": 1.0, "upon": 0.8}, "cup": {"cup": 1.0, "mug": 0.5}, "table": {"table": 1.0}}

    def similarity(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        return np.array(
            [[max(words.get(a, {}).get(b, 0.0), words.get(b, {}).get(a, 0.0)) for b in second] for a in first]
        )

    from sgforge_grpo.config import GraphRewardOptions
    from sgforge_grpo.rewards import EdgeSoftReward, RecallHardReward, RecallRelaxReward

    truth, answer = sample([CUP, TABLE], [(0, "on", 1)]), graph([("mug", CUP[1]), TABLE], [(0, "upon", 1)])
    options = GraphRewardOptions(wrong=0.0)
    found = {
        kind: kind(options, similarity).score([truth], [[Outcome(answer)]])[0][0].total
        for kind in (RecallHardReward, RecallRelaxReward, EdgeSoftReward)
    }
    assert found == {RecallHardReward: 0.0, RecallRelaxReward: pytest.approx(0.4), EdgeSoftReward: pytest.approx(0.4)}


def test_a_soft_edge_needs_boxes_where_the_paper_s_does_not():
    truth = sample([CUP, TABLE], [(0, "on", 1)])
    doubled = said([("cup.1", (20, 20, 60, 100)), ("table.2", (0, 80, 200, 200))], [("cup.1", "on", "table.2")])
    released = worth(
        "edge-soft",
        truth,
        said([("cup.1", (200, 200, 600, 1000)), ("table.2", (0, 800, 1000, 1000))], [("cup.1", "on", "table.2")]),
        mode="upstream",
    )
    assert released == 1.0
    assert worth("edge-soft", truth, doubled) < 0.1


def test_rare_predicates_weigh_more():
    truth = sample([CUP, TABLE, LAMP], [(0, "on", 1), (0, "balanced on", 2)])
    counts = {"on": 100, "balanced on": 1}
    # Weights 1/10 and 1.
    for predicate, end, expected in (("on", 1, 0.1 / 1.1), ("balanced on", 2, 1 / 1.1)):
        found = worth("predicate-rarity", truth, graph([CUP, TABLE, LAMP], [(0, predicate, end)]), counts=counts)
        assert found == pytest.approx(expected)
    plain = worth("predicate-rarity", truth, graph([CUP, TABLE, LAMP], [(0, "on", 1)]))
    assert plain == pytest.approx(0.5)


def test_counts_come_from_a_file_too(tmp_path):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({"on": 4}))
    truth = sample([CUP, TABLE], [(0, "on", 1), (0, "near", 1)])
    assert worth("predicate-rarity", truth, graph([CUP, TABLE], [(0, "on", 1)]), counts_file=path) == pytest.approx(
        1 / 3
    )
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="must hold whole numbers by predicate"):
        built("predicate-rarity", counts_file=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        built("predicate-rarity", counts_file=tmp_path / "none.json")


def test_length_is_the_lesser_by_the_greater():
    for count, expected in ((1, 1 / 3), (3, 1.0), (6, 0.5)):
        facts = [(0, f"word {number}", 1) for number in range(count)]
        assert worth("length", TRUTH, graph([CUP, TABLE], facts)) == pytest.approx(expected)
    assert worth("length", TRUTH, graph([CUP, TABLE], [(0, "x", 1)] * 1), slack=2.0) == pytest.approx(2 / 3)


def test_hallucination_worked_by_hand():
    truth = sample([CUP, TABLE], [(0, "on", 1)])
    answer = graph([CUP, TABLE, LAMP, ("dog", (50, 0, 60, 10))], [(0, "on", 1), (2, "on", 1)])
    credit = credit_of("hallucination", truth, answer)
    # Nodes: recall 1, precision 1/2, so 2/3; relations the same; of 6 things said 3 are not there.
    assert credit.total == pytest.approx(2 / 3 - 0.5 * 0.5)
    assert credit.parts["unsupported"] == pytest.approx(0.5)
    assert worth("hallucination", truth, graph([LAMP], [])) == pytest.approx(-0.5)


def test_form_counts_what_can_be_read():
    things, facts = [("cup.1", (100, 100, 300, 500)), ("table.2", (0, 400, 1000, 1000))], [("cup.1", "on", "table.2")]
    assert worth("format", TRUTH, said(things, facts)) == 1.0
    assert worth("format", TRUTH, said(things, [*facts, ("cup.1", "on", "sky.9")])) == pytest.approx(3 / 4)
    assert worth("format", TRUTH, said(things, facts, tags=False)) == 1.0
    assert worth("format", TRUTH, said(things, facts, tags=False), tags=True) == 0.5
    assert worth("format", TRUTH, said(things, facts)[:-30]) == 0.0
    assert worth("format", TRUTH, Outcome(TRUTH.graph, faults=("unknown-id",))) == pytest.approx(6 / 7)


def test_a_duplicate_is_credited_once():
    answer = graph([CUP, TABLE, LAMP, CUP], [(0, "on", 1), (0, "on", 1), (3, "on", 1)])
    credit = credit_of("recall-hard", TRUTH, answer)
    assert credit.relations == (1.0, 0.0, 0.0)
    assert credit.total == pytest.approx(1 / 3)
    assert credit.parts["faults"] == 3.0


def test_presets_take_other_weights_and_refuse_none():
    assert worth("hard", TRUTH, TRUTH.graph, form=0.0, edges=2.0) == 2.0
    assert credit_of("soft", TRUTH, TRUTH.graph).parts == pytest.approx(
        {"format": 1.0, "node-accuracy": 1.0, "node-box": 1.0, "edge-soft": 1.0, "faults": 0.0}
    )
    with pytest.raises(ConfigError, match="nothing is worth anything"):
        built("hard", form=0.0, edges=0.0)


class Fixed:
    def __init__(self, *totals: float | None, ends: tuple[float, float] = (0.0, 1.0)) -> None:
        self.totals, self.range = totals, ends

    def score(self, samples, outcomes):
        return [[Failure("odd") if total is None else Credit(total) for total in self.totals]]


def gate(*parts: Part, least: float = 0.5) -> GateReward:
    reward = GateReward(GateOptions(rewards=("x",), least=least))
    reward.setup(Resources(parts={"rewards": parts}))
    return reward


def test_a_gate_counts_what_comes_later_only_if_what_comes_earlier_passes():
    form, edges = Fixed(1.0, 0.4, None, 1.0), Fixed(0.5, 0.5, 0.5, None)
    reward = gate(Part("form", 1.0, Resources(), form), Part("edges", 5.0, Resources(), edges))
    assert reward.range == (0.0, 6.0)
    ((first, second, third, fourth),) = reward.score([TRUTH], [[Outcome()] * 4])
    assert (first.total, first.parts["passed"]) == (3.5, 2.0)
    assert (second.total, second.parts["passed"], second.parts["edges"]) == (0.4, 0.0, 0.0)
    # A failure counts only where the gate is reached.
    assert isinstance(third, Failure)
    assert isinstance(fourth, Failure)
    with pytest.raises(StepError, match="weight below 0"):
        gate(Part("form", -1.0, Resources(), form))


def test_equal_answers_in_a_group_are_worth_the_same_whatever_is_beside_them():
    texts = [said([("cup.1", (100, 100, 300, 500))]), "", said([("cup.1", (100, 100, 300, 500)), ("cup.1", 3)])]
    for name in PERFECT:
        together = built(name).score([TRUTH], [[Outcome(text=text) for text in texts]])[0]
        alone = [credit_of(name, TRUTH, text) for text in texts]
        assert [one.total for one in together] == pytest.approx([one.total for one in alone])


def bigrams(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    return np.array([[bigram(one, other) for other in second] for one in first])


@pytest.mark.parametrize("most", [40, 50_000])
def test_answers_to_many_truths_are_worth_what_each_is_alone(monkeypatch, most):
    # Few pairs at once, and all: answers are compared in several parts, and with others that have other truths.
    monkeypatch.setattr(desk, "_PAIRS", most)
    lone = Sample("b", SceneGraph(300, 50, [Region("cups", (0, 0, 290, 40)), Region("", (5, 5, 9, 9))]))
    truths = [TRUTH, sample([]), lone, sample([CUP, CUP, LAMP], [(0, "near", 2), (1, "on", 0)]), TRUTH]
    texts = [case["completion"] for case in list(cases())[::25]]
    boxes = [("cup.1", (100, 100, 300, 500)), ("cups.2", (90, 100, 300, 520)), ("table.3", (0, 400, 1000, 1000))]
    texts += [
        said(boxes, [("cup.1", "on", "table.3"), ("cups.2", "onto", "table.3")]),
        said([*boxes, ("lamp.4", "no")]),
    ]
    given = [Outcome(text=text) for text in texts] + [Outcome(one.graph) for one in truths] + [Outcome()]
    groups = [given[place:] + given[:place] if place != 1 else [] for place in range(len(truths))]
    for name in PERFECT:
        reward = built(name, bigrams)
        together = reward.score(truths, groups)
        alone = [
            [reward.score([truth], [[one]])[0][0] for one in group] for truth, group in zip(truths, groups, strict=True)
        ]
        assert together == alone
        assert name == "format" or len({credit.total for group in alone for credit in group}) > 3


def test_only_names_of_answers_compared_together_are_compared(monkeypatch):
    # An answer of its own part each; a name that only a relation mentions is no thing's, nor is that of another part.
    monkeypatch.setattr(desk, "_PAIRS", 0)
    asked: list[tuple[list[str], list[str]]] = []

    def equal(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        asked.append((sorted(first), sorted(second)))
        return np.array([[float(one == other) for other in second] for one in first])

    truths = [sample([CUP, TABLE], [(0, "on", 1)]), sample([LAMP, TABLE], [(0, "by", 1)])]
    outcomes = [
        [Outcome(text=said([("cup.1", (100, 100, 300, 500)), ("hat.2", (0, 0, 9, 9))], [("cup.1", "on", "sky.3")]))],
        [Outcome(truths[1].graph)],
    ]
    credits = built("f1", equal).score(truths, outcomes)
    assert [[credit.total for credit in group] for group in credits] == [[0.0], [1.0]]
    assert asked == [(["cup", "hat"], ["cup", "table"]), (["lamp", "table"],) * 2, (["by"], ["by"])]


def iou(first, second) -> float:
    wide = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    high = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)) - wide * high
    return wide * high / union


boxes = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 4), st.integers(1, 4)).map(
    lambda t: (t[0], t[1], t[0] + t[2], t[1] + t[3])
)
things = st.lists(st.tuples(st.sampled_from(["a", "b"]), boxes), min_size=2, max_size=4, unique=True)
facts = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["x", "y"]), st.integers(0, 3)), max_size=4, unique=True)


def drawn(things, facts) -> SceneGraph:
    return graph(things, [fact for fact in facts if fact[2] < len(things) and fact[0] != fact[2]], (20, 20))


@given(things, facts, things, facts)
def test_what_is_met_is_what_a_search_over_all_pairings_finds(true_things, true_facts, said_things, said_facts):
    """At most as many as the best pairing, at least half of it (greedy), and equal where no two compete."""
    truth, answer = drawn(true_things, true_facts), drawn(said_things, said_facts)
    true_rows, rows = list(truth.relations.values()), list(answer.relations.values())

    def meets(row, other) -> bool:
        ends = ((row.subject, other.subject), (row.object, other.object))
        same = all(
            answer.regions[a].label == truth.regions[b].label and iou(answer.box_of(a), truth.box_of(b)) >= 0.5
            for a, b in ends
        )
        return same and row.predicate == other.predicate

    table = [[meets(row, other) for other in true_rows] for row in rows]
    small, large = sorted((len(rows), len(true_rows)))
    by_rows = len(rows) <= len(true_rows)
    best = max(
        sum(table[i][p] if by_rows else table[p][i] for i, p in enumerate(chosen))
        for chosen in permutations(range(large), small)
    )
    credit = credit_of("recall-hard", Sample("a", truth), answer, similarity="exact", wrong=0.0)
    found = sum(credit.relations)
    assert best / 2 <= found <= best
    if all(sum(row) <= 1 for row in table) and all(sum(column) <= 1 for column in zip(*table, strict=True)):
        assert found == best
    assert credit.total == pytest.approx(found / len(true_rows) if true_rows else 0.0)
    assert all(not credit.relations[i] or any(table[i]) for i in range(len(rows)))


@given(things, facts, things, facts)
def test_whatever_is_said_a_total_is_in_its_range(true_things, true_facts, said_things, said_facts):
    truth, answer = drawn(true_things, true_facts), drawn(said_things, said_facts)
    for name in PERFECT:
        low, high = built(name).range
        credit = credit_of(name, Sample("a", truth), answer)
        assert low <= credit.total <= high
        assert math.isfinite(credit.total)


def test_the_wrong_unit_is_noticed(tmp_path: Path):
    truth = sample([(f"thing {n}", (10 * n, 10, 10 * n + 8, 60)) for n in range(9)])
    pixels = said([(f"thing {n}.{n}", (10 * n, 10, 10 * n + 8, 60)) for n in range(9)])
    reward = built("node-box", similarity="normal", iou=0.51)
    with pytest.warns(RuntimeWarning, match="set boxes = 'pixels'"):
        reward.score([truth], [[Outcome(text=pixels)] * 3])
    assert worth("node-box", truth, pixels, boxes="pixels") == pytest.approx(1.0)
    fractions = said([(f"thing {n}.{n}", (n / 10, 0.1, n / 10 + 0.08, 0.6)) for n in range(9)])
    assert worth("node-box", truth, fractions, boxes="unit") == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((640, 480), 401_408, (644, 476)),
        ((100, 50), 401_408, (112, 56)),
        ((28, 28), 401_408, (56, 56)),
        ((4000, 3000), 401_408, (728, 532)),
    ],
)
def test_the_size_that_a_processor_makes(size, most, expected):
    from sgforge_grpo.units import processed_size

    assert processed_size(size, most) == expected
