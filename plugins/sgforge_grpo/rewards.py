"""Rewards that compare a graph with the truth: form, nodes, edges, precision, F1, rarity, length, hallucination.

Under mode `robust` every total is a share c / (T + wrong * (P - c)): c the credit of what was said, T the things of the
truth, P the things said. With `wrong` 0 that is recall; with 1, the default, the Jaccard index, which rises if and only
if F1 does: what is said beside the truth costs as much as what is missing. A truth with none of the things that a
reward counts is worth 0, whatever is said of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.labels import Similarity, normalized
from sgforge.stages import Credit, Outcome, Resources
from sgforge_grpo import upstream
from sgforge_grpo.comparing import Compared
from sgforge_grpo.config import (
    GraphRewardOptions,
    HallucinationOptions,
    LengthOptions,
    RarityOptions,
)
from sgforge_grpo.desk import Desk, desk_of
from sgforge_grpo.reading.columns import AnswerColumns, owners_of
from sgforge_grpo.reading.completion import is_tagged

__all__ = [
    "EdgeSoftReward",
    "F1Reward",
    "FormatReward",
    "GraphReward",
    "HallucinationReward",
    "LengthReward",
    "NodeAccuracyReward",
    "NodeBoxReward",
    "PrecisionReward",
    "PredicateRarityReward",
    "RecallHardReward",
    "RecallRelaxReward",
]

Floats: TypeAlias = NDArray[np.float64]


@attrs.frozen(kw_only=True, eq=False)
class Measured:
    """What answers are worth: a total each, and credit of all their regions and relations, each once."""

    totals: Sequence[float]
    regions: Floats | None = None
    relations: Floats | None = None
    parts: Sequence[Mapping[str, float]] | None = None


def shares(credit: Floats, truth: Floats, said: Floats, wrong: float) -> Floats:
    """(A,) credit / (truth + wrong * (said - credit)); 0 where there is no truth."""
    return _ratio(credit, truth + wrong * (said - credit), truth > 0)


def _ratio(first: Floats, second: Floats, where: NDArray[np.bool_]) -> Floats:
    """first / second; 0 elsewhere."""
    return np.divide(first, second, out=np.zeros(len(first)), where=where)


class GraphReward:
    """A reward of one kind of thing; subclasses say how a group of answers is measured."""

    range: tuple[float, float] = (0.0, 1.0)
    released: ClassVar[str | None] = None
    """Its name in R1-SGG's released code."""
    released_weight: ClassVar[float] = 1.0

    def __init__(self, options: Any, similarity: Similarity | None = None) -> None:
        """`similarity`: a callable of names (N) and names (M) to (N, M), instead of the one that the options name."""
        self.options: GraphRewardOptions = options
        self._similarity = similarity
        self._desk: Desk | None = None
        if options.mode != "robust" and self.released is None:
            raise ConfigError(f"mode {options.mode!r}: R1-SGG released no such reward; only mode 'robust' has it")

    def setup(self, resources: Resources) -> None:
        """Load the similarity."""
        self._desk = desk_of(self.options, self._similarity)

    @property
    def desk(self) -> Desk:
        """Where its answers are read."""
        if self._desk is None:
            self._desk = desk_of(self.options, self._similarity)
        return self._desk

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Credit]]:
        """The credits of all outcomes; `faults` counts what could not be read of each."""
        credits = iter(self.credits(samples, outcomes))
        return [list(islice(credits, len(group))) for group in outcomes]

    def credits(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[Credit]:
        """The credits of all outcomes, one group behind the other."""
        if self.options.mode != "robust":
            pairs = zip(samples, outcomes, strict=True)
            return [self._released(sample, outcome) for sample, group in pairs for outcome in group]
        found: list[Credit] = []
        for one in self.desk.compared(samples, outcomes):
            found += self._credited(one)
        return found

    def _credited(self, compared: Compared) -> Iterable[Credit]:
        """The credits of these answers."""
        measured = self.measure(compared)
        if measured.parts is None and not compared.has_rows:
            # Credits of answers as texts, one for all that are worth the same.
            return map(_Credits().__getitem__, zip(measured.totals, compared.faults, strict=True))
        return self._by_rows(compared, measured)

    def _by_rows(self, compared: Compared, measured: Measured) -> Iterator[Credit]:
        """The credits of answers with parts, or of graphs, whose rows have one each."""
        answers = compared.answers
        region_ends, relation_ends = (
            [0, *counts.cumsum().tolist()] for counts in (answers.region_counts, answers.relation_counts)
        )
        for number, (total, faults) in enumerate(zip(measured.totals, compared.faults, strict=True)):
            parts = {"faults": faults}
            if measured.parts is not None:
                parts |= measured.parts[number]
            rows = answers.rows[number]
            if rows is None:
                yield Credit(total, parts)
                continue
            begin, end = region_ends[number : number + 2]
            regions = _by_row(measured.regions, begin, end, rows[0])
            begin, end = relation_ends[number : number + 2]
            yield Credit(total, parts, regions, _by_row(measured.relations, begin, end, rows[1]))

    def _released(self, sample: Sample, outcome: Outcome) -> Credit:
        assert self.released is not None
        value = self.desk.released(sample, outcome)[self.released] / self.released_weight
        return Credit(min(1.0, max(0.0, value)))

    def measure(self, compared: Compared) -> Measured:
        """What each answer is worth."""
        raise NotImplementedError


class _Credits(dict[tuple[float, float], Credit]):
    """Credits by total and faults."""

    def __missing__(self, key: tuple[float, float]) -> Credit:
        found = self[key] = Credit(key[0], {"faults": key[1]})
        return found


def _by_row(credit: Floats | None, begin: int, end: int, rows: Sequence[int]) -> tuple[float, ...] | None:
    """Credit of each row of a graph; a thing that was said twice is credited where it was said first."""
    if credit is None:
        return None
    values, given, found = credit[begin:end].tolist(), set[int](), []
    for row in rows:
        found.append(values[row] if row >= 0 and row not in given else 0.0)
        given.add(row)
    return tuple(found)


class FormatReward(GraphReward):
    """Whether an answer can be read: the share of its things without a fault; 0 for what is no graph, or an empty one.

    With `tags` an answer without think and answer tags is worth half of that.
    """

    released = "format_reward"

    def measure(self, compared: Compared) -> Measured:
        """The form of each answer."""
        tags, (there, said) = self.options.tags, compared.region_counts
        missing = ((there > 0) & (said == 0)).tolist()
        totals = [
            1.0 if not (faults or is_missing or tags) else self._form(compared.answers, number, is_missing)
            for number, (faults, is_missing) in enumerate(zip(compared.answers.faults, missing, strict=True))
        ]
        return Measured(totals=totals)

    def _form(self, answers: AnswerColumns, number: int, is_missing: bool) -> float:
        """`is_missing`: whether there is something, and nothing was said."""
        faults, text = answers.faults[number], answers.texts[number]
        if "unreadable" in faults or is_missing:
            return 0.0
        form = max(0.0, 1.0 - len(faults) / max(1, answers.items[number]))
        # What was no text counts as tagged.
        return form if not self.options.tags or text is None or is_tagged(text) else form / 2


class _Nodes(GraphReward):
    released_weight = upstream.NODE_WEIGHT

    def measure(self, compared: Compared) -> Measured:
        """Of each answer the share of regions that are matched, each by what it is worth."""
        credit, wrong = compared.matched(self.worth(compared)), self.options.wrong
        totals = shares(compared.region_sums(credit), *compared.region_counts, wrong)
        return Measured(totals=totals.tolist(), regions=credit)

    def worth(self, compared: Compared) -> Floats:
        """(N, G) the worth of each region said for each of the truth."""
        raise NotImplementedError


class NodeAccuracyReward(_Nodes):
    """Whether regions have their names: likeness, by how well the box stands where the region is.

    The paper's is the likeness alone, so that boxes over the whole image are worth as much as right ones.
    """

    released = "node_acc_reward"

    def worth(self, compared: Compared) -> Floats:
        """Likeness times location."""
        return compared.likeness * compared.located


class NodeBoxReward(_Nodes):
    """Whether regions have their boxes: IoU with what they are matched to.

    The paper adds exp(-distance of corners), which pays up to 0.7 for a box that touches nothing.
    """

    released = "node_box_reward"

    def worth(self, compared: Compared) -> Floats:
        """IoU."""
        return compared.overlap


class _Edges(GraphReward):
    released_weight = upstream.EDGE_WEIGHT

    def measure(self, compared: Compared) -> Measured:
        """Of each answer the share of relations that are met, each by its credit."""
        credit = self.credit(compared)
        totals = self.totals(compared.relation_sums(credit), *compared.relation_counts)
        return Measured(totals=totals.tolist(), relations=credit)

    def totals(self, credit: Floats, truth: Floats, said: Floats) -> Floats:
        """(A,) the share of the credit of all that were said."""
        return shares(credit, truth, said, self.options.wrong)

    def credit(self, compared: Compared) -> Floats:
        """(R,) the credit of each relation of all answers."""
        raise NotImplementedError


class RecallHardReward(_Edges):
    """Whether relations of the truth are said: all three names equal, both boxes at IoU of at least `iou`."""

    released = "edge_hard_reward"

    def credit(self, compared: Compared) -> Floats:
        """1 for each that is met."""
        return compared.hard


class RecallRelaxReward(_Edges):
    """As `recall-hard`, where names are as much worth as they are alike."""

    released = "edge_hard_relax_reward"

    def credit(self, compared: Compared) -> Floats:
        """The product of three likenesses."""
        return compared.relaxed


class EdgeSoftReward(_Edges):
    """Whether relations of the truth are said between the regions that stand for its own in the match of all.

    Several predicates of a pair count, and a region counts by how well its box stands; the paper keeps a pair's last
    predicate and looks at no box.
    """

    released = "edge_reward"

    def credit(self, compared: Compared) -> Floats:
        """The product of three likenesses and two locations."""
        return compared.soft


class _Family(_Edges):
    """Of the relations that the option `family` says are met."""

    def credit(self, compared: Compared) -> Floats:
        """By the family."""
        family = getattr(self.options, "family", "hard")
        return {"hard": lambda: compared.hard, "relax": lambda: compared.relaxed, "soft": lambda: compared.soft}[
            family
        ]()


class PrecisionReward(_Family):
    """The share of what was said that is true; 0 for saying nothing."""

    def totals(self, credit: Floats, truth: Floats, said: Floats) -> Floats:
        """credit / said."""
        return _ratio(credit, said, (said > 0) & (truth > 0))


class F1Reward(_Family):
    """The harmonic mean of precision and recall of relations."""

    def totals(self, credit: Floats, truth: Floats, said: Floats) -> Floats:
        """2 * credit / (truth + said)."""
        return _ratio(2 * credit, truth + said, truth > 0)


class PredicateRarityReward(GraphReward):
    """`recall-hard` in which every relation weighs by how rare its predicate is."""

    def __init__(self, options: Any, similarity: Similarity | None = None) -> None:
        super().__init__(options, similarity)
        rarity: RarityOptions = options
        counts = dict(rarity.counts)
        if rarity.counts_file is not None:
            counts |= _counts_in(rarity)
        self._weights = {normalized(name): max(1, count) ** -rarity.power for name, count in counts.items()}

    def measure(self, compared: Compared) -> Measured:
        """The share of the weight."""
        answers, truths = compared.answers, compared.truths
        said, there = (self._weigh(one.predicates)[one.said] for one in (answers, truths))
        met, given = compared.relation_sums(compared.hard * said), compared.relation_sums(said)
        sums = np.bincount(owners_of(truths.relation_counts), there, len(truths))[compared.of]
        return Measured(totals=shares(met, sums, given, self.options.wrong).tolist(), relations=compared.hard)

    def _weigh(self, predicates: Sequence[str]) -> Floats:
        return np.array([self._weights.get(name, 1.0) for name in predicates], np.float64)


def _counts_in(options: RarityOptions) -> dict[str, int]:
    path = options.counts_file
    assert path is not None
    try:
        counts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"counts_file {path} cannot be read: {error}") from None
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise ConfigError(f'counts_file {path} must hold whole numbers by predicate, such as {{"on": 712}}')
    return counts


class LengthReward(GraphReward):
    """Whether as many relations are said as there are: the lesser number by the greater; 0 for saying nothing."""

    def measure(self, compared: Compared) -> Measured:
        """By the number of distinct relations."""
        there, said = (counts.tolist() for counts in compared.relation_counts)
        return Measured(totals=[self._length(*one) for one in zip(said, there, strict=True)])

    def _length(self, said: float, truth: float) -> float:
        if not said or not truth:
            return 0.0
        options: Any = self.options
        slack: float = options.slack if isinstance(options, LengthOptions) else 1.0
        return min(1.0, slack * min(said, truth) / max(said, truth))


class HallucinationReward(GraphReward):
    """Recall and precision of regions and of relations, less a penalty for what nothing in the image supports.

    Of each kind the harmonic mean counts, so that nothing is won by saying one sure thing alone; the two are averaged.
    A region is supported if one of the truth has its name and a box near enough; a relation if the truth has it.
    """

    def __init__(self, options: Any, similarity: Similarity | None = None) -> None:
        super().__init__(options, similarity)
        given: HallucinationOptions = options
        self._penalty = given.penalty
        self.range = (-self._penalty, 1.0)

    def measure(self, compared: Compared) -> Measured:
        """Two harmonic means and the penalty."""
        regions, relations = compared.matched(compared.likeness * (compared.located >= 1.0)), compared.hard
        met = compared.region_sums(regions), compared.relation_sums(relations)
        counts = (*compared.region_counts, *compared.relation_counts)
        parts = [self._shares(*one) for one in zip(*(one.tolist() for one in (*met, *counts)), strict=True)]
        totals = [self._total(one) for one in parts]
        return Measured(totals=totals, regions=regions, relations=relations, parts=parts)

    def _shares(self, nodes: float, edges: float, *counts: float) -> dict[str, float]:
        """Of regions and relations that are met; `counts`: regions there and said, relations there and said."""
        parts: dict[str, float] = {}
        for name, met, there, said in (("node", nodes, *counts[:2]), ("relation", edges, *counts[2:])):
            parts[f"{name}-recall"] = met / there if there else 0.0
            parts[f"{name}-precision"] = met / said if said and there else 0.0
        said = counts[1] + counts[3]
        parts["unsupported"] = 1.0 - (nodes + edges) / said if said else 0.0
        return parts

    def _total(self, parts: Mapping[str, float]) -> float:
        means = []
        for kind in ("node", "relation"):
            recall, precision = parts[f"{kind}-recall"], parts[f"{kind}-precision"]
            means.append(2 * recall * precision / (recall + precision) if recall + precision else 0.0)
        return sum(means) / 2 - self._penalty * parts["unsupported"]
