"""What rewards are for beside refining: rejecting what they hold for bad, and measuring a student."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np

from sgforge.edits import Edit
from sgforge.graph import Relation, Sample, SceneGraph
from sgforge.stages import Answer, Credit, Failure, Judged, Outcome, Ranking, Report, Resources, RewardSum
from sgforge_baseline.config import RewardEvaluatorOptions, RewardFilterOptions

__all__ = ["RewardEvaluator", "RewardFilter", "graph_of"]

LOW: Final = "low-credit"
_AT_ONCE: Final = 32
"""Images that are scored together."""


class RewardFilter:
    """Rejects rows, or leaves out images, with less credit than the options ask for; the degree is the credit."""

    def __init__(self, options: RewardFilterOptions) -> None:
        self._options = options

    def setup(self, resources: Resources) -> None:
        """Take the rewards."""
        self._rewards = RewardSum(resources.parts.get("rewards", ()))

    def filter(self, samples: Sequence[Sample]) -> list[Answer]:
        """One answer per sample, in order; a graph that cannot be scored is a failure with the reward's reason."""
        outcomes = [[Outcome(sample.graph, sample.image)] for sample in samples]
        scored = self._rewards.score(samples, outcomes)
        return [self._judge(sample, credit) for sample, (credit,) in zip(samples, scored, strict=True)]

    def _judge(self, sample: Sample, credit: Credit | Failure) -> Answer:
        if isinstance(credit, Failure):
            return credit
        least, judged = self._options.least, self._options.judges
        if judged == "images":
            return Edit.drop(LOW) if credit.total < least else Edit()
        values = credit.relations if judged == "relations" else credit.regions
        if values is None:
            return Failure("no-credit", f"none of the rewards gives credit to {judged}")
        kept = sample.graph.relations if judged == "relations" else sample.graph.regions
        target = "relation" if judged == "relations" else "region"
        low = (index for index in kept if values[index] < least)
        return Edit.sum(Edit.reject(index, LOW, values[index], target=target) for index in low)


class RewardEvaluator:
    """The mean of the rewards over held-out images, each figure as a fraction of its range."""

    def __init__(self, options: RewardEvaluatorOptions) -> None:
        self._options = options
        self.mode = options.mode

    def setup(self, resources: Resources) -> None:
        """Take the rewards."""
        self._rewards = RewardSum(resources.parts.get("rewards", ()))

    def evaluate(self, judged: Iterable[Judged]) -> Report:
        """`reward` and one value for each reward by its name, as (mean - least) / (most - least) of its range.

        The table has the means as they are, and the parts of each reward. An image without a prediction counts as one
        with an empty graph and its reason as a fault; one that cannot be scored is skipped, counted by reason.
        """
        found: dict[str, list[float]] = {}
        skipped: Counter[str] = Counter()
        used = 0
        for credit in self._credits(iter(judged)):
            if isinstance(credit, Failure):
                skipped[credit.reason] += 1
                continue
            used += 1
            for name, value in (("reward", credit.total), *((f"reward.{name}", x) for name, x in credit.parts.items())):
                found.setdefault(name, []).append(value)
        # Summed exactly: the order of images makes no difference.
        means = {name: math.fsum(values) / len(values) for name, values in found.items()}
        ranges = {"reward": self._rewards.range, **{f"reward.{n}": ends for n, ends in self._rewards.ranges.items()}}
        return Report(
            "reward",
            {name: _fraction(means[name], *ends) for name, ends in ranges.items() if name in means},
            convention="means of credits as fractions of the range that each reward states",
            tables={"credits": [{"name": name, "mean": mean} for name, mean in means.items()]},
            images_used=used,
            images_skipped=dict(skipped),
        )

    def _credits(self, judged: Iterator[Judged]) -> Iterator[Credit | Failure]:
        while batch := list(islice(judged, _AT_ONCE)):
            samples = [Sample(one.image_id, one.truth) for one in batch]
            outcomes = [[self._outcome(one)] for one in batch]
            for (credit,) in self._rewards.score(samples, outcomes):
                yield credit

    def _outcome(self, judged: Judged) -> Outcome:
        truth, prediction = judged.truth, judged.prediction
        if isinstance(prediction, Failure):
            return Outcome(SceneGraph(truth.width, truth.height), faults=(prediction.reason,))
        return Outcome(graph_of(prediction, truth.width, truth.height, self._options.relations))


def graph_of(ranking: Ranking, width: int, height: int, most: int) -> SceneGraph:
    """A ranking as a graph: the best predicate of each pair, the best `most` of these, the best first."""
    scores = np.asarray(ranking.scores, np.float32)
    if not scores.size:
        return SceneGraph(width, height, ranking.regions)
    pairs = np.asarray(ranking.pairs, np.int64)
    weight = np.array([1.0 if region.score is None else region.score for region in ranking.regions], np.float32)
    best = scores.argmax(axis=1)
    own = scores[np.arange(len(pairs)), best]
    product = own * weight[pairs[:, 0]] * weight[pairs[:, 1]]
    order = np.argsort(-product, kind="stable")
    rows = [row for row in order.tolist() if own[row] > 0 and pairs[row, 0] != pairs[row, 1]][:most]
    relations = [
        Relation(int(pairs[row, 0]), ranking.predicates[best[row]], int(pairs[row, 1]), score=float(own[row]))
        for row in rows
    ]
    return SceneGraph(width, height, ranking.regions, relations)


def _fraction(value: float, least: float, most: float) -> float:
    return min(1.0, max(0.0, (value - least) / (most - least)))
