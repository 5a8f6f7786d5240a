"""A component's answers: asked in batches whatever it does in them, each with the model calls behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, TypeVar

import attrs

from sgforge.errors import ImageError, SgforgeError, StepError
from sgforge.graph import Sample
from sgforge.stages import Failure, Resources
from sgforge.text.blame import told, words_of
from sgforge.text.wording import counted

__all__ = [
    "Outcome",
    "Raised",
    "StopRunError",
    "Stopped",
    "answer_batch",
    "failure_of",
    "goes_back",
    "listed",
    "recorded",
    "recorder",
    "tried",
]

_log = logging.getLogger("sgforge.engine")
Row = TypeVar("Row")
Given = TypeVar("Given")
_NOTHING: Final[AbstractContextManager[Sequence[str]]] = nullcontext(())


class StopRunError(Exception):
    """A component met an error after which other items are pointless (budget, refused keys)."""

    def __init__(self, cause: SgforgeError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Stopped(Exception):  # noqa: N818 - it is no error
    """The run was asked to stop before all samples were asked; what of them was answered is not kept."""


@attrs.frozen
class Outcome:
    """What came of one sample, and the ids of the model calls behind it.

    `answer`: an Edit or a Failure; of work that ranks, a Ranking or a Failure. The calls of a batch stand behind each
    of its answers, as nothing tells which of them a sync component made for which.
    """

    answer: Any
    calls: tuple[str, ...] = ()


def recorded(*resources: Resources) -> AbstractContextManager[Sequence[str]]:
    """The ids of the model calls that are made inside, in order, for components with these resources.

    A `NotSentError` at the end if a stop kept any of them back, whatever the component made of it.
    """
    return recorder(*resources)()


def recorder(*resources: Resources) -> Callable[[], AbstractContextManager[Sequence[str]]]:
    """What `recorded` gives, each time it is called, for whoever enters it for every sample."""
    return _recorded if any(one.models for one in resources) else _not_recorded


def _not_recorded() -> AbstractContextManager[Sequence[str]]:
    return _NOTHING


@contextmanager
def _recorded() -> Iterator[Sequence[str]]:
    from sgforge.models.money.call_trace import asked_in_full, collect_calls

    with asked_in_full(), collect_calls() as calls:
        yield calls


def answer_batch(
    call: Callable[[Sequence[Sample]], Any],
    samples: Sequence[Sample],
    check: Callable[[Any], Any],
    resources: Resources,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Outcome]:
    """Checked answers for a batch; if it fails as a whole, each sample is tried alone, so that only the bad one fails.

    `check` gives the answer, or a `Failure` for one that breaks the contract. Once `is_stopped` says so nothing more is
    asked: there are answers for the first samples alone, or for none.
    """

    def asked(some: Sequence[Sample]) -> list[Outcome]:
        if is_stopped():
            raise Stopped
        with recorded(resources) as calls:
            answers = listed(call(some), len(some))
        return [Outcome(check(answer), tuple(calls)) for answer in answers]

    outcomes: list[Outcome] = []
    for found in tried(asked, samples):
        if isinstance(found, Outcome):
            outcomes.append(found)
        elif isinstance(found.error, KeyboardInterrupt):
            raise found.error
        elif isinstance(found.error, Stopped) or goes_back(found.error):
            # From here on there is no answer: one for a later sample would be taken for this one's.
            break
        else:
            outcomes.append(Outcome(failure_of(found.error)))
    return outcomes


@attrs.frozen
class Raised:
    """In the place of an answer: what was raised instead."""

    error: BaseException


def tried(ask: Callable[[Sequence[Row]], Sequence[Given]], rows: Sequence[Row]) -> Iterator[Given | Raised]:
    """What `ask` gives for each row of a batch; if it raises, each is tried alone, so that only the bad one fails."""
    try:
        given = ask(rows)
    except BaseException as error:  # also sys.exit() or a panic of an extension module: the run goes on
        if len(rows) == 1 or isinstance(error, (Stopped, KeyboardInterrupt)):
            yield from [Raised(error)] * len(rows)
            return
        _log.info("a batch of %d failed, trying one by one: %s", len(rows), told(error))
    else:
        yield from given
        return
    # Nothing says which row it was, and a batch that failed has no answers that could be kept: all are asked again.
    for row in rows:
        yield from tried(ask, [row])


def listed(given: Any, count: int) -> list[Any]:
    """The answers of a component to a batch of so many, one for each; anything else is a `StepError`."""
    if not isinstance(given, Iterable):
        raise StepError(f"it answered {type(given).__name__} for a batch, not a list with an answer per sample")
    # Listed once: a generator runs the component's code here, where its errors are still its own.
    answers = list(given)
    if len(answers) != count:
        raise StepError(f"it gave {counted(len(answers), 'answer')} for {counted(count, 'sample')}")
    return answers


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
