"""One component at work: built and set up, asked for a batch whatever it does in it, and closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sgforge.blame import place_of
from sgforge.edits import Edit
from sgforge.engine.components import ComponentSpec
from sgforge.errors import GraphError, ImageError, SgforgeError, StepError
from sgforge.exact import exact_edit
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Resources

__all__ = ["StopRunError", "Stopped", "answer_batch", "build", "check_answer", "close", "close_async", "failure_of"]

_log = logging.getLogger("sgforge.engine")


class StopRunError(Exception):
    """A component met an error after which other items are pointless (budget, refused keys)."""

    def __init__(self, cause: SgforgeError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Stopped(Exception):  # noqa: N818 - it is no error
    """The run was asked to stop while a source was read or an evaluation ran; nothing of that is kept."""


def build(spec: ComponentSpec, resources: Resources) -> Any:
    """An instance, set up; what fails there is a `StepError`."""
    try:
        instance = spec.build()
        setup = getattr(instance, "setup", None)
        if setup is not None:
            setup(resources)
    except (SgforgeError, KeyboardInterrupt):
        raise
    except BaseException as error:
        told = f"{type(error).__name__}: {error}{place_of(error)}"
        raise StepError(f"{spec.kind} {spec.name!r} could not be set up: {told}") from error
    return instance


def close(instance: Any) -> None:
    """Close a sync component, if it can be closed."""
    closing = getattr(instance, "close", None)
    if closing is not None:
        closing()


async def close_async(instance: Any) -> None:
    """Close a component on the event loop, if it can be closed; its `close` may be a coroutine."""
    closing = getattr(instance, "close", None)
    if closing is not None:
        done = closing()
        if asyncio.iscoroutine(done):
            await done


def answer_batch(
    call: Callable[[Sequence[Sample]], Any], samples: Sequence[Sample], check: Callable[[Any], Any]
) -> list[Any]:
    """Checked answers for a batch; if it fails as a whole, each sample is tried alone, so that only the bad one fails.

    `check` gives the answer, or a `Failure` for one that breaks the contract.
    """
    try:
        given = call(samples)
        if not isinstance(given, Iterable):
            raise StepError(f"it answered {type(given).__name__} for a batch, not a list with an answer per sample")
        answers = list(given)
        if len(answers) != len(samples):
            raise StepError(f"it gave {len(answers)} answers for {len(samples)} samples")
        return [check(answer) for answer in answers]
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # also sys.exit() or a panic of an extension module: the run goes on
        if len(samples) == 1:
            return [failure_of(error)]
        _log.info("a batch of %d failed, trying one by one: %s: %s", len(samples), type(error).__name__, error)
    return [answer_batch(call, [sample], check)[0] for sample in samples]


def check_answer(answer: Any) -> Answer:
    """What an item component answered, its edits made exact; or the failure that it can be neither Edit nor Failure."""
    if isinstance(answer, Failure):
        return answer
    if isinstance(answer, Edit):
        try:
            return exact_edit(answer)
        except GraphError as error:
            return Failure("contract", f"its edit cannot be used: {error}")
    return Failure("contract", f"it answered {type(answer).__name__}, not an Edit or a Failure")


def failure_of(error: BaseException) -> Failure:
    """An exception as the failure of one item; one that ends the whole run passes on as `StopRunError`."""
    if isinstance(error, SgforgeError) and getattr(error, "stops_run", False):
        raise StopRunError(error) from error
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and isinstance(error, SgforgeError):
        return Failure(reason, getattr(error, "detail", "") or str(error))
    if isinstance(error, ImageError):
        return Failure("image", str(error))
    if isinstance(error, StepError):
        return Failure("contract", str(error))
    _log.debug("an item failed", exc_info=error)
    return Failure("exception", f"{type(error).__name__}: {error}{place_of(error)}")
