"""The other side of the door: a component at work away from the driver, asked by messages."""

from __future__ import annotations

from sgforge.engine.executors.answering import StopRunError, answer_batch
from sgforge.engine.executors.lifecycle import build
from sgforge.engine.executors.sample_messages import pack_end, pack_outcomes, unpack_samples
from sgforge.engine.executors.work import Work

__all__ = ["Station"]


class Station:
    """One worker of a crew, in whatever process it is: its component is built and set up in the calling thread."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._entered = build(work.spec, work.resources)
        self._is_stopped = False

    def answer(self, message: bytes) -> bytes:
        """The message of outcomes for one of samples; to be called in the thread that made the station."""
        work = self._work
        samples = unpack_samples(message, work.images)
        call = getattr(self._entered.instance, work.method)
        try:
            outcomes = answer_batch(call, samples, work.check, work.resources, lambda: self._is_stopped)
        except StopRunError as error:
            return pack_end(error)
        return pack_outcomes(samples, outcomes, work.spec.columns)

    def stop(self) -> None:
        """Begin no further call; may be called from any thread while one runs."""
        self._is_stopped = True

    def close(self) -> None:
        """Close the component."""
        self._entered.close()
