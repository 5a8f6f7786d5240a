"""The source step: all sources into one published snapshot; what has not changed is not read."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from sgforge.columns.declared import values_of_sample
from sgforge.edits import Value
from sgforge.engine.context import Context
from sgforge.engine.reporting.report import Failed
from sgforge.engine.reporting.step_counts import MAX_FAILED_SHOWN
from sgforge.engine.sources.file_hashes import cached_hashes
from sgforge.engine.sources.reading import Reading, blamed, read_sources
from sgforge.engine.sources.unchanged import FailedImage, Kept, LeftOut, LookedAt, Told, Unchanged
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.statekey import KEY_BYTES, StateKeys
from sgforge.text.blame import told

if TYPE_CHECKING:
    from sgforge.columns import GraphColumns
    from sgforge.dataset import Snapshot
    from sgforge.stages import SourceFailure

__all__ = ["SourceReader"]


class SourceReader:
    """Makes one published snapshot of all sources, and counts what could not be read.

    It works on a thread; `flush` tells the counts, which only grow, on the thread of the engine. `reads_all`: nothing
    that is remembered of files is trusted.
    """

    step = "source"
    in_flight = 0

    def __init__(self, context: Context, limit: int | None, *, reads_all: bool = False) -> None:
        self._told = (0, 0, time.monotonic())
        self._context = context
        self._limit = limit
        self._reads_all = reads_all
        self._hashes = cached_hashes(context.writer.journal, is_trusted=not reads_all)
        self._keys = StateKeys()
        self._kept = 0
        self.known = 0
        self.remarks: list[str] = []
        self.failed_count = 0
        self.failed: list[Failed] = []
        self.reasons: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def flush(self) -> None:
        """Tell how many images were read, or found unchanged, since the last time."""
        items, failed, since = self._told
        done = self._kept + len(self._keys) + self.failed_count
        self._told = (done, self.failed_count, time.monotonic())
        if done > items:
            self._context.batch_finished(self.step, done - items, self._told[1] - failed, self._told[2] - since)

    def publish(self) -> Snapshot:
        """The snapshot of what the sources give: the one there is, if none of them has changed."""
        context = self._context
        sources = {}
        for name, spec in context.plan.sources.items():
            with blamed(name):
                sources[name] = spec.build()
        looked = self._look_at(sources)
        findings = {name: _Findings() for name, one in looked.items() if one.kept is None}
        snapshot = _unread(looked) or self._read({name: sources[name] for name in findings}, findings, looked)
        for name, one in looked.items():
            said = findings[name].told(_remarks(name, sources[name])) if one.kept is None else one.kept.told
            self._tell(said)
            record = one.record(snapshot.id, said)
            if record is not None and (one.kept is None or one.kept.snapshot.id != snapshot.id):
                context.writer.journal.remember_reading(record)
        return snapshot

    def _look_at(self, sources: Mapping[str, Any]) -> dict[str, LookedAt]:
        context = self._context
        unchanged = Unchanged(
            context.writer.journal, context.states, context.roots, self._hashes, is_stopped=context.stop.is_set
        )
        looked = {}
        for name, source in sources.items():
            one = unchanged.look(
                name,
                context.plan.sources[name],
                source,
                self._limit,
                context.plan.copies.get(name),
                trusts=not self._reads_all,
            )
            if one.kept is not None:
                self._kept += len(one.kept.rows)
                self.known += len(one.kept.rows)
                self.failed_count += len(one.kept.told.failed)
            looked[name] = one
        return looked

    def _read(
        self, sources: Mapping[str, Any], findings: Mapping[str, _Findings], looked: Mapping[str, LookedAt]
    ) -> Snapshot:
        """Read these sources, and publish them with the images of those that are kept."""
        context = self._context
        samples = self._samples(sources, findings)
        kept = [one.kept for one in looked.values() if one.kept is not None]
        if not kept:
            # One by one into columns that nothing else holds: memory for all images is needed once.
            return context.writer.publish_source(samples, self._keys)
        columns, values = _joined(kept, samples)
        keys = [np.frombuffer(self._keys.joined(), np.uint8).reshape(-1, KEY_BYTES)]
        return context.writer.publish_source(columns, np.concatenate([*map(_keys_of, kept), *keys]), values)

    def _samples(self, sources: Mapping[str, Any], findings: Mapping[str, _Findings]) -> Iterator[Sample]:
        context = self._context
        for name, source in sources.items():
            found = findings[name]
            columns = context.plan.source_columns()
            stopped = context.stop.is_set
            copies = context.plan.copies
            for reading in read_sources(
                {name: source}, context.roots, self._hashes, self._limit, stopped, columns, copies
            ):
                if reading.sample is not None:
                    self._keys.append(reading.key)
                    yield reading.sample
                elif reading.failure is not None:
                    self.failed_count += found.add(reading.failure, reading)
        if not self._keys and not self._kept:
            failed = [one for found in findings.values() for one in found.failed]
            raise StepError(f"no image could be read from {', '.join(sources)}{_first_few(failed)}")
        # Asked before the snapshot is published: afterwards every key is known.
        self.known += sum(found is not None for found in context.states.find(self._keys))

    def _tell(self, said: Told) -> None:
        """Count what the reading of one source had to tell."""
        for one in said.left_out:
            if one.reason not in self.left_out:
                self.remarks.append(f"annotations left out, {one.reason}: the first is {one.first}")
            self.left_out[one.reason] += one.count
        self.reasons.update(one.failure.reason for one in said.failed)
        more = said.failed[: MAX_FAILED_SHOWN - len(self.failed)]
        self.failed.extend(map(_failed, more))
        self.remarks += said.remarks


class _Findings:
    """What the reading of one source has to tell, as it comes."""

    def __init__(self) -> None:
        self.failed: list[FailedImage] = []
        self._left_out: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, failure: SourceFailure, reading: Reading) -> bool:
        """Take in a failure; whether it loses an image."""
        if failure.loses == "annotation":
            self._first.setdefault(failure.reason, _located(failure, "annotation"))
            self._left_out[failure.reason] += 1
            return False
        if len(self.failed) >= MAX_FAILED_SHOWN:
            failure = attrs.evolve(failure, detail="")
        self.failed.append(FailedImage(failure, reading.uri, reading.sha256))
        return True

    def told(self, remarks: Sequence[str]) -> Told:
        left_out = (LeftOut(reason, count, self._first[reason]) for reason, count in self._left_out.items())
        return Told(tuple(self.failed), tuple(left_out), tuple(remarks))


def _unread(looked: Mapping[str, LookedAt]) -> Snapshot | None:
    """The snapshot that holds what the sources give and nothing else, if there is one and none has to be read."""
    kept = [one.kept for one in looked.values() if one.kept is not None]
    if len(kept) < len(looked) or len({one.snapshot.id for one in kept}) != 1:
        return None
    snapshot = kept[0].snapshot
    return snapshot if sum(len(one.rows) for one in kept) == len(snapshot) else None


def _joined(kept: Sequence[Kept], samples: Iterator[Sample]) -> tuple[GraphColumns, dict[int, list[Value]]]:
    """The columns of all images, and their values of further ones by the number of the image."""
    from sgforge.columns import GraphColumns

    values: dict[int, list[Value]] = {}

    def noted(samples: Iterable[Sample], first: int) -> Iterator[Sample]:
        for number, sample in enumerate(samples, first):
            if sample.has_values:
                values[number] = values_of_sample(sample)
            yield sample

    parts = [one.snapshot.columns(one.rows) for one in kept]
    rows = ((one.snapshot, row) for one in kept for row in one.rows.tolist())
    deque(noted((snapshot.with_values(Sample("-"), row) for snapshot, row in rows), 0), maxlen=0)
    parts.append(GraphColumns.from_samples(noted(samples, sum(map(len, parts)))))
    return GraphColumns.concat(parts), values


def _keys_of(kept: Kept) -> np.ndarray:
    keys: np.ndarray = kept.snapshot.keys[kept.rows]
    return keys


def _remarks(name: str, source: Any) -> list[str]:
    try:
        return [str(remark) for remark in (source.remarks() if hasattr(source, "remarks") else ())]
    except Exception as error:  # the images are read: what is said of them is not worth them
        return [f"the remarks of source {name!r} could not be made: {told(error)}"]


def _failed(one: FailedImage) -> Failed:
    failure = one.failure
    image_id = failure.image_id or failure.where
    return Failed(image_id, "source", failure.reason, _located(failure, failure.image_id))


def _first_few(failed: Sequence[FailedImage], most: int = 3) -> str:
    """What went wrong with the first images, for an error that has no report beside it."""
    if not failed:
        return ""
    said = "; ".join(f"{one.image_id}: {one.detail or one.reason}" for one in map(_failed, failed[:most]))
    return f": {said}{'; ...' if len(failed) > most else ''}"


def _located(failure: SourceFailure, shown: str | None) -> str:
    """The message of a failure with its place, where neither the name it is shown under nor the message says it."""
    is_told = not shown or failure.where in (shown, "") or failure.where in failure.detail
    return failure.detail if is_told else f"{failure.where}: {failure.detail or failure.reason}"
