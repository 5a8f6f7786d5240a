"""One component at work: built and set up, asked for a batch whatever it does in it, and closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sgforge.edits import Edit
from sgforge.engine.planning.components import ComponentSpec
from sgforge.errors import GraphError, ImageError, SgforgeError, StepError
from sgforge.exact import exact_edit
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Resources
from sgforge.text.blame import told, words_of
from sgforge.text.wording import counted

__all__ = [
    "StopRunError",
    "Stopped",
    "answer_batch",
    "build",
    "check_answer",
    "close",
    "close_async",
    "current_task",
    "failure_of",
    "goes_back",
    "is_leaving",
]

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


def answer_batch(
    call: Callable[[Sequence[Sample]], Any],
    samples: Sequence[Sample],
    check: Callable[[Any], Any],
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Any]:
    """Checked answers for a batch; if it fails as a whole, each sample is tried alone, so that only the bad one fails.

    `check` gives the answer, or a `Failure` for one that breaks the contract. Once `is_stopped` says so nothing more is
    asked: there are answers for the first samples alone, or for none.
    """
    if is_stopped():
        return []
    try:
        given = call(samples)
        if not isinstance(given, Iterable):
            raise StepError(f"it answered {type(given).__name__} for a batch, not a list with an answer per sample")
        # Listed once: a generator runs the component's code here, where its errors are still its own.
        answers = list(given)
        if len(answers) != len(samples):
            raise StepError(f"it gave {counted(len(answers), 'answer')} for {counted(len(samples), 'sample')}")
        return [check(answer) for answer in answers]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also sys.exit() or a panic of an extension module: the run goes on
        if len(samples) == 1:
            return [] if goes_back(error) else [failure_of(error)]
        _log.info("a batch of %d failed, trying one by one: %s", len(samples), told(error))
    # Nothing says which sample it was, and a batch that failed has no answers that could be kept: all are asked again.
    answers = []
    for sample in samples:
        answer = answer_batch(call, [sample], check, is_stopped)
        # From the first sample that was not asked there is no answer for the others, which would be taken for its own.
        if not answer:
            break
        answers += answer
    return answers


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


def goes_back(error: BaseException) -> bool:
    """Whether an image was not asked at all, because the run is being stopped: it is neither done nor failed."""
    return isinstance(error, SgforgeError) and getattr(error, "goes_back", False)


def failure_of(error: BaseException) -> Failure:
    """An exception as the failure of one item; one that ends the whole run passes on as `StopRunError`."""
    # Before anything else: called a failed image, a reached budget would fail all the others one by one.
    if isinstance(error, SgforgeError) and getattr(error, "stops_run", False):
        raise StopRunError(error) from error
    # Errors of ours, such as a refused answer, bring the reason under which they are counted.
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and isinstance(error, SgforgeError):
        return Failure(reason, getattr(error, "detail", "") or words_of(error))
    if isinstance(error, ImageError):
        return Failure("image", words_of(error))
    if isinstance(error, StepError):
        return Failure("contract", words_of(error))
    _log.debug("an item failed: %s", told(error))
    return Failure("exception", told(error))


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
