"""Answers that a newer revision of a component would buy anew, though those of the one before are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from sgforge.engine.planning.known_work import FindStates, HasAnswers, Images, OpenAnswers, StepWork, plan_group
from sgforge.engine.planning.plan import PlannedStep
from sgforge.errors import ConfigError
from sgforge.stages.revisions import at_earlier_revision

__all__ = ["Anew", "Consent", "bought_anew", "told_anew"]

_MEND: Final = "--yes buys them; prompts = {} in the step keeps the words of then and their answers"


@attrs.frozen
class Anew:
    """A step whose component is at a newer revision: `images` answered at the one before would be asked again."""

    step: PlannedStep
    before: int
    now: int
    images: int


def bought_anew(
    images: Images,
    works: Sequence[StepWork],
    fingerprint: Callable[[PlannedStep], str],
    find_states: FindStates,
    has_answers: HasAnswers,
    still_open: OpenAnswers = OpenAnswers(),
) -> list[Anew]:
    """What of these works was done at an earlier revision already, as far as models are asked for it."""
    found = {
        number: earlier
        for number, work in enumerate(works)
        if work.step.spec.asked_models
        and work.to_compute
        and (earlier := at_earlier_revision(work.step.spec.options)) is not None
    }
    if not found:
        return []
    steps = [
        attrs.evolve(work.step, spec=attrs.evolve(work.step.spec, options=found[number][2]))
        if number in found
        else work.step
        for number, work in enumerate(works)
    ]
    still_open = attrs.evolve(still_open, ask_again=False)
    told = [(step, fingerprint(step)) for step in steps]
    earlier_works = plan_group(images, told, find_states, has_answers, still_open)
    return list(_counted(works, earlier_works, {number: each[:2] for number, each in found.items()}))


def _counted(
    works: Sequence[StepWork], earlier: Sequence[StepWork], changed: dict[int, tuple[int, int]]
) -> Iterator[Anew]:
    for number, (before, now) in changed.items():
        work = works[number]
        pairs = zip(work.applies, work.known, earlier[number].known, strict=True)
        images = sum(
            here and known is None and was is not None and row not in work.replaced
            for row, (here, known, was) in enumerate(pairs)
        )
        if images:
            yield Anew(works[number].step, before, now, images)


def told_anew(found: Sequence[Anew], spent_on: Callable[[str], float | None]) -> list[str]:
    """A line for each; what it costs is what its models have cost so far, shared by the steps that ask them."""
    lines = []
    for one in found:
        costs = [spent_on(model) for model in one.step.spec.asked_models]
        asked = sum(set(other.step.spec.asked_models) == set(one.step.spec.asked_models) for other in found)
        known = [cost for cost in costs if cost is not None]
        about = f", about ${sum(known) / asked:,.2f}" if known and len(known) == len(costs) else ""
        lines.append(
            f"{one.step.name}: revision {one.before} -> {one.now}: {one.images:,} answers will be bought anew{about}"
        )
    return lines


@attrs.frozen
class Consent:
    """Whether answers may be bought anew: `given` before, or asked for by `ask`, which shows a line."""

    given: bool = False
    ask: Callable[[str], bool] | None = None

    def need(self, found: Sequence[Anew], lines: Sequence[str]) -> None:
        """Go on, or a `ConfigError` that says what was not agreed to, and how to."""
        if self.given or not found:
            return
        line = "; ".join(lines)
        if self.ask is None or not self.ask(line):
            raise ConfigError(f"{line}: {_MEND.format(found[0].before)}")
