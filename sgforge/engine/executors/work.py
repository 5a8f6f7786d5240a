"""Work: what a crew is opened for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import attrs

from sgforge.engine.executors.check_answer import check_answer, check_ranking
from sgforge.engine.planning.components import ComponentSpec, is_async
from sgforge.stages import Resources

__all__ = ["DEFAULT_BATCH", "Work"]

Form: TypeAlias = Literal["edit", "ranking"]
DEFAULT_BATCH: Final = 32
"""Samples per batch of a sync component that asks for no other number."""
_CHECKS: Final[dict[Form, Callable[[Any], Any]]] = {"edit": check_answer, "ranking": check_ranking}


@attrs.frozen(kw_only=True, eq=False)
class Work:
    """One component at one of its methods, and with what: data, but for a given instance and the model it asks.

    `answers`: what the method gives for a sample, besides a `Failure`. `batch_size` and `workers` as in `Step`.
    """

    spec: ComponentSpec
    method: str
    resources: Resources
    answers: Form = "edit"
    batch_size: int | None = None
    workers: int | None = None

    @property
    def batch(self) -> int:
        """Samples a sync component gets at most at once."""
        return self.batch_size or DEFAULT_BATCH

    @property
    def is_async(self) -> bool:
        """Whether the component takes one sample a call, with many in flight on the driver's event loop."""
        return is_async(self.spec.target(), self.method)

    @property
    def may_leave(self) -> bool:
        """Whether it may be done elsewhere than in the driver: an instance cannot be sent, and an async component is
        where its calls are."""
        return self.spec.instance is None and not self.is_async

    @property
    def check(self) -> Callable[[Any], Any]:
        """Gives an answer, or a `Failure` for one that breaks the contract of the method."""
        return _CHECKS[self.answers]
