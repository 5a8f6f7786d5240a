"""Exploits of a graph reward: under mode robust each is worth less than an honest answer, and so is any edit of one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
import pytest
from grpo.graphs import built, said

from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.matching import match_regions
from sgforge.stages import Outcome
from sgforge_eval.evaluate import Settings, evaluate_graphs

THINGS = [
    ("man.1", (100, 200, 400, 900)),
    ("horse.2", (300, 400, 800, 950)),
    ("hat.3", (180, 150, 300, 260)),
    ("tree.4", (700, 50, 990, 700)),
    ("dog.5", (20, 700, 140, 900)),
]
FACTS = [
    ("man.1", "riding", "horse.2"),
    ("man.1", "wearing", "hat.3"),
    ("horse.2", "in front of", "tree.4"),
    ("dog.5", "looking at", "horse.2"),
    ("dog.5", "left of", "man.1"),
]
WORDS = ["on", "near", "behind", "has", *(predicate for _, predicate, _ in FACTS)]
REWARDS = ("hard", "hard-relax", "soft", "f1", "hallucination")


def truth() -> Sample:
    places = {id_: place for place, (id_, _) in enumerate(THINGS)}
    regions = [Region(id_.partition(".")[0], box) for id_, box in THINGS]
    return Sample("a", SceneGraph(1000, 1000, regions, [Relation(places[a], b, places[c]) for a, b, c in FACTS]))


# Three of five relations, one of them under another name, and boxes a little off.
SAID_THINGS = [(id_, tuple(side + 12 for side in box)) for id_, box in THINGS[:4]]
SAID_FACTS = [*FACTS[:2], ("horse.2", "near", "tree.4")]
HONEST = said(SAID_THINGS, SAID_FACTS)
WHOLE = (0, 0, 1000, 1000)
PAIRS = [(a, c) for a, _ in THINGS for c, _ in THINGS if a != c]

EXPLOITS = {
    "NaN boxes": said([(id_, (float("nan"),) * 4) for id_, _ in THINGS], FACTS),
    "boxes without end": said([(id_, (0, 0, float("inf"), float("inf"))) for id_, _ in THINGS], FACTS),
    "every pair, one predicate": said(THINGS, [(a, "near", c) for a, c in PAIRS]),
    "every pair, every predicate": said(THINGS, [(a, word, c) for a, c in PAIRS for word in WORDS]),
    "one relation a hundred times": said(SAID_THINGS, SAID_FACTS[:1] * 100),
    "an empty graph": said([], []),
    "unknown ids": said(SAID_THINGS, [("man.9", "riding", "horse.9")] * 5),
    "boxes of the whole image": said([(id_, WHOLE) for id_, _ in THINGS], FACTS),
    "every name on the whole image": said([(f"{name}.{n}", WHOLE) for n, name in enumerate(WORDS * 5)], []),
    "the example of the prompt": said(
        [("person.1", (120, 200, 350, 700)), ("bike.2", (100, 400, 400, 900)), ("helmet.3", (180, 150, 260, 240))],
        [("person.1", "riding", "bike.2"), ("person.1", "wearing", "helmet.3")],
    ),
    "objects alone": said(THINGS, []),
}


def worth(name: str, *texts: str) -> list[float]:
    (credits,) = built(name, similarity="normal").score([truth()], [[Outcome(text=text) for text in texts]])
    return [credit.total for credit in credits]


@pytest.mark.parametrize("name", REWARDS)
def test_each_exploit_is_worth_less_than_an_honest_answer(name):
    honest, *hacks = worth(name, HONEST, *EXPLOITS.values())
    low, high = built(name).range
    assert low < honest < high
    worse = dict(zip(EXPLOITS, hacks, strict=True))
    if name == "soft":
        # It pays for objects by design: whoever finds all of them, better placed, is nearer to the truth in that.
        del worse["objects alone"], worse["every pair, one predicate"], worse["every pair, every predicate"]
    assert {hack: value for hack, value in worse.items() if value >= honest} == {}, honest


def test_what_the_released_code_pays_for_some_of_them():
    released = built("recall-hard", mode="upstream")
    ((nan, all_pairs, honest),) = (
        [credit.total for credit in group]
        for group in released.score(
            [truth()],
            [
                [Outcome(text=EXPLOITS[n]) for n in ("NaN boxes", "every pair, every predicate")]
                + [Outcome(text=HONEST)]
            ],
        )
    )
    assert nan == all_pairs == 1.0 > honest


@attrs.frozen
class Edited:
    """An answer under edit: things by id, and facts."""

    things: tuple[tuple[str, tuple[float, ...]], ...]
    facts: tuple[tuple[str, str, str], ...]

    @property
    def graph(self) -> SceneGraph:
        places = {id_: place for place, (id_, _) in enumerate(self.things)}
        regions = [Region(id_.partition(".")[0], box) for id_, box in self.things]
        return SceneGraph(1000, 1000, regions, [Relation(places[a], b, places[c]) for a, b, c in self.facts])


def _replace(items: Sequence, place: int, item) -> tuple:
    return (*items[:place], item, *items[place + 1 :])


def _moved(one: Edited, dice: random.Random) -> Edited:
    place = dice.randrange(len(one.things))
    id_, box = one.things[place]
    sides = [min(1000, max(0, side + dice.choice((-60, -12, 0, 5, 40)))) for side in box]
    fits = sides[0] < sides[2] and sides[1] < sides[3]
    return attrs.evolve(one, things=_replace(one.things, place, (id_, tuple(sides)))) if fits else one


def _renamed(one: Edited, dice: random.Random) -> Edited:
    place = dice.randrange(len(one.things))
    old, box = one.things[place]
    new = f"{dice.choice(THINGS)[0].partition('.')[0]}.{dice.randrange(100, 10**6)}"
    names = {old: new}
    facts = tuple((names.get(a, a), b, names.get(c, c)) for a, b, c in one.facts)
    return Edited(_replace(one.things, place, (new, box)), facts)


def _thing_added(one: Edited, dice: random.Random) -> Edited:
    name, box = dice.choice(THINGS)
    sides = box if dice.random() < 0.3 else tuple(sorted(dice.sample(range(1000), 2)) * 2)
    placed = (sides[0], sides[1], sides[2], sides[3])
    if not (placed[0] < placed[2] and placed[1] < placed[3]):
        placed = (min(placed[0], placed[2]), 0, max(placed[0], placed[2]) + 1, 500)
    return attrs.evolve(one, things=(*one.things, (f"{name.partition('.')[0]}.{dice.randrange(100, 10**6)}", placed)))


def _fact_added(one: Edited, dice: random.Random) -> Edited:
    first, second = dice.sample([id_ for id_, _ in one.things], 2)
    fact = (first, dice.choice(WORDS), second)
    return one if fact in one.facts else attrs.evolve(one, facts=(*one.facts, fact))


def _fact_dropped(one: Edited, dice: random.Random) -> Edited:
    if not one.facts:
        return one
    place = dice.randrange(len(one.facts))
    return attrs.evolve(one, facts=(*one.facts[:place], *one.facts[place + 1 :]))


def _fact_changed(one: Edited, dice: random.Random) -> Edited:
    return _fact_added(_fact_dropped(one, dice), dice)


KINDS: tuple[Callable[[Edited, random.Random], Edited], ...] = (
    _moved,
    _renamed,
    _thing_added,
    _fact_added,
    _fact_dropped,
    _fact_changed,
)


def edits(count: int, most: int, seed: int) -> Iterator[Edited]:
    """The honest answer, edited at random in 1 to `most` ways."""
    dice = random.Random(seed)
    honest = Edited(tuple(SAID_THINGS), tuple(SAID_FACTS))
    while count:
        one = honest
        for _ in range(dice.randint(1, most)):
            one = dice.choice(KINDS)(one, dice)
        if one != honest:
            count -= 1
            yield one


def found(predictions: Sequence[SceneGraph], truths: Sequence[SceneGraph]) -> np.ndarray:
    """The share of each truth's relations that the evaluator finds in its prediction, at IoU 0.5."""
    sides = [
        [Sample(f"{number:06}", attrs.evolve(one)) for number, one in enumerate(side)] for side in (predictions, truths)
    ]
    outcome = evaluate_graphs(*sides, Settings(k=(1000,)))
    family = next(one for one in outcome.metrics().families if "ngR@1000" in one.names)
    shares: np.ndarray = family.top[:, list(family.names).index("ngR@1000")]
    return shares


def closeness(graphs: Sequence[SceneGraph]) -> list[tuple[float, float]]:
    """Triplet F1 at IoU 0.5 by the evaluator, then the mean IoU of regions with their names."""
    goal = truth().graph
    goals = [goal] * len(graphs)
    recalled, right = found(graphs, goals), found(goals, graphs)
    answers = []
    for graph, recall, precision in zip(graphs, recalled.tolist(), right.tolist(), strict=True):
        overlap = sum(match.overlap for match in match_regions(graph, goal, least=0.0)) / len(THINGS)
        both = recall + precision
        answers.append((2 * recall * precision / both if both else 0.0, overlap))
    return answers


@pytest.fixture(
    scope="module",
    params=[(5, 2_500), (1, 2_500), *(pytest.param((most, 10_000), marks=pytest.mark.slow) for most in (5, 1))],
    ids=["up to five edits", "one edit", "more of up to five edits", "more of one edit"],
)
def searched(request) -> tuple[int, list[SceneGraph], list[tuple[float, float]]]:
    """The honest answer and thousands of edits of it, with how close each is to the truth."""
    most, count = request.param
    honest = Edited(tuple(SAID_THINGS), tuple(SAID_FACTS)).graph
    graphs = [honest, *(one.graph for one in edits(count, most=most, seed=20261126))]
    return most, graphs, closeness(graphs)


@pytest.mark.parametrize("name", ["hard", "hard-relax", "f1", "recall-hard", "soft", "hallucination"])
def test_no_edit_of_an_honest_answer_is_worth_more_without_being_closer_to_the_truth(searched, name):
    most, graphs, close = searched
    if most > 1 and name in ("soft", "hallucination"):
        pytest.skip("it counts objects beside relations: better objects may outweigh a relation lost")
    (credits,) = built(name, similarity="normal").score([truth()], [[Outcome(one) for one in graphs]])
    totals = [credit.total for credit in credits]
    better = [n for n in range(1, len(graphs)) if totals[n] > totals[0] + 1e-9]
    hacked = [n for n in better if close[n] <= close[0]]
    assert len(better) > 20, "a search that finds nothing better searches nothing"
    assert not hacked, [(totals[n], totals[0], close[n], close[0]) for n in hacked[:3]]


def test_the_search_finds_a_reward_that_can_be_hacked(searched):
    most, graphs, close = searched
    (credits,) = built("precision", similarity="normal").score([truth()], [[Outcome(one) for one in graphs]])
    hacked = [n for n in range(1, len(graphs)) if credits[n].total > credits[0].total and close[n] <= close[0]]
    assert most == 1 or len(hacked) > len(graphs) // 100
