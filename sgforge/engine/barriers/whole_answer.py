"""A component that answers once for many images: what it raises, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sgforge.engine.executors.answering import Stopped, StopRunError, goes_back, recorded
from sgforge.engine.executors.work import Work
from sgforge.errors import SgforgeError, StepError
from sgforge.text.blame import told

__all__ = ["asked_as_a_whole"]


@contextmanager
def asked_as_a_whole(step: str, work: Work, ended: Callable[[], Exception | None]) -> Iterator[None]:
    """While a component answers for a whole step: what it raises becomes the error of the step, or the run's end.

    `ended`: why it could get no more images, if it could not; it may take that for a fault of one of them.
    """
    try:
        with recorded(work.resources):
            yield
        if (why := ended()) is not None:
            raise why
    except (SgforgeError, Stopped, StopRunError, KeyboardInterrupt) as error:
        if isinstance(error, SgforgeError) and getattr(error, "stops_run", False):
            raise StopRunError(error) from error
        if goes_back(error):
            raise Stopped from error
        raise
    except BaseException as error:
        if (why := ended()) is not None:
            raise why from None
        raise StepError(f"step {step!r}: {work.spec.name} failed: {told(error)}") from error
