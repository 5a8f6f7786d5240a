"""The other side of the door: a component at work away from the driver, asked by messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from sgforge.engine.executors.answering import Outcome, StopRunError, answer_batch
from sgforge.engine.executors.lifecycle import build
from sgforge.engine.executors.sample_messages import (
    pack_end,
    pack_outcomes,
    pack_samples,
    unpack_outcomes,
    unpack_samples,
)
from sgforge.engine.executors.training.crew import TrainingCrew
from sgforge.engine.executors.training.lesson import pack_lesson, pack_taught, unpack_lesson, unpack_taught
from sgforge.engine.executors.work import Work
from sgforge.errors import SgforgeError

__all__ = ["Station", "open_station", "pack_asked", "unpack_answers"]


class Station(Protocol):
    """One worker of a crew, in whatever process it is."""

    def answer(self, message: bytes, /) -> bytes:
        """For what `pack_asked` packed, what `unpack_answers` takes; in the thread that opened the station."""
        ...

    def stop(self) -> None:
        """Begin no further call; may be called from any thread while one runs."""
        ...

    def close(self) -> None:
        """Close the component; in the thread that opened the station."""
        ...


def open_station(work: Work) -> Station:
    """A station with the component of `unpack_work`; what fails there is a `StepError`."""
    return _TrainingStation(work) if work.answers == "checkpoint" else _ItemStation(work)


def pack_asked(work: Work, asked: Sequence[Any]) -> bytes:
    """What a lane of a crew is asked, for a station that was opened for this work."""
    return pack_lesson(asked[0]) if work.answers == "checkpoint" else pack_samples(asked)


def unpack_answers(work: Work, message: bytes) -> list[Outcome]:
    """What the lane answers; the error that a station met is raised."""
    return unpack_taught(message) if work.answers == "checkpoint" else unpack_outcomes(message)


class _ItemStation:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._entered = build(work.spec, work.resources)
        self._is_stopped = False

    def answer(self, message: bytes) -> bytes:
        work = self._work
        samples = unpack_samples(message, work.images)
        call = getattr(self._entered.instance, work.method)
        try:
            outcomes = answer_batch(call, samples, work.check, work.resources, lambda: self._is_stopped)
        except StopRunError as error:
            return pack_end(error)
        return pack_outcomes(samples, outcomes, work.spec.columns)

    def stop(self) -> None:
        self._is_stopped = True

    def close(self) -> None:
        self._entered.close()


class _TrainingStation:
    """Starts the processes of a training where it is, as the driver would."""

    def __init__(self, work: Work) -> None:
        self._loop = asyncio.new_event_loop()
        self._crew = TrainingCrew(work)

    def answer(self, message: bytes) -> bytes:
        lane = self._crew.lanes[0]
        try:
            return pack_taught(self._loop.run_until_complete(lane.answer([unpack_lesson(message)])))
        except SgforgeError as error:
            return pack_taught(error)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._crew.stop)

    def close(self) -> None:
        self._loop.close()
