"""What a Robin says of images: all questions about them as one batch, read strictly, every relation with its score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from sgforge_robin.config import RobinOptions
from sgforge_robin.decoding.decode import Ask, Said, Sampling, decode
from sgforge_robin.decoding.grammar import RelationsGrammar, Spellings
from sgforge_robin.decoding.spoken import spoken_scores, spoken_triplets
from sgforge_robin.encoding import ask_ids
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.looking import Look, pair_probabilities
from sgforge_robin.text.graphs import RelationText, parse_graph, parse_relations
from sgforge_robin.text.plain import plain_name
from sgforge_robin.text.tasks import Turn, ask_description, ask_graph, ask_relations

__all__ = ["Described", "ScoredRelation", "Told", "answers_about", "sampling_of"]

GRAPH_TOKENS: Final = 8
"""A whole graph's answer may be so many times as long as that about one subject."""


@attrs.frozen
class ScoredRelation:
    """A relation between two region numbers, and P(predicate | subject, object)."""

    subject: int
    predicate: str
    object: int
    score: float


@attrs.frozen
class Described:
    """What a region was called, and the probability of that."""

    label: str
    score: float


@attrs.frozen
class Told:
    """All that was said of one image; `faults` counts by reason what of it could not be read."""

    relations: tuple[ScoredRelation, ...]
    labels: Mapping[int, Described]
    faults: Mapping[str, int]


@attrs.frozen(eq=False)
class _Question:
    """A question about an image: which look, and the region number it is about, 0 for the whole."""

    look: int
    number: int
    turn: Turn
    constrained: bool


def answers_about(
    robin: TrainedRobin, spellings: Spellings, looks: Sequence[Look], options: RobinOptions, seed: int
) -> list[Told]:
    """What is said of each encoded image."""
    questions = [one for place, look in enumerate(looks) for one in _questions(place, look, options)]
    sampling = sampling_of(robin, options, seed, whole=options.mode == "full-graph")
    asks = [_ask(robin, spellings, looks, question) for question in questions]
    said = decode(robin.model, [look.prefix for look in looks], asks, sampling)
    by_look: dict[int, list[tuple[_Question, Said]]] = {}
    for question, answer in zip(questions, said, strict=True):
        by_look.setdefault(question.look, []).append((question, answer))
    return [_told(robin, look, by_look.get(place, [])) for place, look in enumerate(looks)]


def sampling_of(robin: TrainedRobin, options: RobinOptions, seed: int, whole: bool) -> Sampling:
    """How answers are said; that for a `whole` graph may be longer."""
    return Sampling(
        end=robin.tokenizer.end,
        limit=options.max_tokens * (GRAPH_TOKENS if whole else 1),
        temperature=options.temperature,
        seed=seed,
        banned=robin.tokenizer.unspeakable,
    )


def _questions(place: int, look: Look, options: RobinOptions) -> list[_Question]:
    count = len(look.indices)
    regions = look.sample.graph.regions
    nameless = [number for number, index in enumerate(look.indices, start=1) if not plain_name(regions[index].label)]
    asked = [_Question(place, number, ask_description(number), False) for number in nameless]
    if options.mode == "full-graph":
        return [*asked, _Question(place, 0, ask_graph(), False)]
    subjects = range(1, count + 1) if count > 1 else ()
    return asked + [_Question(place, number, ask_relations(number), options.constrained) for number in subjects]


def _ask(robin: TrainedRobin, spellings: Spellings, looks: Sequence[Look], question: _Question) -> Ask:
    look = looks[question.look]
    grammar = RelationsGrammar(spellings, question.number, len(look.indices)) if question.constrained else None
    key = f"{look.sample.image_id}/{question.turn.task}/{question.number}"
    return Ask(question.look, ask_ids(robin.tokenizer, question.turn.question), key, grammar)


def _told(robin: TrainedRobin, look: Look, answers: Sequence[tuple[_Question, Said]]) -> Told:
    """One image's answers, read."""
    faults: Counter[str] = Counter()
    labels: dict[int, Described] = {}
    found: dict[RelationText, float] = {}
    count = len(look.indices)
    for question, said in answers:
        text = robin.tokenizer.text(said.ids)
        if question.turn.task == ask_description(1).task:
            _describe(labels, question.number, text, said, faults)
            continue
        whole = question.number == 0
        graph = (
            parse_graph(text, truncated=not said.ended)
            if whole
            else parse_relations(text, question.number, count, truncated=not said.ended)
        )
        faults.update(graph.dropped)
        spoken = (
            spoken_triplets(robin.tokenizer, said)
            if whole
            else {
                (question.number, predicate, other): share
                for (other, predicate), share in spoken_scores(robin.tokenizer, said).items()
            }
        )
        for one in graph.relations:
            if max(one.subject, one.object) <= count:
                found.setdefault(one, spoken.get((one.subject, one.predicate, one.object), 0.0))
            else:
                faults["unknown-region"] += 1
    return Told(_scored(robin, look, found), labels, dict(faults))


def _describe(labels: dict[int, Described], number: int, text: str, said: Said, faults: Counter[str]) -> None:
    name = plain_name(text)
    if not name or not said.ended:
        faults["no-label"] += 1
        return
    labels[number] = Described(name, said.probability)


def _scored(robin: TrainedRobin, look: Look, found: Mapping[RelationText, float]) -> tuple[ScoredRelation, ...]:
    """The relations with P(predicate | subject, object).

    A Robin that was asked about pairs is asked again, exactly and calibrated over all predicates it knows; of another
    one the probabilities of the words as they were said.
    """
    if not found or not robin.known.knows_pairs:
        return tuple(_relation(one, score) for one, score in found.items())
    predicates = list(dict.fromkeys((*robin.known.predicates, *(one.predicate for one in found))))
    pairs = sorted({(one.subject, one.object) for one in found})
    shares = pair_probabilities(robin, look, pairs, predicates)
    row, column = ({value: place for place, value in enumerate(values)} for values in (pairs, predicates))
    return tuple(_relation(one, float(shares[row[one.subject, one.object], column[one.predicate]])) for one in found)


def _relation(one: RelationText, score: float) -> ScoredRelation:
    return ScoredRelation(one.subject, one.predicate, one.object, min(max(score, 0.0), 1.0))
