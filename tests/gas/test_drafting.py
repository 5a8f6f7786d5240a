"""Graphs drawn many at once: the same as one by one, whatever the bounds and the vocabulary."""

from __future__ import annotations

from typing import Any

import pytest

from sgforge_gas.config import GasOptions
from sgforge_gas.drafting import Drafter
from sgforge_gas.sampling import Sampler
from sgforge_gas.structures.dice import units_of
from sgforge_gas.vocabulary import Adjective, Noun, Predicate, SceneAttribute, Vocabulary

NOUNS = tuple(Noun(word=word, type=kind) for word, kind in (("cat", "animal"), ("dog", "animal"), ("cup", "thing")))
ADJECTIVES = (
    Adjective("red", "colour"),
    Adjective("blue", "colour"),
    Adjective("orange", "colour"),
    Adjective("orange", "smell", frozenset({"thing"})),
    Adjective("sleepy", "mood", frozenset({"animal"})),
    Adjective("small", "size"),
)
PREDICATES = (
    Predicate(word="above", kind="prepositional", category="spatial", inverse="below"),
    Predicate(word="below", kind="prepositional", category="spatial", inverse="above"),
    Predicate(word="chases", kind="finite", subjects=frozenset({"animal"}), objects=frozenset({"animal"})),
)
SCENE = (SceneAttribute("weather", "has {} weather", ("rainy", "fine")), SceneAttribute("mood", "feels {}", ("calm",)))
FULL = Vocabulary(name="few", nouns=NOUNS, adjectives=ADJECTIVES, predicates=PREDICATES, scene=SCENE)
CASES: list[tuple[dict[str, Any], Vocabulary | None]] = [
    ({}, None),
    ({"complexity": (7,)}, None),
    ({"complexity": (12,), "seed": 3}, None),
    ({"complexity": (5, 25)}, None),
    ({"scene_attributes": (0, 4)}, None),
    ({"scene_attributes": (2,), "prior": "structures"}, None),
    ({"cycles": True, "parallel": True, "complexity": (4, 9)}, None),
    ({"objects": (40,), "relations": (50,), "attributes": (20,)}, None),
    ({"complexity": (3, 8)}, FULL),
    ({"complexity": (3, 8), "scene_attributes": (0, 3)}, FULL),
    ({"complexity": (3, 6)}, Vocabulary(name="few", nouns=NOUNS, adjectives=ADJECTIVES, predicates=PREDICATES)),
    ({"objects": (1, 4), "relations": (0,), "attributes": (0,)}, Vocabulary(name="nouns", nouns=NOUNS)),
]


@pytest.mark.parametrize(("options", "vocabulary"), CASES)
def test_graphs_are_those_that_are_drawn_one_by_one(
    options: dict[str, Any], vocabulary: Vocabulary | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = range(1000, 2100)  # across the borders of what is drawn at once
    together = [(graph, dict(values)) for graph, values in Sampler(GasOptions(**options), vocabulary).graphs(items)]
    monkeypatch.setattr(Drafter, "takes", staticmethod(lambda vocabulary: False))
    alone = [(graph, dict(values)) for graph, values in Sampler(GasOptions(**options), vocabulary).graphs(items)]
    assert together == alone


def test_few_graphs_are_left_to_be_drawn_one_by_one() -> None:
    sampler = Sampler(GasOptions(complexity=(7,)))
    assert sampler._drafter is not None
    drafts = list(sampler._drafter.drafts(*units_of(0, range(2000))))
    assert len(drafts) == 2000
    assert drafts.count(None) < 200
