"""The call and run tables of a snapshot: which model calls, of which run, an image's answers used at each step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np

from sgforge.columns import Ragged
from sgforge.dataset.records import JournalRow, RunRecord
from sgforge.dataset.zarr_arrays.layout import StoredColumn, TableReader

__all__ = ["Call", "Provenance"]

_RUN_FIELDS = ("run_id", "config_json", "versions", "started")


@attrs.frozen
class Call:
    """One model call: its id, the step that made it, the run it was made in."""

    call_id: str
    step: str
    run_id: str


def _no_texts() -> Ragged:
    return Ragged.of_texts([])


def _no_ids() -> np.ndarray:
    return np.zeros(0, np.int32)


@attrs.frozen(eq=False)
class Provenance:
    """All calls and runs behind a snapshot; unlike every other table it may differ between equal datasets.

    Columns of K calls, sorted by image: `call_id` (texts), `image` (row), `step` and `run` (into `steps`, `runs`; -1
    for a run that is not known).
    """

    call_id: Ragged = attrs.field(factory=_no_texts)
    image: np.ndarray = attrs.field(factory=_no_ids)
    step: np.ndarray = attrs.field(factory=_no_ids)
    run: np.ndarray = attrs.field(factory=_no_ids)
    steps: tuple[str, ...] = ()
    runs: tuple[RunRecord, ...] = ()

    @classmethod
    def of_answers(cls, rows: Sequence[int], answers: Sequence[JournalRow], runs: Iterable[RunRecord]) -> Provenance:
        """The calls of the answers that became images `rows`, and the runs they were made in."""
        known = {run.run_id: run for run in runs}
        used = tuple(known[name] for name in dict.fromkeys(answer.run for answer in answers) if name in known)
        run_ids = {run.run_id: index for index, run in enumerate(used)}
        steps = {name: index for index, name in enumerate(dict.fromkeys(answer.step for answer in answers))}
        counts = [len(answer.calls) for answer in answers]
        return cls(
            call_id=Ragged.of_texts([call_id for answer in answers for call_id in answer.calls]),
            image=np.repeat(np.asarray(rows, np.int32), counts),
            step=np.repeat(np.asarray([steps[answer.step] for answer in answers], np.int32), counts),
            run=np.repeat(np.asarray([run_ids.get(answer.run, -1) for answer in answers], np.int32), counts),
            steps=tuple(steps),
            runs=used,
        )

    @classmethod
    def merged(cls, parts: Sequence[Provenance]) -> Provenance:
        """The calls of all parts, sorted by image."""
        steps = {name: index for index, name in enumerate(dict.fromkeys(name for part in parts for name in part.steps))}
        runs = {run.run_id: run for part in parts for run in part.runs}
        run_ids = {name: index for index, name in enumerate(runs)}
        image = np.concatenate([part.image for part in parts])
        order = np.argsort(image, kind="stable")
        step = np.concatenate([_renumber(part.step, [steps[name] for name in part.steps]) for part in parts])
        run = np.concatenate([_renumber(part.run, [run_ids[record.run_id] for record in part.runs]) for part in parts])
        return cls(
            call_id=Ragged.concat([part.call_id for part in parts]).take(order),
            image=image[order],
            step=step[order],
            run=run[order],
            steps=tuple(steps),
            runs=tuple(runs.values()),
        )

    def moved(self, row_of: np.ndarray) -> Provenance:
        """The calls with new image rows, `row_of[old row]`; those of images with row -1 are left out."""
        rows = row_of[self.image]
        kept = np.flatnonzero(rows >= 0)
        return attrs.evolve(
            self,
            call_id=self.call_id.take(kept),
            image=rows[kept].astype(np.int32),
            step=self.step[kept],
            run=self.run[kept],
        )

    def of_image(self, row: int) -> list[Call]:
        """The calls behind one image."""
        first, last = np.searchsorted(self.image, [row, row + 1]).tolist()
        return [
            Call(
                self.call_id.text_at(call),
                self.steps[self.step[call]],
                self.runs[self.run[call]].run_id if self.run[call] >= 0 else "",
            )
            for call in range(first, last)
        ]

    def fault(self, images: int) -> str | None:
        """What is wrong with the calls of a version of so many images; None if nothing is."""
        for name, ids, low, high in (
            ("image", self.image, 0, images),
            ("step", self.step, 0, len(self.steps)),
            ("run", self.run, -1, len(self.runs)),
        ):
            if len(ids) != len(self.call_id) or (len(ids) and not (low <= ids.min() and ids.max() < high)):
                return f"a model call belongs to no {name}"
        return None

    def arrays(self) -> Iterator[tuple[StoredColumn, np.ndarray]]:
        """The tables as arrays."""
        yield from _text_arrays("call/id", self.call_id)
        for name in ("image", "step", "run"):
            yield StoredColumn(f"call/{name}", "i4", -1), getattr(self, name)
        yield from _text_arrays("call/step_name", Ragged.of_texts(self.steps))
        yield from _text_arrays("run/run_id", Ragged.of_texts([run.run_id for run in self.runs]))
        yield from _text_arrays("run/config_json", Ragged.of_texts([run.config_json for run in self.runs]))
        versions = [json.dumps(dict(run.versions), sort_keys=True) for run in self.runs]
        yield from _text_arrays("run/versions", Ragged.of_texts(versions))
        yield from _text_arrays("run/started", Ragged.of_texts([run.started for run in self.runs]))

    @classmethod
    def read(cls, reader: TableReader) -> Provenance:
        """The tables of a snapshot."""
        fields = [_read_texts(reader, f"run/{name}").texts() for name in _RUN_FIELDS]
        runs = tuple(
            RunRecord(run, config, json.loads(versions), started)
            for run, config, versions, started in zip(*fields, strict=True)
        )
        image, step, run_rows = (reader.array(f"call/{name}").read() for name in ("image", "step", "run"))
        names = tuple(_read_texts(reader, "call/step_name").texts())
        return cls(call_id=_read_texts(reader, "call/id"), image=image, step=step, run=run_rows, steps=names, runs=runs)


def _renumber(ids: np.ndarray, table: Sequence[int]) -> np.ndarray:
    # The -1 at the end is what an id of -1 (none) picks.
    numbers: np.ndarray = np.asarray([*table, -1], np.int32)[ids]
    return numbers


def _text_arrays(path: str, column: Ragged) -> Iterator[tuple[StoredColumn, np.ndarray]]:
    assert isinstance(column.values, np.ndarray)
    yield StoredColumn(f"{path}_len", "u4", 0), column.counts
    yield StoredColumn(f"{path}_bytes", "u1", 0), column.values


def _read_texts(reader: TableReader, path: str) -> Ragged:
    return Ragged(reader.array(f"{path}_len").read(), reader.array(f"{path}_bytes").read())
