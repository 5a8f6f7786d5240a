"""What is shown of an image, and the questions and answers about it, by task."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from sgforge.graph import Question, Sample
from sgforge_robin.regions import MOST_REGIONS, box_texts, by_size, salient, thousandths_of
from sgforge_robin.text.graphs import GraphText, ObjectText, RelationText
from sgforge_robin.text.plain import attribute_texts, plain_name, plain_sentence
from sgforge_robin.text.tasks import (
    CHOICES,
    Task,
    Turn,
    ask_attributes,
    ask_choice,
    ask_description,
    ask_detection,
    ask_graph,
    ask_grounding,
    ask_pair,
    ask_question,
    ask_referring,
    ask_relations,
)

__all__ = ["Shown", "detection_of", "show", "turns"]

_RELATIONS: Final = 10
"""Relations of one subject that an answer lists at most; which, is drawn anew (released: the first 5 by number)."""
_PAIRS: Final = 40
"""Pairs that an example asks about."""
_PLACES: Final = 8
"""Regions that an example asks for by what they are: which of them it is, and at which of four places."""
_NAMED: Final = 0.5
"""How often an example's prefix says what its regions are: both kinds of input are met later."""
_DETECTED: Final = 50
"""Regions that an answer without given regions lists at most, the largest first (released: 50)."""


@attrs.frozen(eq=False, kw_only=True)
class Shown:
    """What an example shows of an image: `regions` (indices, in the order of their numbers from 1), as a text graph.

    `named`: whether the prefix says their labels. `phrases`: a description of each region that has one. `boxes`: the
    box text of each region. `questions`: those of the image whose answer is known.
    """

    regions: tuple[int, ...]
    graph: GraphText
    named: bool
    phrases: Mapping[int, str]
    boxes: Sequence[str]
    questions: tuple[Question, ...] = ()

    @property
    def meant(self) -> dict[int, str]:
        """What means one region and no other, by its number: its description, or its label where that is not shown."""
        names = {} if self.named else {item.region: item.name for item in self.graph.objects}
        texts = {number: plain_sentence(text) for number, text in (names | dict(self.phrases)).items()}
        often = Counter(texts.values())
        return {number: text for number, text in texts.items() if text and often[text] == 1}


def show(sample: Sample, dice: random.Random, kept: float) -> Shown:
    """A random order of a random share, `kept` to 1, of the image's regions."""
    indices = salient(sample, MOST_REGIONS)
    dice.shuffle(indices)
    share = dice.uniform(kept, 1.0)
    indices = indices[: max(round(len(indices) * share), min(len(indices), 2))]
    number = {index: place for place, index in enumerate(indices, start=1)}
    rows = {index: sample.graph.regions[index] for index in indices}
    phrases = {number[index]: region.descriptions[0] for index, region in rows.items() if region.descriptions}
    graph = _graph_of(sample, number)
    named = dice.random() < _NAMED
    questions = tuple(one for one in sample.values.get("questions", ()) if one.answer)
    return Shown(
        regions=tuple(indices),
        graph=graph,
        named=named,
        phrases=phrases,
        boxes=box_texts(sample, list(rows.values())),
        questions=questions,
    )


def detection_of(sample: Sample, dice: random.Random) -> Turn | None:
    """What is asked of an image that is shown without its regions; None if none of them has a label."""
    graph = sample.graph
    indices = [index for index in by_size(sample, _DETECTED) if plain_name(graph.regions[index].label)]
    number = {index: place for place, index in enumerate(indices, start=1)}
    whole = _graph_of(sample, number)
    boxes = thousandths_of(sample, [graph.regions[index] for index in indices])
    objects = [attrs.evolve(item, box=boxes[item.region - 1]) for item in whole.objects]
    related = [one for subject in number.values() for one in _some(_of(whole, subject), dice)]
    return ask_detection(GraphText(objects, related)) if objects else None


def turns(shown: Shown, tasks: Sequence[Task], dice: random.Random) -> list[Turn]:
    """All questions of these tasks about what is shown, in random order."""
    asked = [turn for task in tasks if task in _ASKED for turn in _ASKED[task](shown, dice)]
    dice.shuffle(asked)
    return asked


def _graph_of(sample: Sample, number: Mapping[int, int]) -> GraphText:
    """The regions that have a number, and the relations between them."""
    rows = {index: sample.graph.regions[index] for index in number}
    objects = [
        ObjectText(number[index], plain_name(region.label), attribute_texts(region.attributes))
        for index, region in rows.items()
        if plain_name(region.label)
    ]
    relations = [
        RelationText(number[one.subject], one.predicate, number[one.object])
        for one in sample.graph.relations.values()
        if one.subject in number and one.object in number
    ]
    return GraphText(objects, relations)


def _descriptions(shown: Shown, dice: random.Random) -> list[Turn]:
    return [] if shown.named else [ask_description(item.region, item.name) for item in shown.graph.objects]


def _attributes(shown: Shown, dice: random.Random) -> list[Turn]:
    return [ask_attributes(item.region, item.attributes) for item in shown.graph.objects if item.attributes]


def _referring(shown: Shown, dice: random.Random) -> list[Turn]:
    return [ask_referring(number, phrase) for number, phrase in shown.phrases.items() if plain_sentence(phrase)]


def _grounding(shown: Shown, dice: random.Random) -> list[Turn]:
    meant = list(shown.meant.items())
    return [ask_grounding(text, number) for number, text in dice.sample(meant, min(len(meant), _PLACES))]


def _choices(shown: Shown, dice: random.Random) -> list[Turn]:
    """At which of some places something is; the others are those of other regions."""
    meant = list(shown.meant.items())
    asked = []
    for number, text in dice.sample(meant, min(len(meant), _PLACES)):
        others = [place for place in range(1, len(shown.regions) + 1) if place != number]
        places = [number, *dice.sample(others, min(len(others), CHOICES - 1))]
        dice.shuffle(places)
        if len(places) > 1:
            boxes = [shown.boxes[place - 1] for place in places]
            asked.append(ask_choice(f"Where is {text}?", boxes, places.index(number)))
    return asked


def _questions(shown: Shown, dice: random.Random) -> list[Turn]:
    """Questions of the image, each answered through the graph of the regions that it is about; those not shown rest."""
    number = {index: place for place, index in enumerate(shown.regions, start=1)}
    asked = []
    for one in shown.questions:
        if any(index not in number for index in one.references):
            continue
        about = {number[index] for index in one.references}
        graph = GraphText(
            [item for item in shown.graph.objects if item.region in about],
            [relation for relation in shown.graph.relations if {relation.subject, relation.object} <= about],
        )
        offered = f" {', '.join(one.choices)}?" if one.choices else ""
        asked.append(ask_question(one.text + offered, graph, one.answer or ""))
    return asked


def _relations(shown: Shown, dice: random.Random) -> list[Turn]:
    """A question about every region, if anything is related at all: one without relations says so."""
    if not shown.graph.relations:
        return []
    return [
        ask_relations(subject, _some(_of(shown.graph, subject), dice)) for subject in range(1, len(shown.regions) + 1)
    ]


def _pairs(shown: Shown, dice: random.Random) -> list[Turn]:
    """Some of all pairs, related or not, as they come: so that `none` is as likely as it is."""
    by_pair: dict[tuple[int, int], list[str]] = {}
    for one in shown.graph.relations:
        by_pair.setdefault((one.subject, one.object), []).append(one.predicate)
    count = len(shown.regions)
    pairs = [(a, b) for a in range(1, count + 1) for b in range(1, count + 1) if a != b] if by_pair else []
    chosen = dice.sample(pairs, min(len(pairs), _PAIRS))
    return [ask_pair(*pair, dice.choice(by_pair.get(pair, [""]))) for pair in chosen]


def _graph(shown: Shown, dice: random.Random) -> list[Turn]:
    return [ask_graph(shown.graph)] if shown.graph.objects else []


def _of(graph: GraphText, subject: int) -> list[RelationText]:
    return [one for one in graph.relations if one.subject == subject]


def _some(relations: Sequence[RelationText], dice: random.Random) -> list[RelationText]:
    """At most so many of them, by object."""
    chosen = dice.sample(relations, min(len(relations), _RELATIONS))
    return sorted(chosen, key=lambda one: (one.object, one.predicate))


_ASKED: Final[Mapping[Task, Callable[[Shown, random.Random], list[Turn]]]] = {
    Task.DESCRIBE: _descriptions,
    Task.ATTRIBUTES: _attributes,
    Task.REFERRING: _referring,
    Task.GROUNDING: _grounding,
    Task.CHOICE: _choices,
    Task.QUESTION: _questions,
    Task.RELATIONS: _relations,
    Task.PAIR: _pairs,
    Task.GRAPH: _graph,
}
"""Of the tasks about regions that are shown; that of finding them has a prefix of its own."""
