"""What the selected images say: labels, predicates with their categories, and a tokenizer learnt from these words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import CATEGORIES
from sgforge_robin.regions import MOST_REGIONS
from sgforge_robin.text.graphs import OBJECTS, RELATIONS, GraphText, ObjectText, RelationText
from sgforge_robin.text.plain import plain_name, plain_predicate
from sgforge_robin.text.tasks import (
    ask_attributes,
    ask_description,
    ask_graph,
    ask_pair,
    ask_referring,
    ask_relations,
    opening,
)

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["Vocabulary", "learn_vocabulary", "sentences"]

_KEPT: Final = 0
_REPEATED: Final = 20


@attrs.frozen
class Vocabulary:
    """Labels and predicates of kept rows, sorted; each predicate's commonest category; how many `relations`."""

    labels: tuple[str, ...]
    predicates: tuple[str, ...]
    categories: tuple[str, ...]
    relations: int


def learn_vocabulary(snapshot: Snapshot, rows: NDArray[np.int64]) -> Vocabulary:
    """The vocabulary of these image rows, read from the columns alone."""
    column: Any = snapshot.column
    regions = _rows_of(column("image/region_count"), rows) & (column("region/status") == _KEPT)
    relations = _rows_of(column("image/relation_count"), rows) & (column("relation/status") == _KEPT)
    labels = column("region/label").astype(np.int64)[regions]
    predicates = column("relation/predicate").astype(np.int64)[relations]
    votes = np.zeros((len(snapshot.vocabularies.predicate), len(CATEGORIES)), np.int64)
    np.add.at(votes, (predicates, column("relation/category").astype(np.int64)[relations]), 1)
    said = np.unique(predicates)
    names = snapshot.vocabularies.label
    return Vocabulary(
        tuple(names[place] for place in np.unique(labels[labels >= 0]).tolist() if plain_name(names[place])),
        tuple(snapshot.vocabularies.predicate[place] for place in said.tolist()),
        tuple(CATEGORIES[place] for place in votes[said].argmax(axis=1).tolist()),
        int(relations.sum()),
    )


def sentences(vocabulary: Vocabulary) -> Iterator[str]:
    """Texts that hold every word a training will say, the frequent ones often: what a tokenizer is learnt from."""
    words = [*map(plain_name, vocabulary.labels), *map(plain_predicate, vocabulary.predicates)]
    one, two = ObjectText(1, "thing"), ObjectText(2, "thing")
    graph = GraphText((one, two), (RelationText(1, "on", 2),))
    asked = [
        ask_description(1),
        ask_attributes(1),
        ask_referring(1),
        ask_relations(1),
        ask_graph(graph),
        ask_pair(1, 2),
    ]
    fixed = [opening(["", ""]), OBJECTS, RELATIONS, *(f"{turn.question}\nassistant\n{turn.answer}" for turn in asked)]
    for _ in range(_REPEATED):
        yield from fixed
        yield from words
        yield from (f"region1 {word}, region2" for word in words)
        yield from (f"region{number} region{number}?" for number in range(1, MOST_REGIONS + 1))


def _rows_of(counts: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of a table belong to these images."""
    chosen = np.zeros(len(counts), np.bool_)
    chosen[rows] = True
    return np.repeat(chosen, counts)
