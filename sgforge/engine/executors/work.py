"""Work: what a crew is opened for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import attrs

from sgforge.engine.executors.check_answer import check_answer, check_ranking
from sgforge.engine.models.child_models import ModelAccess
from sgforge.engine.planning.components import ComponentSpec, is_async, why_here
from sgforge.images import Roots
from sgforge.stages import Resources
from sgforge.steps import RunSettings

__all__ = ["DEFAULT_BATCH", "Training", "Work"]

Form: TypeAlias = Literal["edit", "ranking", "choices", "report", "checkpoint"]
DEFAULT_BATCH: Final = 32
"""Samples per batch of a sync component that asks for no other number."""
_CHECKS: Final[dict[Form, Callable[[Any], Any]]] = {"edit": check_answer, "ranking": check_ranking}


@attrs.frozen(kw_only=True, eq=False)
class Training:
    """How a training is done. `run`: in how many processes, and how long. `student`: what a refiner is given to refine.

    `lent`: the resources that the student itself would have, of which its policy gets model and parts. `access`: what
    its processes need to ask models; it asks none without it.
    """

    run: RunSettings = attrs.field(factory=RunSettings)
    student: ComponentSpec | None = None
    lent: Resources = attrs.field(factory=Resources)
    access: ModelAccess | None = None


@attrs.frozen(kw_only=True, eq=False)
class Work:
    """One component at one of its methods, and with what: data, but for a given instance and the models that are asked.

    `answers`: what the method gives, for each sample (an edit or a ranking, or a `Failure`) or once for all: the
    checkpoint of a `Lesson`, a report, or what a selector chose among all. `images`: the folders that pictures of
    samples lie in. `batch_size` and `workers` as in `Step`. `training`: of work that answers with a checkpoint.
    """

    spec: ComponentSpec
    method: str
    resources: Resources
    answers: Form = "edit"
    images: Roots | None = None
    batch_size: int | None = None
    workers: int | None = None
    training: Training = attrs.field(factory=Training)

    @property
    def batch(self) -> int:
        """Samples a sync component gets at most at once."""
        return self.batch_size or DEFAULT_BATCH

    @property
    def is_async(self) -> bool:
        """Whether the component takes one sample a call, with many in flight on the driver's event loop."""
        return is_async(self.spec.target(), self.method)

    @property
    def reads_on(self) -> bool:
        """Whether it is an evaluator or a selector, which read while they work what is in no message."""
        return self.answers in ("choices", "report")

    @property
    def may_leave(self) -> bool:
        """Whether it may be done elsewhere than in the driver."""
        return not self.reads_on and why_here(self.spec, self.method) is None

    def of_worker(self, rank: int, world: int) -> Work:
        """The share of one of so many workers."""
        return attrs.evolve(self, resources=self.resources.of_worker(rank, world))

    @property
    def check(self) -> Callable[[Any], Any]:
        """Gives an answer, or a `Failure` for one that breaks the contract of the method."""
        return _CHECKS[self.answers]
