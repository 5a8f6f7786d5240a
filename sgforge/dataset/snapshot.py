"""Snapshot: one immutable version of a dataset, read by rows or by columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import google_crc32c
import numpy as np

from sgforge.columns import GraphColumns, ImageColumns, Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.declared import OF_VERSION, Column
from sgforge.columns.schema import specs_of
from sgforge.dataset.damage import damage_told, damaged_snapshot
from sgforge.dataset.folder import check_schema
from sgforge.dataset.provenance import Provenance
from sgforge.dataset.records import StepRecord
from sgforge.dataset.zarr_arrays.layout import TABLES, TableReader, stored_columns
from sgforge.dataset.zarr_arrays.reading import StoredArray
from sgforge.dataset.zarr_arrays.value_columns import GIVEN, StoredValues, ValueColumn, parts_of
from sgforge.errors import DatasetError, GraphError
from sgforge.graph import Sample, SceneGraph
from sgforge.regular_files import MAX_META_BYTES, read_json
from sgforge.seals import CHANGED, Digest, digest_of, seal_fault
from sgforge.selection import Selection
from sgforge.text.blame import words_of
from sgforge.text.wording import counted

if TYPE_CHECKING:
    from sgforge.images import Roots

__all__ = ["ArrayRecord", "Snapshot", "SnapshotMeta", "read_meta"]

_FILE_NAME: Final = re.compile(r"([a-z0-9_-][a-z0-9_.-]*/)+(zarr\.json|c(/[0-9]+)+)")
_ARRAY_NAME: Final = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*|[a-z]+/[a-z0-9_-]+(\.[a-z0-9_-]+)?/[a-z0-9]+")

_UNPACKED_FREE: Final = 2**26
_UNPACKED_MOST: Final = 256
"""Bytes in memory for each on disk that a snapshot may claim, beyond the free ones: real ones have about six."""

_KINDS: Final = {column.path: (np.dtype(f"<{column.dtype}"), column.trailing) for column in stored_columns()}


@attrs.frozen
class ArrayRecord:
    """What an array must hold: its rows, and the crc32c of its decoded bytes (a lost chunk reads as fill values)."""

    rows: int
    crc32c: int


@attrs.frozen
class SnapshotMeta:
    """What a snapshot says of itself: `parents` by id, the step that made it, counts by table, its arrays by path.

    `columns`: the further ones, beside those of every snapshot. `files`: as it stands there, size and crc32 of every
    other file in its folder, by path; None in schema 2.0, which has none.
    """

    snapshot_id: str
    parents: tuple[str, ...]
    step: StepRecord
    created: str
    counts: Mapping[str, int]
    partial: bool
    arrays: Mapping[str, ArrayRecord]
    columns: tuple[Column, ...] = ()
    files: Mapping[str, Any] | None = None
    schema: str = ""

    def digests(self) -> dict[str, Digest] | None:
        """`files`, looked at: what is none is a `ValueError`."""
        if self.files is None:
            return None
        try:
            return {_file_name(path): Digest(int(size), int(crc)) for path, (size, crc) in self.files.items()}
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(str(error)) from None


class Snapshot:
    """One snapshot folder, opened for reading; images are in the order of the UTF-8 bytes of their ids.

    It needs nothing outside its folder and never writes. A damaged file is a `DatasetError` naming it.
    """

    def __init__(self, path: Path, meta: SnapshotMeta) -> None:
        self.path = path
        self.meta = meta
        self._claimed = 0
        self._reader = TableReader(self._open_array)
        self._value_columns = {column.key: ValueColumn(column, self._reader.array) for column in meta.columns}
        self._state_columns = {key: column for key, column in self._value_columns.items() if key not in OF_VERSION}

    @classmethod
    def open(cls, path: Path | str) -> Snapshot:
        """The snapshot in the folder `path`; one of an unknown major schema is a `DatasetError`."""
        return cls(Path(path), read_meta(Path(path)))

    def __len__(self) -> int:
        return self.meta.counts["images"]

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._row_by_id

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(row) for row in range(len(self)))

    def __repr__(self) -> str:
        return f"Snapshot({str(self.path)!r}, step={self.meta.step.name!r}, images={len(self)})"

    @property
    def id(self) -> str:
        """The snapshot's id: 32 hexadecimal digits."""
        return self.meta.snapshot_id

    @cached_property
    def image_ids(self) -> list[str]:
        """All image ids, sorted by their UTF-8 bytes."""
        with damage_told(self):
            ids: Ragged = self._whole("image", "id")
            return ids.texts()

    @cached_property
    def keys(self) -> np.ndarray:
        """(N, KEY_BYTES) uint8: the state key of each image; a chunk that is lost is found here, others by `verify`."""
        keys = self.array("image/key").read()
        if google_crc32c.value(keys.tobytes()) != self.meta.arrays["image/key"].crc32c:
            raise damaged_snapshot(f"{self.path / 'image/key'}: its content is not what was published", self.path)
        return keys

    def fault(self, sealed: Path | None = None) -> str | None:
        """What is wrong with a file of it, the first found; None if all are as they were published.

        Each is read once and held against its digest; without digests (schema 2.0) the arrays are unpacked. `sealed`:
        beside which its seal lies.
        """
        if sealed is not None and self.meta.files is not None:
            fault = seal_fault(self.path / "zarr.json", sealed)
            if fault is not None:
                return f"{self.path / 'zarr.json'}: {fault}"
        try:
            digests = self.meta.digests()
            if digests is None:
                return self._array_fault()
            for name, told in digests.items():
                if digest_of(self.path / name) != told:
                    return f"{self.path / name}: {CHANGED}"
        except OSError as error:
            return f"{error.filename}: {error.strerror}"
        except (DatasetError, ValueError) as error:
            return getattr(error, "what", str(error))
        return None

    def _array_fault(self) -> str | None:
        for name, record in self.meta.arrays.items():
            found = 0
            for block in self.array(name).blocks():
                found = google_crc32c.extend(found, np.ascontiguousarray(block).reshape(-1).view(np.uint8))
            if found != record.crc32c:
                return f"{self.path / name}: its content is not what was published"
        return None

    @cached_property
    def _row_by_id(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.image_ids)}

    def row_of(self, image_id: str) -> int:
        """The row of an image; an unknown id is a `DatasetError`."""
        row = self._row_by_id.get(image_id)
        if row is None:
            names = f"its ids read like {self.image_ids[0]!r}" if len(self) else "it has none"
            raise DatasetError(f"{self.path} has no image {image_id!r}; {names}")
        return row

    def array(self, path: str) -> StoredArray:
        """One stored array, such as "relation/predicate"; an unknown path is a `DatasetError`."""
        if path not in self.meta.arrays:
            raise DatasetError(f"{self.path} has no array {path!r}")
        return self._reader.array(path)

    def vocabulary(self, name: str) -> tuple[str, ...]:
        """The texts that ids of this vocabulary point into, such as "predicate"."""
        if name not in Vocabularies.names():
            raise DatasetError(f"no vocabulary {name!r}; there are {', '.join(Vocabularies.names())}")
        with damage_told(self):
            return self._reader.vocabulary(name)

    @cached_property
    def vocabularies(self) -> Vocabularies:
        """All vocabularies."""
        with damage_told(self):
            return self._reader.vocabularies()

    @cached_property
    def provenance(self) -> Provenance:
        """The model calls and runs behind this snapshot."""
        with damage_told(self):
            return Provenance.read(self._reader)

    def value_column(self, target: str, name: str) -> ValueColumn | None:
        """A further column, such as ("image", "caption"); None where no image has a value of it."""
        return self._value_columns.get((target, name))

    def records_of(self, column: Column) -> list[ArrayRecord | None]:
        """What the arrays of a further column hold, and which rows are whose; where two agree, so do all values."""
        parts = (GIVEN, *(part.name for part in parts_of(column)))
        paths = (f"image/{column.target}_count", *(f"{column.target}/{column.name}/{part}" for part in parts))
        return [self.meta.arrays.get(path) for path in paths]

    def rows_of(self, target: str, first: int, last: int) -> tuple[int, int]:
        """First and last row in the table of `target` that images first to last have."""
        if target == "image":
            return first, last
        offsets = self._reader.offsets(f"image/{target}_count")
        return int(offsets[first]), int(offsets[last])

    def with_values(self, sample: Sample, row: int, *, state_only: bool = False) -> Sample:
        """A sample with the values that the image of `row` has here; they are read when they are asked for.

        `state_only`: without those that belong to this version, and not to the image's state.
        """
        shown = self._state_columns if state_only else self._value_columns
        if not shown:
            return sample
        found: dict[str, Any] = {}
        for target, field in (("image", "values"), ("region", "region_values"), ("relation", "relation_values")):
            columns = {name: column for (of, name), column in shown.items() if of == target}
            if columns:
                found[field] = StoredValues(columns, *self.rows_of(target, row, row + 1))
        if found.keys() == {"values"}:
            return sample.with_image_values(found["values"])
        return attrs.evolve(sample, **found)

    def column(self, path: str) -> np.ndarray | Ragged:
        """One whole column by path, such as "relation/predicate" or "region/box"; a `Ragged` for texts and masks."""
        if not isinstance(path, str):
            raise DatasetError(f"a column goes by its path, a text such as 'relation/predicate', not by {path!r}")
        name, _, column = path.partition("/")
        table = TABLES.get(name)
        specs = {spec.name: spec for spec in specs_of(table)} if table else {}
        if column not in specs:
            names = (*specs, *(column for target, column in self._value_columns if target == name))
            known = ", ".join(f"{name}/{spec}" for spec in names) or ", ".join(f"{name}/..." for name in TABLES)
            raise DatasetError(f"no column {path!r}; there are {known}")
        values: np.ndarray | Ragged = self._whole(name, column)
        return values

    def _whole(self, name: str, column: str) -> Any:
        if column == "mask_crop":
            return self._reader.table(RegionColumns, name, 0, self.meta.counts["regions"]).mask_crop
        spec = next(spec for spec in specs_of(TABLES[name]) if spec.name == column)
        return self._reader.column(name, spec, 0, self.meta.counts[name + "s"])

    def columns(self, rows: Sequence[int] | np.ndarray | None = None) -> GraphColumns:
        """All images as columns, or those of these rows, in this order."""
        with damage_told(self):
            whole = self._columns()
            return whole if rows is None else whole.gather(rows)

    def _columns(self) -> GraphColumns:
        counts = self.meta.counts
        return GraphColumns(
            self._reader.table(ImageColumns, "image", 0, counts["images"]),
            self._reader.table(RegionColumns, "region", 0, counts["regions"]),
            self._reader.table(RelationColumns, "relation", 0, counts["relations"]),
            self._reader.vocabularies(),
        )

    def one(self, row: int) -> GraphColumns:
        """One image as columns, read alone."""
        return self.between(row, row + 1)

    def between(self, start: int, stop: int) -> GraphColumns:
        """The images of rows start to stop as columns, read alone."""
        if not 0 <= start <= stop <= len(self):
            raise DatasetError(f"{self.path}: rows {start} to {stop} of {counted(len(self), 'image')}")
        regions, relations = self._reader.offsets("image/region_count"), self._reader.offsets("image/relation_count")
        return GraphColumns(
            self._reader.table(ImageColumns, "image", start, stop),
            self._reader.table(RegionColumns, "region", int(regions[start]), int(regions[stop])),
            self._reader.table(RelationColumns, "relation", int(relations[start]), int(relations[stop])),
            self.vocabularies,
        )

    def samples_of(
        self, rows: Sequence[int], roots: Roots | None = None, *, state_only: bool = False
    ) -> Iterator[tuple[Sample, bool]]:
        """The images of these rows, and whether each was dropped here; with `roots` their pixels can be opened.

        Rows close together are read at once. `state_only`: as in `with_values`.
        """
        with damage_told(self):
            for some, columns in self._read_rows(rows):
                dropped = (columns.image.dropped >= 0).tolist()
                for row, sample, is_dropped in zip(some, columns.samples(roots), dropped, strict=True):
                    yield self.with_values(sample, row, state_only=state_only), is_dropped

    def _read_rows(self, rows: Sequence[int]) -> Iterator[tuple[Sequence[int], GraphColumns]]:
        """These rows, in order and in parts, each part with the columns of just its rows."""
        first, last = min(rows), max(rows)
        # A read opens every column, however few rows it takes: rather a range with up to three rows in four too many.
        if last - first < 4 * len(rows):
            yield rows, self.between(first, last + 1).gather([row - first for row in rows])
        else:
            yield from (([row], self.one(row)) for row in rows)

    def pick(self, row: int, paths: Sequence[str]) -> list[np.ndarray | Ragged]:
        """Some columns of one image, such as "region/box" and "relation/predicate", and nothing else read."""
        spans = {"image": (row, row + 1)}
        for name in ("region", "relation"):
            offsets = self._reader.offsets(f"image/{name}_count")
            spans[name] = int(offsets[row]), int(offsets[row + 1])
        return [self._reader.part(path, *spans[path.partition("/")[0]]) for path in paths]

    def graph(self, row: int) -> SceneGraph:
        """The scene graph of one image."""
        with damage_told(self):
            return self.one(row).graph(0)

    def sample(self, row: int, roots: Roots | None = None) -> Sample:
        """One image with its graph; with `roots` its pixels can be opened."""
        with damage_told(self):
            return self.with_values(self.one(row).sample(0, roots), row)

    def rows(self, selection: Selection = Selection()) -> np.ndarray:
        """Rows of the images that a selection names, int64; failed and dropped images are never selected."""
        chosen = (self._whole("image", "failed_step") < 0) & (self._whole("image", "dropped") < 0)
        for names, column in ((selection.sources, "source"), (selection.splits, "split")):
            if names is not None:
                wanted = [index for index, text in enumerate(self.vocabularies.of(column)) if text in names]
                chosen &= np.isin(self._whole("image", column), wanted)
        return np.flatnonzero(chosen)

    def damage_told(self) -> AbstractContextManager[None]:
        """Say that this version is damaged where something in the block breaks on what it holds."""
        return damage_told(self)

    def content_fault(self) -> str | None:
        """What is wrong with what it holds, the first of it; None if nothing is."""
        try:
            columns = self._columns()
            for fault in columns.faults():
                return f"{fault.where}: {fault.message}"
            for _ in columns.samples():
                pass
            if problem := Provenance.read(self._reader).fault(len(self)):
                return problem
            for column in self._value_columns.values():
                if problem := next(column.problems(self.meta.counts[f"{column.column.target}s"]), None):
                    return problem
        except Exception as error:  # whatever breaks here breaks on what it holds
            return f"it holds what no version can: {type(error).__name__}: {words_of(error)}"
        return None

    def _open_array(self, path: str) -> StoredArray:
        array = StoredArray(self.path / path, self.path)
        record = self.meta.arrays.get(path)
        known = _KINDS.get(path)
        if known is not None and known != (array.dtype, array.shape[1:]):
            raise damaged_snapshot(
                f"{self.path / path} holds rows of another kind than {known[0]} {known[1]}", self.path
            )
        if record is None or record.rows != array.rows:
            stated = "none" if record is None else record.rows
            raise damaged_snapshot(
                f"{self.path / path} holds {counted(array.rows, 'row')}, {stated} are stated", self.path
            )
        # Chunks of fill values take no place on disk, so that a few bytes could claim any number of rows.
        self._claimed += array.bytes
        if self._claimed > _UNPACKED_FREE and self._claimed > _UNPACKED_MOST * self._bytes_on_disk:
            why = f"its arrays claim more than {self._claimed:,} bytes, {self._bytes_on_disk:,} are on disk: refused"
            raise damaged_snapshot(f"{self.path}: {why}", self.path)
        return array

    @cached_property
    def _bytes_on_disk(self) -> int:
        """Of all files; holes of sparse ones do not count."""
        found = (file.lstat() for file in self.path.rglob("*"))
        return sum(min(stated.st_size, stated.st_blocks * 512 + 4096) for stated in found)


def read_meta(path: Path) -> SnapshotMeta:
    """What the snapshot in the folder `path` says of itself."""
    file = path / "zarr.json"
    try:
        stated = read_json(file, MAX_META_BYTES)["attributes"]["sgforge"]
        check_schema(stated["schema"], path)
        step = stated["step"]
        return SnapshotMeta(
            snapshot_id=str(stated["snapshot"]),
            parents=tuple(str(parent) for parent in stated["parents"]),
            step=StepRecord(
                name=step["name"],
                verb=step["verb"],
                component=step["component"],
                fingerprint=step["fingerprint"],
                options_json=step["options"],
                counts=step["counts"],
            ),
            created=str(stated["created"]),
            counts={name: int(stated["counts"][name]) for name in ("images", "regions", "relations")},
            partial=bool(stated["partial"]),
            arrays={
                _array_name(name): ArrayRecord(int(record["rows"]), int(record["crc32c"]))
                for name, record in stated["arrays"].items()
            },
            columns=tuple(
                Column(str(one["target"]), str(one["name"]), str(one["kind"]), one["shape"])  # type: ignore[arg-type]
                for one in stated.get("columns", ())
            ),
            files=stated.get("files"),
            schema=str(stated["schema"]),
        )
    except FileNotFoundError:
        raise damaged_snapshot(f"{path} is no snapshot of a dataset (there is no zarr.json in it)", path) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, GraphError) as error:
        why = f"{file} is not the description of a snapshot: {type(error).__name__} {error}"
        raise damaged_snapshot(why, path) from None


def _file_name(path: str) -> str:
    if not _FILE_NAME.fullmatch(path):
        raise ValueError(f"file name {path!r}")
    return path


def _array_name(name: str) -> str:
    if not _ARRAY_NAME.fullmatch(name):
        raise ValueError(f"array name {name!r}")
    return name
