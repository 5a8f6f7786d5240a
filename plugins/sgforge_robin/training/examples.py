"""One image of a snapshot to a training example: other regions and another order every epoch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from sgforge.graph import Sample
from sgforge_robin.encoding import Branch, Example, PairTruth, drop_to_fit, encode_branch, prefix_ids
from sgforge_robin.model.shape import Aspect
from sgforge_robin.pairs import PairVocabulary
from sgforge_robin.pixels import image_tensor
from sgforge_robin.regions import MOST_REGIONS, box_texts, masks_of, salient
from sgforge_robin.sizes import Size
from sgforge_robin.text.graphs import GraphText, ObjectText, RelationText
from sgforge_robin.text.plain import attribute_texts, plain_name
from sgforge_robin.text.tasks import (
    Task,
    Turn,
    ask_attributes,
    ask_description,
    ask_graph,
    ask_pair,
    ask_referring,
    ask_relations,
    opening,
)
from sgforge_robin.tokens import RobinTokenizer
from sgforge_robin.training.stages import Stage

__all__ = ["ExampleMaker", "Shown", "show", "turns"]

_RELATIONS: Final = 10
"""Relations of one subject that an answer lists at most; which, is drawn anew (released: the first 5 by number)."""
_PAIRS: Final = 40
"""Pairs that an example asks about."""
_NAMED: Final = 0.5
"""How often an example's prefix says what its regions are: both kinds of input are met later."""


@attrs.frozen(eq=False)
class Shown:
    """What an example shows of an image: `regions` (indices, in the order of their numbers from 1), as a text graph.

    `named`: whether the prefix says their labels. `phrases`: a description of each region that has one.
    """

    regions: tuple[int, ...]
    graph: GraphText
    named: bool
    phrases: Mapping[int, str]


@attrs.frozen(eq=False)
class Draft:
    """An example before its picture is opened and its masks are decoded: what packing needs to know of it."""

    sample: Sample
    regions: tuple[int, ...]
    prefix: list[int]
    length: int
    branches: tuple[Branch, ...]
    pairs: PairTruth | None

    @property
    def total(self) -> int:
        """Positions of the prefix and all branches; 0 for one that asks nothing in words."""
        return self.length + sum(len(branch.ids) for branch in self.branches) if self.branches else 0


@attrs.frozen(eq=False)
class ExampleMaker:
    """Makes examples; equal (seed, epoch, image) give equal ones, whatever came before.

    Branches that do not fit the stage's rows are left out and counted by `left_out`. `vocabulary`: of the pair head,
    None without one. `spoken`: the share of examples that ask anything in words; the others teach the pair head alone.
    `aspect`: how images become square.
    """

    tokenizer: RobinTokenizer
    size: Size
    stage: Stage
    seed: int
    left_out: Callable[[int], None]
    vocabulary: PairVocabulary | None = None
    spoken: float = 1.0
    aspect: Aspect = "stretch"

    def draft(self, sample: Sample, epoch: int) -> Draft | None:
        """What an image is asked in this epoch; None if there is nothing to ask about it, or no image."""
        dice = random.Random(_number(self.seed, epoch, sample.image_id))
        shown = show(sample, dice, self.stage.kept)
        asked = turns(shown, self.stage.tasks, dice) if dice.random() < self.spoken else []
        pairs = None if self.vocabulary is None else self.vocabulary.truth(sample, shown.regions)
        if sample.image is None or not (asked or pairs):
            return None
        rows = [sample.graph.regions[index] for index in shown.regions]
        boxes = box_texts(sample, rows) if self.size.box_text else [""] * len(rows)
        names = [region.label or "" for region in rows] if shown.named else None
        prefix = prefix_ids(self.tokenizer, opening(boxes, names))
        length = len(prefix) - 1 + self.size.image_tokens
        branches = self._fitting([encode_branch(self.tokenizer, turn) for turn in asked], length)
        if not branches and pairs is None:
            return None
        return Draft(sample=sample, regions=shown.regions, prefix=prefix, length=length, branches=branches, pairs=pairs)

    def finish(self, draft: Draft) -> Example:
        """The example of a draft. An image that cannot be read is an `ImageError`."""
        sample = draft.sample
        assert sample.image is not None
        return Example(
            image_id=sample.image_id,
            pixels=image_tensor(sample.image.array(), self.size.side, self.aspect),
            masks=masks_of(sample, [sample.graph.regions[index] for index in draft.regions]),
            prefix=draft.prefix if draft.branches else [],
            length=draft.length if draft.branches else 0,
            branches=draft.branches,
            pairs=draft.pairs,
        )

    def _fitting(self, branches: Sequence[Branch], length: int) -> tuple[Branch, ...]:
        kept = drop_to_fit(branches, self.stage.capacity - length)
        self.left_out(len(branches) - len(kept))
        return kept


def show(sample: Sample, dice: random.Random, kept: float) -> Shown:
    """A random order of a random share, `kept` to 1, of the image's regions."""
    indices = salient(sample, MOST_REGIONS)
    dice.shuffle(indices)
    share = dice.uniform(kept, 1.0)
    indices = indices[: max(round(len(indices) * share), min(len(indices), 2))]
    number = {index: place for place, index in enumerate(indices, start=1)}
    rows = {index: sample.graph.regions[index] for index in indices}
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
    phrases = {number[index]: region.descriptions[0] for index, region in rows.items() if region.descriptions}
    return Shown(tuple(indices), GraphText(objects, relations), dice.random() < _NAMED, phrases)


def turns(shown: Shown, tasks: Sequence[Task], dice: random.Random) -> list[Turn]:
    """All questions of these tasks about what is shown, in random order."""
    asked = [turn for task in tasks for turn in _ASKED[task](shown, dice)]
    dice.shuffle(asked)
    return asked


def _descriptions(shown: Shown, dice: random.Random) -> list[Turn]:
    return [] if shown.named else [ask_description(item.region, item.name) for item in shown.graph.objects]


def _attributes(shown: Shown, dice: random.Random) -> list[Turn]:
    return [ask_attributes(item.region, item.attributes) for item in shown.graph.objects if item.attributes]


def _referring(shown: Shown, dice: random.Random) -> list[Turn]:
    return [ask_referring(number, phrase) for number, phrase in shown.phrases.items() if plain_name(phrase)]


def _relations(shown: Shown, dice: random.Random) -> list[Turn]:
    """A question about every region, if anything is related at all: one without relations says so."""
    if not shown.graph.relations:
        return []
    by_subject: dict[int, list[RelationText]] = {}
    for relation in shown.graph.relations:
        by_subject.setdefault(relation.subject, []).append(relation)
    return [
        ask_relations(subject, _some(by_subject.get(subject, []), dice)) for subject in range(1, len(shown.regions) + 1)
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


def _some(relations: Sequence[RelationText], dice: random.Random) -> list[RelationText]:
    """At most so many of them, by object."""
    chosen = dice.sample(relations, min(len(relations), _RELATIONS))
    return sorted(chosen, key=lambda one: (one.object, one.predicate))


_ASKED: Final[Mapping[Task, Callable[[Shown, random.Random], list[Turn]]]] = {
    Task.DESCRIBE: _descriptions,
    Task.ATTRIBUTES: _attributes,
    Task.REFERRING: _referring,
    Task.RELATIONS: _relations,
    Task.PAIR: _pairs,
    Task.GRAPH: _graph,
}


def _number(seed: int, epoch: int, image_id: str) -> int:
    """A number that is the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
