"""Rewards: how good is what was made of an image? One critic for filters, selectors, evaluators and refiners."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import attrs

from sgforge.errors import StepError
from sgforge.graph import Sample, SceneGraph
from sgforge.stages.parts import Part
from sgforge.stages.values import Failure

if TYPE_CHECKING:
    from sgforge.images import ImageSource

__all__ = ["Credit", "Outcome", "Reward", "RewardSum", "Scored", "check_credit", "range_of"]


@attrs.frozen(eq=False)
class Outcome:
    """What was made of a sample; each of it may be missing.

    `graph`: with the scores of whoever made it. `image`: the picture that belongs to it. `text`: what was said before
    it was read. `faults`: what could not be read of it, a short code each.
    """

    graph: SceneGraph | None = None
    image: ImageSource | None = None
    text: str | None = None
    faults: tuple[str, ...] = ()


@attrs.frozen
class Credit:
    """What an outcome is worth.

    `total`: finite, in the range that the reward states. `parts`: figures by name that explain it, finite. `regions`
    and `relations`: credit of each row of the outcome's graph, rejected ones included, in the same range; None from a
    reward that cannot tell.
    """

    total: float
    parts: Mapping[str, float] = attrs.field(factory=dict)
    regions: tuple[float, ...] | None = None
    relations: tuple[float, ...] | None = None


Scored: TypeAlias = Credit | Failure
"""An outcome's credit, or why it has none."""


@runtime_checkable
class Reward(Protocol):
    """Says how good outcomes are, given the samples that they were made of.

    `range`: the least and the most that a total may be, two finite numbers; fixed when the reward is set up.
    """

    range: tuple[float, float]

    def score(
        self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]], /
    ) -> Sequence[Sequence[Scored]] | Awaitable[Sequence[Scored]]:
        """Score a group of outcomes for each sample; as many answers, in the same order.

        `samples`: their graph is the truth, as far as there is one, their `image` the picture. An outcome that cannot
        be scored is answered with a `Failure`, and harms no other. Written as `async def`, it gets one sample with its
        outcomes and gives their credits; many calls are in flight.

        Errors: a total that is not finite or out of range, and credits of rows that are not as many as the rows, are a
        fault of that outcome. What it raises concerns all outcomes of the call.
        """
        ...


def range_of(reward: Any) -> tuple[float, float]:
    """The range that a reward states; one that states none is a `StepError`."""
    given = getattr(reward, "range", None)
    try:
        least, most = (float(value) for value in given)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise StepError(f"{type(reward).__name__} states no range of its totals, but {given!r}") from None
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        raise StepError(f"{type(reward).__name__} states the range {given!r}: two finite numbers, the lesser first")
    return least, most


def check_credit(scored: Any, outcome: Outcome, allowed: tuple[float, float]) -> Scored:
    """What a reward answered for an outcome, or the failure that it is no credit in its range."""
    if isinstance(scored, Failure):
        return scored
    if not isinstance(scored, Credit):
        return Failure("contract", f"score answered {type(scored).__name__}, not a Credit or a Failure")
    rows = {"regions": scored.regions, "relations": scored.relations}
    for name, values in rows.items():
        count = 0 if outcome.graph is None else len(getattr(outcome.graph.all, name))
        if values is not None and len(values) != count:
            return Failure("contract", f"credit of {len(values)} {name}, where the outcome has {count}")
    given = (*(value for values in rows.values() if values is not None for value in values), scored.total)
    if not all(map(math.isfinite, (*given, *scored.parts.values()))):
        return Failure("not-finite", f"a total of {scored.total}, parts {dict(scored.parts)}")
    if not all(allowed[0] <= value <= allowed[1] for value in given):
        return Failure("out-of-range", f"a credit outside [{allowed[0]:g}, {allowed[1]:g}]: total {scored.total:g}")
    return scored


class RewardSum:
    """The rewards in an option of a sync component as one: their credits, weighed and added.

    A total is the sum of weight times total; `parts` has the total of each reward by its name, and the parts of each as
    "name.part". Credit of rows is the sum over the rewards that give any. An outcome with a fault of one reward fails.
    """

    def __init__(self, rewards: Sequence[Part]) -> None:
        if not rewards:
            raise StepError("there is no reward: name one in its option")
        if not any(part.weight for part in rewards):
            raise StepError("the weights of all rewards are 0, so that nothing is worth anything")
        self._rewards = tuple(rewards)
        self.ranges = {part.name: range_of(part.component) for part in rewards}

    @property
    def range(self) -> tuple[float, float]:
        """The least and the most that a total may be."""
        ends = [sorted(part.weight * end for end in self.ranges[part.name]) for part in self._rewards]
        return sum(low for low, _ in ends), sum(high for _, high in ends)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Scored]]:
        """The credits of all outcomes, checked; a reward that answers another number of them is a `StepError`."""
        each = [self._one(part, samples, outcomes) for part in self._rewards]
        return [
            [self._sum([answers[row][place] for answers in each]) for place in range(len(group))]
            for row, group in enumerate(outcomes)
        ]

    def _one(self, part: Part, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Scored]]:
        answers = [list(group) for group in part.component.score(samples, outcomes)]
        if list(map(len, answers)) != list(map(len, outcomes)):
            raise StepError(f"reward {part.name!r} answered other numbers of credits than there are outcomes")
        allowed = self.ranges[part.name]
        return [
            [check_credit(*pair, allowed) for pair in zip(*groups, strict=True)]
            for groups in zip(answers, outcomes, strict=True)
        ]

    def _sum(self, scored: Sequence[Scored]) -> Scored:
        total, parts = 0.0, {}
        rows: dict[str, list[float] | None] = {"regions": None, "relations": None}
        for part, credit in zip(self._rewards, scored, strict=True):
            if isinstance(credit, Failure):
                return Failure(credit.reason, f"reward {part.name!r}: {credit.detail}")
            total += part.weight * credit.total
            parts[part.name] = credit.total
            parts |= {f"{part.name}.{name}": value for name, value in credit.parts.items()}
            for name, given in (("regions", credit.regions), ("relations", credit.relations)):
                if given is not None:
                    before = rows[name] or [0.0] * len(given)
                    rows[name] = [sum_ + part.weight * value for sum_, value in zip(before, given, strict=True)]
        regions, relations = (None if values is None else tuple(values) for values in rows.values())
        return Credit(total, parts, regions, relations)
