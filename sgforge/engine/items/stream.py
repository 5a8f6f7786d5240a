"""Item steps as a stream: images flow from step to step through bounded channels, each at its own pace.

An image enters a step, its answer is checked, applied and made durable, and only then it goes on. Answers of an
earlier run are applied on the way. No step waits for another to finish.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from sgforge.columns.declared import Column
from sgforge.dataset import JournalRow
from sgforge.edits import Applied, Edit, apply_edit, with_edit
from sgforge.engine.executors.answering import Outcome, StopRunError
from sgforge.engine.executors.check_answer import take_edit
from sgforge.engine.executors.crew import Crew, Lane, intake
from sgforge.engine.items.channel import Channel
from sgforge.engine.reporting.step_counts import Tally
from sgforge.errors import GraphError, SgforgeError
from sgforge.graph import Sample
from sgforge.packed import pack_edit
from sgforge.stages import Failure, Verb

if TYPE_CHECKING:
    from sgforge.images import Roots

__all__ = ["Recalled", "Stage", "Stream", "WorkItem"]

_PATIENCE: Final = 0.02
"""Seconds that a sync step waits for a full batch once it has a sample."""


Keep: TypeAlias = Callable[[Sequence[JournalRow]], Awaitable[None]]


@attrs.frozen(eq=False)
class Recalled:
    """The state of an image after a step, known from an earlier run: all of it, or the edit that makes it."""

    state: Sample | None = None
    edit: Edit | None = None
    dropped: bool = False


@attrs.define(eq=False)
class WorkItem:
    """One image on its way. `recalled`: what is known already, by number of the stage."""

    row: int
    sample: Sample
    recalled: Mapping[int, Recalled]

    def replay(self, stage: Stage, edit: Edit) -> None:
        """Carry on what an edit that took effect before makes of the sample."""
        applied = apply_edit(self.sample.graph, edit, stage.name, may_restore=stage.verb.may_restore)
        self.become(stage, applied)

    def become(self, stage: Stage, applied: Applied) -> None:
        """Carry on the sample with an edit that was applied to its graph."""
        self.sample = with_edit(self.sample, applied)
        if applied.edit.image is not None and stage.roots is not None:
            self.sample = attrs.evolve(self.sample, image=stage.roots.image(applied.edit.image.uri))


@attrs.frozen(eq=False)
class Stage:
    """One item step in a stream: who does it, for which rows, and under which keys the answers are kept.

    `parents`: the keys of the states it works on. `shared`: keys that several rows have (one photo under two ids), so
    that their work is done once. `columns`: those that its component declared. `roots`: where images that it makes lie.
    """

    name: str
    verb: Verb
    crew: Crew
    applies: Sequence[bool]
    keys: Sequence[bytes]
    parents: Sequence[bytes]
    shared: frozenset[bytes]
    tally: Tally
    columns: Mapping[tuple[str, str], Column] = attrs.field(factory=dict)
    roots: Roots | None = None


class _Shared:
    """Rows with one key: the first is worked on, the others wait for its edit."""

    def __init__(self) -> None:
        self.result: Edit | Failure | None = None
        self.waiting: list[WorkItem] = []


class Stream:
    """The stages of one group of item steps and the channels between them; `keep` makes answers durable."""

    def __init__(self, stages: Sequence[Stage], keep: Keep | None, run_id: str) -> None:
        self._stages = stages
        self._journal = keep
        self._run_id = run_id
        # Room for one more round of every lane: a step never waits for the one before it, and memory stays bounded by
        # the steps' own sizes, however many images there are.
        self._channels = [Channel[WorkItem](2 * intake(stage.crew)) for stage in stages]
        self._shared: list[dict[bytes, _Shared]] = [{} for _ in stages]
        self._stopping = False
        self.stopped_by: StopRunError | None = None

    def stop(self) -> None:
        """Take in and begin nothing more; the calls and batches that run are finished and kept."""
        self._stopping = True
        # Crews first: a pump that gets the end of its channel must not find a crew that would still begin a batch.
        for stage in self._stages:
            stage.crew.stop()
        for channel in self._channels:
            channel.close(discard=True)

    async def run(self, chunks: AsyncIterator[list[WorkItem]]) -> None:
        """Pass all items through; returns when the last one is done or what was in flight at `stop` is kept."""
        async with asyncio.TaskGroup() as group:
            pumps = [
                [group.create_task(self._pump(number, lane)) for lane in stage.crew.lanes for _ in range(lane.depth)]
                for number, stage in enumerate(self._stages)
            ]
            async for items in chunks:
                if self._stopping:
                    break
                await self._forward(items, 0)
            # In order: only when all pumps of a step have ended can nothing more come into the channel after it.
            for channel, tasks in zip(self._channels, pumps, strict=True):
                channel.close()
                await asyncio.gather(*tasks)

    async def _pump(self, number: int, lane: Lane) -> None:
        channel, tally = self._channels[number], self._stages[number].tally
        # An async lane takes one image a call: there is no batch to wait for.
        patience = _PATIENCE if lane.batch > 1 else 0.0
        while items := await channel.get(lane.batch, patience):
            started = time.perf_counter()
            tally.in_flight += len(items)
            try:
                outcomes = await lane.answer([item.sample for item in items])
                # Fewer after a stop: what was not asked any more is neither done nor failed.
                await self._settle(number, items[: len(outcomes)], outcomes, started)
            except StopRunError as error:
                # Not raised: it would cancel the other pumps, whose answers are paid. The first cause is the one told.
                self.stopped_by = self.stopped_by or error
                self.stop()
                return
            finally:
                tally.in_flight -= len(items)

    async def _settle(
        self, number: int, items: Sequence[WorkItem], outcomes: Sequence[Outcome], started: float
    ) -> None:
        """Check, apply and keep the answers of one batch, then send its images on."""
        stage = self._stages[number]
        rows: list[JournalRow] = []
        onward: list[WorkItem] = []
        answered: list[_Done] = []
        failed = 0
        for item, outcome in zip(items, outcomes, strict=True):
            done = _take(stage, item, outcome.answer, is_kept=self._journal is not None)
            if isinstance(done, Failure):
                failed += 1
                stage.tally.fail(item.row, item.sample.image_id, done)
            else:
                answered.append(done)
                if self._journal is not None:
                    rows.append(self._journal_row(stage, item, done, outcome.calls))
            onward.extend(self._release(number, item, done))
        # Durable before anything goes on: what a later step is paid for must stand on an answer that is not lost.
        await self._keep(rows)
        # Counted only now: a step is done when all its answers are kept, and the counts say whether it is.
        for done in answered:
            stage.tally.answer(done.counts)
        stage.tally.batch(len(items), failed, time.perf_counter() - started)
        await self._forward(onward, number + 1)

    async def _keep(self, rows: Sequence[JournalRow]) -> None:
        """Make answers durable; a journal that cannot be written ends the intake, answers under way are awaited."""
        if self._journal is None:
            return
        try:
            await self._journal(rows)
        except SgforgeError as error:
            raise StopRunError(error) from error

    def _journal_row(self, stage: Stage, item: WorkItem, done: _Done, calls: tuple[str, ...]) -> JournalRow:
        return JournalRow(
            key=stage.keys[item.row],
            image_id=item.sample.image_id,
            step=stage.name,
            edit=done.packed,
            calls=calls,
            run=self._run_id,
            counts=done.counts,
            parent_key=stage.parents[item.row],
        )

    def _release(self, number: int, item: WorkItem, done: _Done | Failure) -> list[WorkItem]:
        """The images that go on: this one, and those that waited for the same answer."""
        onward = [] if isinstance(done, Failure) or done.edit.dropped is not None else [item]
        shared = self._shared[number].get(self._stages[number].keys[item.row])
        if shared is None:
            return onward
        # The edit as it took effect, not as it was answered: twins are equal, so it has the same effect on them, and
        # the journal's answer under their common key is theirs too.
        result = shared.result = done if isinstance(done, Failure) else done.edit
        onward.extend(other for other in shared.waiting if self._share(number, other, result))
        shared.waiting.clear()
        return onward

    def _share(self, number: int, item: WorkItem, result: Edit | Failure) -> bool:
        """Give an image the answer of its twin; whether it goes on."""
        stage = self._stages[number]
        is_failed = isinstance(result, Failure)
        stage.tally.batch(1, int(is_failed), 0.0)
        if isinstance(result, Failure):
            stage.tally.fail(item.row, item.sample.image_id, result)
            return False
        item.replay(stage, result)
        stage.tally.reuse(1)
        if result.dropped is not None:
            stage.tally.drop(item.row)
        return result.dropped is None

    async def _forward(self, items: Iterable[WorkItem], start: int) -> None:
        """Send each item to the next stage from `start` on that has work for it."""
        by_stage: dict[int, list[WorkItem]] = {}
        for item in items:
            number = self._advance(item, start)
            if number is not None:
                by_stage.setdefault(number, []).append(item)
        for number, waiting in by_stage.items():
            # In pieces that fit the channel, so that a large chunk waits here and not in it.
            size = max(1, intake(self._stages[number].crew))
            for first in range(0, len(waiting), size):
                await self._channels[number].put(waiting[first : first + size])

    def _advance(self, item: WorkItem, start: int) -> int | None:
        for number in range(start, len(self._stages)):
            stage = self._stages[number]
            if not stage.applies[item.row]:
                continue
            known = item.recalled.get(number)
            if known is None:
                # Work to do. Of several images under one key the first does it; another goes on only if the answer is
                # there already, else whoever brings the answer takes it along.
                if self._is_leader(number, item):
                    return number
                if not self._follow(number, item):
                    return None
                continue
            stage.tally.reuse(1)
            if known.state is not None:
                item.sample = item.sample.with_state_of(known.state)
            elif known.edit is not None:
                item.replay(stage, known.edit)
            if known.dropped:
                stage.tally.drop(item.row)
                return None
        return None

    def _is_leader(self, number: int, item: WorkItem) -> bool:
        key = self._stages[number].keys[item.row]
        # Most keys belong to one image alone, and need no record of who came first.
        if key not in self._stages[number].shared or key not in self._shared[number]:
            if key in self._stages[number].shared:
                self._shared[number][key] = _Shared()
            return True
        return False

    def _follow(self, number: int, item: WorkItem) -> bool:
        """Wait for a twin's answer, or take it if it is there; whether the item can go on now."""
        shared = self._shared[number][self._stages[number].keys[item.row]]
        if shared.result is None:
            shared.waiting.append(item)
            return False
        return self._share(number, item, shared.result)


@attrs.frozen
class _Done:
    """An answer as it took effect; `packed` for the journal, where there is one."""

    edit: Edit
    packed: bytes
    counts: Mapping[str, int]


def _take(stage: Stage, item: WorkItem, answer: Edit | Failure, *, is_kept: bool) -> _Done | Failure:
    """Apply an answer to its image; one that breaks the contract becomes a failure of the image."""
    if isinstance(answer, Failure):
        return answer
    applied = take_edit(answer, item.sample, stage.verb, stage.name, stage.columns)
    if isinstance(applied, Failure):
        return applied
    try:
        # Packed here and not later: what no column can hold is a fault of this answer, not of the run.
        packed = pack_edit(applied.edit) if is_kept else b""
    except GraphError as error:
        return Failure("contract", f"its edit does not fit the graph: {error}")
    item.become(stage, applied)
    counts = applied.counts
    if answer.faults:
        counts = {key: counts.get(key, 0) + answer.faults.get(key, 0) for key in {*counts, *answer.faults}}
    if applied.edit.dropped is not None:
        stage.tally.drop(item.row)
    return _Done(applied.edit, packed, counts)
