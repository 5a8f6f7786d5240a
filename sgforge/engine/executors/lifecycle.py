"""The life of a component: built and set up, at work, and closed whatever it did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sgforge.engine.planning.components import ComponentSpec
from sgforge.errors import SgforgeError, StepError
from sgforge.stages import Resources
from sgforge.text.blame import told

__all__ = ["build", "close", "close_async", "current_task", "is_leaving", "standing"]

_log = logging.getLogger("sgforge.engine")


def build(spec: ComponentSpec, resources: Resources) -> Any:
    """An instance, set up; what fails there is a `StepError`."""
    try:
        instance = spec.build()
        setup = getattr(instance, "setup", None)
        if setup is not None:
            setup(resources)
    except (SgforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() in a library's import, too, would else end a worker without a word
        raise StepError(f"{spec.kind} {spec.name!r} could not be set up: {told(error)}") from error
    return instance


def close(instance: Any) -> None:
    """Close a sync component, if it can be closed; one that fails at it is told in the log, and its answers stay."""
    with _surviving(instance):
        closing = getattr(instance, "close", None)
        if closing is not None:
            closing()


async def close_async(instance: Any) -> None:
    """Close a component on the event loop, if it can be closed; its `close` may be a coroutine."""
    with _surviving(instance):
        closing = getattr(instance, "close", None)
        if closing is not None:
            done = closing()
            if asyncio.iscoroutine(done):
                await done


@contextmanager
def standing(spec: ComponentSpec, resources: Resources) -> Iterator[Any]:
    """An instance, set up, for as long as the block lasts; closed at its end, also of one that failed."""
    instance = build(spec, resources)
    try:
        yield instance
    finally:
        close(instance)


@contextmanager
def _surviving(instance: Any) -> Iterator[None]:
    """All that a component had to answer it has answered: its last breath may not cost the step that it did."""
    task = current_task()
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # On the event loop the engine's own end comes through here too.
        if is_leaving(error, task):
            raise
        _log.warning("%s could not be closed: %s", type(instance).__name__, told(error))


def is_leaving(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether an exception ends `task` from outside, rather than being what a component raised in it.

    A coroutine that is closed gets GeneratorExit while no task, or another one, runs; one that raises it runs itself.
    """
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit) and task is not None and current_task() is not task


def current_task() -> asyncio.Task[Any] | None:
    """The task that runs in this thread now, if any."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None
