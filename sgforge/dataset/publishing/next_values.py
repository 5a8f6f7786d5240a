"""Further columns of a new snapshot: where each value comes from, and the arrays that are written or linked.

Values of new answers go into a file as they come; those of the parent and of other snapshots stay where they are and
are named by runs of rows. Writing streams through the runs, so that memory holds a few blocks, however wide a column.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import numpy as np

from sgforge.columns import ImageColumns, Ragged
from sgforge.columns.declared import OF_VERSION, Column
from sgforge.columns.ragged import ends_of
from sgforge.dataset.publishing.answer_values import AnswerValues, Filled, FilledImage, Readable
from sgforge.dataset.snapshot import Snapshot
from sgforge.dataset.zarr_arrays.value_columns import ColumnPart, ValueColumn, parts_of
from sgforge.edits import Value
from sgforge.errors import DatasetError
from sgforge.graph.values import FILE
from sgforge.packed import ValueBlock, pack_values

__all__ = ["NextColumn", "NextValues", "RunRows", "fill_packed", "fill_values"]


_DIGEST_ROWS: Final = 4096


class _Origin(Protocol):
    """Where values are: a column of a snapshot, or those of new answers."""

    @property
    def byte_ends(self) -> np.ndarray: ...

    def array(self, part: str) -> Readable: ...


@attrs.frozen
class _Run:
    """Values `start` to `stop` of an origin."""

    origin: _Origin
    start: int
    stop: int


_IS_GIVEN: Final = np.ones(1, np.uint8)


class RunRows:
    """One array of a column as its runs give it, read span by span."""

    def __init__(self, runs: Sequence[_Run], part: ColumnPart) -> None:
        self.dtype = np.dtype(f"<{part.dtype}")
        self.trailing = part.trailing
        self._spans = [(run.origin.array(part.name), *_span(run, part)) for run in runs]
        self._ends = list(accumulate((stop - start for _, start, stop in self._spans), initial=0))

    def __len__(self) -> int:
        return self._ends[-1]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start to stop, cut at the end."""
        stop = min(stop, len(self))
        found = []
        number = bisect_right(self._ends, start) - 1
        while start < stop:
            array, first, _ = self._spans[number]
            begin, end = self._ends[number], min(stop, self._ends[number + 1])
            found.append(array.read(first + start - begin, first + end - begin))
            start, number = end, number + 1
        if len(found) == 1:
            return np.asarray(found[0])
        return np.concatenate(found) if found else np.zeros((0, *self.trailing), self.dtype)


def _span(run: _Run, part: ColumnPart) -> tuple[int, int]:
    if not part.is_bytes:
        return run.start, run.stop
    return int(run.origin.byte_ends[run.start]), int(run.origin.byte_ends[run.stop])


class NextColumn:
    """One further column of the next snapshot. `given` is that of its whole table, in pieces."""

    def __init__(self, column: Column, old: ValueColumn | None) -> None:
        self.column = column
        self.given: list[np.ndarray] = []
        self._old = old
        self._runs: list[_Run] = []

    @property
    def is_parents(self) -> bool:
        """Whether its values are those of the parent, all of them and in their order."""
        runs = self._runs
        if self._old is None:
            return False
        whole = int(self._old.ends[-1])
        return whole == 0 if not runs else len(runs) == 1 and runs[0] == _Run(self._old, 0, whole)

    def parts(self) -> list[tuple[ColumnPart, RunRows]]:
        """The arrays of its values, each to be read span by span."""
        return [(part, RunRows(self._runs, part)) for part in parts_of(self.column)]

    def join_given(self, first: int) -> None:
        """Make one piece of those of `given` from the one numbered `first` on."""
        if len(self.given) > first + 1:
            self.given[first:] = [np.concatenate(self.given[first:])]

    def update(self, digest: Any) -> None:
        """Take the whole column into a digest."""
        digest.update(f"{self.column} ".encode())
        for given in self.given:
            digest.update(given.tobytes())
        for _, rows in self.parts():
            for start in range(0, len(rows), _DIGEST_ROWS):
                digest.update(rows.rows(start, start + _DIGEST_ROWS).tobytes())

    def add_run(self, origin: _Origin, start: int, stop: int) -> None:
        """More values, in the order of the rows that have them."""
        if start == stop:
            return
        last = self._runs[-1] if self._runs else None
        if last is not None and last.origin is origin and last.stop == start:
            self._runs[-1] = _Run(origin, last.start, stop)
        else:
            self._runs.append(_Run(origin, start, stop))

    def add_rows(self, old: ValueColumn | None, first: int, last: int, rows: int) -> None:
        """Rows that are as `old` has them from first to last, and others without a value up to `rows`."""
        given = np.zeros(rows, np.uint8)
        if old is not None:
            given[: last - first] = old.given[first:last]
            self.add_run(old, int(old.ends[first]), int(old.ends[last]))
        self.given.append(given)

    def add_one(self, origin: AnswerValues, number: int) -> None:
        """The row of an image, filled by the value of this number."""
        self.given.append(_IS_GIVEN)
        self.add_run(origin, number, number + 1)

    def add_filled(self, old: tuple[ValueColumn | None, int, int], fresh: FilledImage, rows: int) -> None:
        """The rows of one image, of which an answer filled some."""
        column, first, last = old
        places = np.full(rows, -1, np.int64)
        if column is not None:
            places[: last - first][column.given[first:last] == 1] = np.arange(column.ends[first], column.ends[last])
        is_fresh = np.zeros(rows, bool)
        for indices, number in fresh.filled:
            if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < rows):
                raise DatasetError(f"an answer fills {self.column} of row {int(indices.max())} of {rows}")
            places[indices], is_fresh[indices] = np.arange(number, number + len(indices)), True
        self.given.append((places >= 0).astype(np.uint8))
        at = np.flatnonzero(places >= 0)
        breaks = np.flatnonzero((np.diff(places[at]) != 1) | (np.diff(is_fresh[at].astype(np.int8)) != 0)) + 1
        for start, stop in pairwise([0, *breaks.tolist(), len(at)]):
            if start < stop:
                origin = fresh.origin if is_fresh[at[start]] else column
                assert origin is not None
                self.add_run(origin, int(places[at[start]]), int(places[at[stop - 1]]) + 1)


class NextValues:
    """All further columns of the next snapshot, gathered slice by slice of its images in order.

    `folder`: where the values of new answers are kept until they are written. `parent`: what images have that are not
    taken from elsewhere.
    """

    def __init__(self, folder: Path, parent: Snapshot | None = None) -> None:
        self._folder = folder
        self._parent = parent
        self._columns: dict[tuple[str, str], NextColumn] = {}
        self._origins: dict[tuple[str, str], AnswerValues] = {}
        # By column and image what was filled; of a column of images the number of the value.
        self._fresh: dict[tuple[str, str], Filled] = {}
        self._rows = {"image": 0, "region": 0, "relation": 0}
        for column in () if parent is None else parent.meta.columns:
            self._column(column)

    def columns(self) -> list[NextColumn]:
        """Every column that has a value, by target and name."""
        found = [self._columns[key] for key in sorted(self._columns)]
        return [column for column in found if any(given.any() for given in column.given)]

    def fill(self, image: int, block: ValueBlock) -> None:
        """Take the values of an answer for image `image` of all; a later one of the same place wins."""
        column = block.column
        key = column.key
        origin = self._origins.get(key)
        if origin is None or origin.column is not column:
            origin = self._origin(column)
        filled = self._fresh.get(key)
        if filled is None:
            filled = self._fresh[key] = Filled()
        number = origin.append(block)
        if column.target == "image":
            # One row has one value: the last that came is the one.
            if origin.count > number:
                filled.put(image, origin.count - 1)
            return
        filled.fresh(image, origin).filled.append((block.indices, number))

    def _origin(self, column: Column) -> AnswerValues:
        """Where new values of a column are kept."""
        if column.kind == FILE:
            raise DatasetError(f"{column}: a file belongs to a column that was declared, which says what it holds")
        self._column(column)
        if column.key not in self._origins:
            self._origins[column.key] = AnswerValues(column, self._folder)
        return self._origins[column.key]

    def reorder(self, ids: Ragged) -> None:
        """Number the images that were filled anew, which came with these ids, in the order of the ids."""
        if not self._fresh:
            return
        texts = ids.byte_rows()
        place = array("q", bytes(8 * len(texts)))
        for new, old in enumerate(sorted(range(len(texts)), key=texts.__getitem__)):
            place[old] = new
        del texts
        self._fresh = {key: images.moved(place) for key, images in self._fresh.items()}

    def add_slice(self, start: int, image: ImageColumns, taken: Mapping[int, tuple[Snapshot, int]]) -> None:
        """The images from `start` on, of which `taken` names, by place in the slice, another snapshot and row."""
        for snapshot, _ in taken.values():
            for column in snapshot.meta.columns:
                self._column(column)
        for key, values in self._columns.items():
            others = {} if key in OF_VERSION else taken
            self._extend(values, start, _counts(image, key[0]), others, self._fresh.pop(key, Filled()))
        for target in self._rows:
            self._rows[target] += int(_counts(image, target).sum())

    def _column(self, column: Column) -> None:
        """The column by this name; one of another type is a `DatasetError`."""
        found = self._columns.get(column.key)
        if found is None:
            old = None if self._parent is None else self._parent.value_column(*column.key)
            found = self._columns[column.key] = NextColumn(column, old)
            if self._rows[column.target]:
                found.given.append(np.zeros(self._rows[column.target], np.uint8))
        if found.column != column:
            raise DatasetError(f"the dataset has {found.column}, a step fills it as {column}: give one another name")

    def _extend(
        self,
        column: NextColumn,
        start: int,
        counts: np.ndarray,
        taken: Mapping[int, tuple[Snapshot, int]],
        fresh: Filled,
    ) -> None:
        target, key = column.column.target, column.column.key
        old = None if self._parent is None else self._parent.value_column(*key)
        done, pieces = 0, len(column.given)
        ends = ends_of(counts)
        for row in sorted({*taken, *(image - start for image in fresh)}):
            self._unchanged(column, old, start, done, row, counts)
            done = row + 1
            filled = fresh.get(start + row)
            if isinstance(filled, int):
                column.add_one(self._origins[key], filled)
                continue
            origin = self._parent if row not in taken else taken[row][0]
            there = start + row if row not in taken else taken[row][1]
            source = None if origin is None else origin.value_column(*key)
            first, last = (0, 0) if origin is None or source is None else origin.rows_of(target, there, there + 1)
            rows = int(ends[row + 1] - ends[row])
            if filled is not None:
                column.add_filled((source, first, last), filled, rows)
            else:
                column.add_rows(source, first, last, rows)
        self._unchanged(column, old, start, done, len(counts), counts)
        column.join_given(pieces)  # each image that an answer filled came as one

    def _unchanged(
        self, column: NextColumn, old: ValueColumn | None, start: int, first: int, last: int, counts: np.ndarray
    ) -> None:
        """Images first to last of the slice as the parent has them, but for rows that were appended."""
        if first == last:
            return
        rows = int(counts[first:last].sum())
        if self._parent is None or old is None:
            column.given.append(np.zeros(rows, np.uint8))
            return
        target = column.column.target
        begin, end = self._parent.rows_of(target, start + first, start + last)
        if end - begin == rows:
            column.add_rows(old, begin, end, rows)
            return
        # Rows were appended to some of the images: each gets those of its own.
        given = np.zeros(rows, np.uint8)
        ends = ends_of(counts[first:last])
        for place in range(last - first):
            begin, end = self._parent.rows_of(target, start + first + place, start + first + place + 1)
            given[ends[place] : ends[place] + end - begin] = old.given[begin:end]
            column.add_run(old, int(old.ends[begin]), int(old.ends[end]))
        column.given.append(given)


def fill_values(values: NextValues, image: int, given: Sequence[Value]) -> None:
    """Take checked values for image `image` of all."""
    fill_packed(values, image, pack_values(given))


def fill_packed(values: NextValues, image: int, blocks: Iterable[Sequence[Any]]) -> None:
    """Take packed values for image `image` of all."""
    for block in blocks:
        values.fill(image, ValueBlock(*block))


def _counts(image: ImageColumns, target: str) -> np.ndarray:
    """Rows of a table for each image."""
    if target == "image":
        return np.ones(len(image.width), np.int64)
    counts: Any = image.region_count if target == "region" else image.relation_count
    return np.asarray(counts, np.int64)
