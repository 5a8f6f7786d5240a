"""A sync component asked by an async holder: in batches of what waits, a bad sample alone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sgforge.engine.executors.daemon_thread import DaemonThread
from sgforge.engine.executors.faces import OneByOne
from sgforge.errors import StepError

LONGEST = 60


class Doubling:
    """Doubles numbers; waits for `may_go`, refuses 7, and forgets an answer where 9 is among them."""

    name = "doubling"

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go = threading.Event()

    def filter(self, samples):
        self.batches.append(list(samples))
        assert self.may_go.wait(LONGEST)
        for sample in samples:
            if sample == 7:
                raise ValueError("seven")
            if sample != 9 or len(samples) > 1:
                yield 2 * sample


def asked(component: Doubling, numbers, most: int) -> list[object]:
    thread = DaemonThread("doubling")
    face = OneByOne(component, "filter", thread, most)
    assert face.name == "doubling"

    async def ask() -> list[object]:
        tasks = [asyncio.create_task(face.filter(number)) for number in numbers]
        await asyncio.sleep(0)  # all have asked
        component.may_go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    try:
        return asyncio.run(ask())
    finally:
        thread.end()


def test_what_is_asked_meanwhile_is_the_next_batch():
    component = Doubling()
    assert asked(component, range(1, 7), 3) == [2, 4, 6, 8, 10, 12]
    assert sorted(number for batch in component.batches for number in batch) == list(range(1, 7))
    assert max(map(len, component.batches)) == 3


def test_one_at_a_time_where_it_must_be():
    component = Doubling()
    asked(component, range(1, 5), 1)
    assert component.batches == [[1], [2], [3], [4]]


def test_a_bad_sample_fails_alone():
    found = asked(Doubling(), [5, 6, 7, 8], 4)
    assert [found[0], found[1], found[3]] == [10, 12, 16]
    assert isinstance(found[2], ValueError)


def test_an_answer_that_is_missing_is_told():
    (found,) = asked(Doubling(), [9], 4)
    with pytest.raises(StepError, match="it gave 0 answers for 1 sample"):
        raise found
