"""Every hook of sgforge and nothing else; an implementation may take fewer arguments than its specification.

Registration hooks are called once per plugin when it is loaded, with a `register` function:

    @sgforge.hookimpl
    def sgforge_register_teachers(register):
        register("echo", "my_package.teacher:EchoTeacher", config=EchoConfig, needs=Needs(), revision=1)

`target` is a class or a lazy "module:Class" text; `config` a frozen attrs class, light to import; `revision` rises when
outputs change for equal options, and when a default changes. The data path never goes through hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from sgforge.stages import KINDS, Kind, Needs

if TYPE_CHECKING:
    from sgforge.columns.declared import Column
    from sgforge.engine.reporting.events import BatchFinished, MetricReported, RunFinished, RunStarted, StepFinished

__all__ = ["API_VERSION", "PROJECT", "Register", "hookimpl", "hookspec"]

PROJECT = "sgforge"
API_VERSION = 1
"""Raised when a plugin written for the older number may break; a plugin module states its own as `sgforge_api`."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """Registers one component under a name; a name taken already is an error naming both owners.

    `offers`: which of the methods it has that its kind may have, such as ("policy",) of a student that can be refined.
    `identity`: the target's "module:Class" of before, where a class was moved: keys of answers go on naming it.
    `columns`: those beside the core's that the component fills, `Column("region", "plugin.name", "f2", (768,))`.
    """

    def __call__(
        self,
        name: str,
        target: str | type[Any],
        *,
        config: type[Any] | None = None,
        needs: Needs = Needs(),
        revision: int = 1,
        offers: tuple[str, ...] = (),
        identity: str | None = None,
        columns: Iterable[Column] = (),
    ) -> None: ...


def _registration_hook(kind: Kind) -> Callable[[Register], None]:
    """The hook that collects the components of one kind; a kind of the table is all that a new hook takes."""

    def specification(register: Register) -> None: ...

    specification.__name__ = specification.__qualname__ = f"{PROJECT}_register_{kind.plural}"
    specification.__doc__ = f"Register {kind.plural}: {kind.does}."
    return hookspec(specification)


globals().update({hook.__name__: hook for hook in map(_registration_hook, KINDS.values())})


@hookspec
def sgforge_run_started(event: RunStarted) -> None:
    """Called once before the first step of a run."""


@hookspec
def sgforge_run_finished(event: RunFinished) -> None:
    """Called once after the last step of a run, also of a failed one."""


@hookspec
def sgforge_step_finished(event: StepFinished) -> None:
    """Called after a step is published, trained or evaluated."""


@hookspec
def sgforge_batch_finished(event: BatchFinished) -> None:
    """Called for every 64 images that passed a step, or half a second; also of sources and evaluations."""


@hookspec
def sgforge_metric_reported(event: MetricReported) -> None:
    """Called for every figure that a training reports, in their order, at most half a second after."""
