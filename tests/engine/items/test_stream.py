"""The stream alone: random steps over random images against a plain loop, with real crews and no dataset."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgforge.edits import Edit
from sgforge.engine.executors.local import LocalExecutor
from sgforge.engine.executors.work import Work
from sgforge.engine.items.stream import Recalled, Stage, Stream, WorkItem
from sgforge.engine.planning.components import ComponentSpec
from sgforge.engine.reporting.step_counts import Tally
from sgforge.errors import SgforgeError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.stages import VERBS, Answer, Failure, Resources


@attrs.frozen
class Case:
    """What happens to each photo at each step; several images may be one photo.

    `photos`: the photo of each image. `outcomes`: "edit", "fail", "drop", "skip" (the step does not apply), "known" or
    "known drop" (an earlier run answered), by step and photo. `is_async` and `batch`: of each step.
    """

    photos: tuple[int, ...]
    outcomes: tuple[tuple[str, ...], ...]
    is_async: tuple[bool, ...]
    batch: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    photos = draw(st.lists(st.integers(0, 4), min_size=1, max_size=8))
    outcome = st.sampled_from(["edit", "edit", "edit", "fail", "drop", "skip", "known", "known drop"])
    steps = draw(st.integers(1, 3))
    outcomes = [tuple(draw(outcome) for _ in range(5)) for _ in range(steps)]
    return Case(
        tuple(photos), tuple(outcomes), tuple(draw(st.booleans()) for _ in range(steps)), draw(st.integers(1, 3))
    )


class Worker:
    """Does to each photo what the case says, and writes down which it was asked for."""

    def __init__(self, step: int, case: Case, heard: list[tuple[str, int, int]]) -> None:
        self.step, self.case, self.heard = step, case, heard

    def one(self, sample: Sample) -> Answer:
        photo = int(sample.graph.regions[0].label)
        self.heard.append(("asked", self.step, photo))
        outcome = self.case.outcomes[self.step][photo]
        if outcome == "fail":
            return Failure("odd", str(photo))
        return Edit.drop("dull") if outcome == "drop" else Edit.add(Region(f"by {self.step}"))

    def segment(self, samples: Sequence[Sample]) -> list[Answer]:
        return [self.one(sample) for sample in samples]


class AsyncWorker(Worker):
    async def segment(self, sample: Sample) -> Answer:
        for _ in range(int(sample.image_id) % 3):
            await asyncio.sleep(0)
        return self.one(sample)


@attrs.define
class Expected:
    """What a plain loop over the images gives."""

    labels: dict[int, list[str]] = attrs.field(factory=dict)
    asked: set[tuple[int, int]] = attrs.field(factory=set)
    done: Counter[int] = attrs.field(factory=Counter)
    failed: dict[int, set[int]] = attrs.field(factory=dict)
    dropped: dict[int, set[int]] = attrs.field(factory=dict)


def by_hand(case: Case) -> Expected:
    expected = Expected()
    for row, photo in enumerate(case.photos):
        labels = expected.labels[row] = [str(photo)]
        for step, outcomes in enumerate(case.outcomes):
            outcome = outcomes[photo]
            if outcome == "skip":
                continue
            if "known" not in outcome:
                expected.asked.add((step, photo))
            if outcome == "fail":
                expected.failed.setdefault(step, set()).add(row)
                break
            expected.done[step] += 1
            if "drop" in outcome:
                expected.dropped.setdefault(step, set()).add(row)
                break
            labels.append(f"by {step}")
    return expected


def key(step: int, photo: int) -> bytes:
    return f"{step} {photo}".encode()


@attrs.define
class Passed:
    """What came of a stream. `heard`: ("asked" or "kept", step, photo) in order."""

    items: list[WorkItem]
    tallies: list[Tally]
    heard: list[tuple[str, int, int]]
    stream: Stream


async def stages_of(case: Case, heard: list[tuple[str, int, int]]) -> list[Stage]:
    stages = []
    for step, outcomes in enumerate(case.outcomes):
        worker = (AsyncWorker if case.is_async[step] else Worker)(step, case, heard)
        spec = ComponentSpec("segmenter", f"step-{step}", "", {}, instance=worker)
        work = Work(spec=spec, method="segment", resources=Resources(), batch_size=case.batch)
        crew = await LocalExecutor().open(work)
        keys = [key(step, photo) for photo in case.photos]
        work = Counter(
            one
            for one, photo in zip(keys, case.photos, strict=True)
            if outcomes[photo] not in ("skip", "known", "known drop")
        )
        stages.append(
            Stage(
                name=f"step-{step}",
                verb=VERBS["segment"],
                crew=crew,
                applies=[outcomes[photo] != "skip" for photo in case.photos],
                keys=keys,
                parents=keys,
                shared=frozenset(one for one, count in work.items() if count > 1),
                tally=Tally(f"step-{step}"),
            )
        )
    return stages


async def passed(case: Case, stop_after: int | None = None, put=None) -> Passed:
    heard: list[tuple[str, int, int]] = []
    stages = await stages_of(case, heard)
    items = []
    for row, photo in enumerate(case.photos):
        known = {
            step: Recalled(edit=Edit.drop("dull"), dropped=True)
            if "drop" in outcomes[photo]
            else Recalled(edit=Edit.add(Region(f"by {step}")))
            for step, outcomes in enumerate(case.outcomes)
            if "known" in outcomes[photo]
        }
        items.append(WorkItem(row, Sample(str(row), SceneGraph(9, 9, [Region(str(photo))])), known))

    async def keep(rows) -> None:
        await asyncio.sleep(0)
        for row in rows:
            step, photo = row.key.split()
            heard.append(("kept", int(step), int(photo)))
        if stop_after is not None and sum(one[0] == "kept" for one in heard) >= stop_after:
            stream.stop()

    stream = Stream(stages, put or keep, "run")

    async def feed() -> AsyncIterator[list[WorkItem]]:
        for start in range(0, len(items), 3):
            yield items[start : start + 3]

    await stream.run(feed())
    for stage in stages:
        await stage.crew.close()
    return Passed(items, [stage.tally for stage in stages], heard, stream)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_image_takes_its_way_and_every_photo_is_asked_about_once(case):
    expected, found = by_hand(case), asyncio.run(passed(case))
    asked = [(step, photo) for word, step, photo in found.heard if word == "asked"]
    assert sorted(asked) == sorted(expected.asked)
    for row, item in enumerate(found.items):
        assert [region.label for region in item.sample.graph.all.regions] == expected.labels[row]
    for step, tally in enumerate(found.tallies):
        assert tally.computed + tally.reused == expected.done[step]
        assert tally.computed == sum(
            one == step and case.outcomes[step][photo] != "fail" for one, photo in expected.asked
        )
        assert set(tally.failures) == expected.failed.get(step, set())
        assert sorted(tally.dropped_rows) == sorted(expected.dropped.get(step, ()))
        assert tally.in_flight == 0


@settings(max_examples=60, deadline=None)
@given(cases())
def test_an_answer_is_kept_before_a_later_step_is_asked(case):
    heard = asyncio.run(passed(case)).heard
    for place, (word, step, photo) in enumerate(heard):
        if word == "asked":
            earlier = {one for one in range(step) if case.outcomes[one][photo] == "edit"}
            assert earlier <= {one for kind, one, of in heard[:place] if kind == "kept" and of == photo}


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(1, 6))
def test_a_stop_loses_and_doubles_nothing(case, stop_after):
    expected, found = by_hand(case), asyncio.run(passed(case, stop_after))
    assert found.stream.stopped_by is None
    heard = Counter(found.heard)
    assert set(heard.values()) <= {1}
    for step, tally in enumerate(found.tallies):
        kept = {photo for word, one, photo in found.heard if (word, one) == ("kept", step)}
        asked = {photo for word, one, photo in found.heard if (word, one) == ("asked", step)}
        # All that was asked has an answer or a failure; what has an answer is kept.
        assert tally.computed == len(kept)
        assert kept | {case.photos[row] for row in tally.failures} == asked
        assert asked <= {photo for one, photo in expected.asked if one == step}
        assert set(tally.failures) <= expected.failed.get(step, set())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stop_takes_in_nothing_more(is_async):
    """Each of 200 images has work of its own; the stream is stopped when the first answer is kept."""
    case = Case((0,) * 200, (("edit",) * 5,), (is_async,), 1)

    async def run() -> int:
        heard: list[tuple[str, int, int]] = []
        (stage,) = await stages_of(case, heard)
        stage = attrs.evolve(stage, shared=frozenset(), keys=[str(row).encode() for row in range(200)])
        stage.crew.lanes = tuple(attrs.evolve(lane, depth=2) for lane in stage.crew.lanes)
        items = [WorkItem(row, Sample(str(row), SceneGraph(9, 9, [Region("0")])), {}) for row in range(200)]

        async def keep(rows) -> None:
            stream.stop()

        async def feed() -> AsyncIterator[list[WorkItem]]:
            for item in items:
                yield [item]

        stream = Stream([stage], keep, "run")
        await stream.run(feed())
        await stage.crew.close()
        assert stage.tally.computed == len(heard)
        return len(heard)

    # Two are under way when the first of them is kept, and a lane that is ready may have begun two more.
    assert 1 <= asyncio.run(run()) <= 4


def plain(photos: int, steps: int = 1, is_async: bool = False, batch: int = 2) -> Case:
    return Case(tuple(range(photos)), (("edit",) * 5,) * steps, (is_async,) * steps, batch)


def test_a_journal_that_fails_ends_the_stream_with_its_reason_and_counts_nothing_as_done():
    async def refuse(rows) -> None:
        raise SgforgeError("the disk is full")

    found = asyncio.run(passed(plain(5), put=refuse))
    assert str(found.stream.stopped_by) == "the disk is full"
    assert [tally.computed for tally in found.tallies] == [0]


def test_an_error_of_our_own_is_raised_and_blamed_on_no_image(monkeypatch):
    def broken(*arguments, **more):
        raise TypeError("ours")

    monkeypatch.setattr("sgforge.engine.executors.check_answer.apply_edit", broken)
    with pytest.raises(ExceptionGroup) as found:
        asyncio.run(passed(plain(3)))
    assert found.group_contains(TypeError, match="ours")


@pytest.mark.parametrize("is_async", [False, True])
def test_images_do_not_pile_up_before_a_slow_step(is_async):
    """While the second step holds its first batch, the first one stops as soon as the channel between them is full."""
    case = Case((0,) * 400, (("edit",) * 5, ("edit",) * 5), (False, is_async), 1)
    let = asyncio.Event()

    async def run() -> int:
        heard: list[tuple[str, int, int]] = []
        stages = await stages_of(case, heard)
        # Every image has work of its own here.
        stages = [
            attrs.evolve(stage, shared=frozenset(), keys=[f"{step} {row}".encode() for row in range(400)])
            for step, stage in enumerate(stages)
        ]
        slow = stages[1].crew

        async def held(samples):
            await let.wait()
            return await answer(samples)

        answer = slow.lanes[0].answer
        slow.lanes = (attrs.evolve(slow.lanes[0], answer=held, depth=2),)
        items = [WorkItem(row, Sample(str(row), SceneGraph(9, 9, [Region("0")])), {}) for row in range(400)]

        async def feed() -> AsyncIterator[list[WorkItem]]:
            for item in items:
                yield [item]

        running = asyncio.create_task(Stream(stages, None, "run").run(feed()))
        before = -1
        # Quiet for a hundred turns with nothing under way in the first step's thread: it waits for room.
        while before != len(heard):
            before = len(heard)
            for _ in range(100):
                await asyncio.sleep(0.001)
        waiting = sum(step == 0 for _, step, _ in heard)
        let.set()
        await running
        assert sum(step == 1 for _, step, _ in heard) == 400
        return waiting

    # Two in the second step's hands, four in the channel, and what the first step's two calls hold.
    assert asyncio.run(run()) <= 2 + 4 + 2 + 2
