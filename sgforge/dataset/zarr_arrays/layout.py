"""Which arrays a snapshot holds, and how the tables of `GraphColumns` become these arrays and come back.

An array's path is its table and column ("relation/predicate"); a ragged column is several arrays, counts first.
One column is stored in another form: `region/mask_crop_delta` is the crop of a mask minus the region's box rounded
outward, (x, y, width, height), which is all zeros wherever box and mask agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import attrs
import numpy as np

from sgforge.columns import GraphColumns, ImageColumns, Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.schema import ColumnSpec, Table, specs_of
from sgforge.dataset.zarr_arrays.reading import StoredArray
from sgforge.errors import DatasetError

__all__ = ["TABLES", "StoredColumn", "TableReader", "arrays_of", "pieces_of", "stored_columns"]

TABLES: Final[dict[str, type[Table]]] = {"image": ImageColumns, "region": RegionColumns, "relation": RelationColumns}
_CROP: Final = "region/mask_crop"
_DELTA: Final = "region/mask_crop_delta"
_REACH: Final = 2.0**24

_T = TypeVar("_T", bound=Table)


@attrs.frozen
class StoredColumn:
    """One array of a snapshot: its path, dtype, the value of chunks that are not stored, the shape of a row."""

    path: str
    dtype: str
    fill: float
    trailing: tuple[int, ...] = ()


def stored_columns() -> Iterator[StoredColumn]:
    """Every array of images, regions, relations and vocabularies."""
    for name, table in TABLES.items():
        for spec in specs_of(table):
            for part in spec.ragged[:-1]:
                yield StoredColumn(f"{name}/{part}", "u4", 0)
            path = f"{name}/{spec.ragged[-1] if spec.ragged else spec.name}"
            yield StoredColumn(_DELTA if path == _CROP else path, spec.dtype, spec.missing, spec.shape)
    for name in Vocabularies.names():
        yield StoredColumn(f"vocabulary/{name}_len", "u4", 0)
        yield StoredColumn(f"vocabulary/{name}_bytes", "u1", 0)


def pieces_of(parts: Sequence[GraphColumns]) -> Iterator[tuple[StoredColumn, list[np.ndarray]]]:
    """As `arrays_of`, of images that lie in several columns one after the other, all over the same vocabularies."""
    for pairs in zip(*(arrays_of(part) for part in parts), strict=True):
        column = pairs[0][0]
        is_shared = column.path.startswith("vocabulary/")
        yield column, [data for _, data in (pairs[:1] if is_shared else pairs)]


def arrays_of(columns: GraphColumns) -> Iterator[tuple[StoredColumn, np.ndarray]]:
    """Every array that stands for these columns, one at a time, in the order of `stored_columns`."""
    yield from zip(stored_columns(), _arrays(columns), strict=True)


def _arrays(columns: GraphColumns) -> Iterator[np.ndarray]:
    for name in TABLES:
        table: Table = getattr(columns, name)
        for spec, column in table.items():
            if name == "region" and spec.name == "mask_crop":
                yield _crop_delta(columns.region)
            else:
                yield from _parts(column)
    for name in Vocabularies.names():
        yield from _parts(Ragged.of_texts(columns.vocabularies.of(name)))


def _parts(column: np.ndarray | Ragged) -> Iterator[np.ndarray]:
    while isinstance(column, Ragged):
        yield column.counts
        column = column.values
    yield column


def _box_outward(box: np.ndarray) -> np.ndarray:
    """(x, y, width, height) of boxes rounded outward, int32; zeros without a box; huge ones are cut, which is fair as
    this only has to be the same in both directions."""
    near = np.nan_to_num(np.clip(box, -_REACH, _REACH), nan=0.0)
    low = np.floor(near[:, :2])
    return np.concatenate([low, np.ceil(near[:, 2:]) - low], axis=1).astype(np.int32)


def _crop_delta(region: RegionColumns) -> np.ndarray:
    if not region.has_mask.any():
        return np.broadcast_to(np.int32(0), (len(region.has_mask), 4))
    return np.where(region.has_mask[:, None] == 1, region.mask_crop - _box_outward(region.box), np.int32(0))


def _crop_from(delta: np.ndarray, box: np.ndarray, has_mask: np.ndarray) -> np.ndarray:
    """`mask_crop` from what is stored: (x, y, width, height), zeros without a mask."""
    if not has_mask.any():
        return np.broadcast_to(np.int32(0), delta.shape)
    return np.where(has_mask[:, None] == 1, delta + _box_outward(box), np.int32(0))


def _offsets_of(counts: np.ndarray) -> np.ndarray:
    # They are kept, and there are some for each image and region: most columns of lists are short or empty.
    total = int(counts.sum(dtype=np.int64))
    if not total:
        return np.broadcast_to(np.int32(0), len(counts) + 1)
    found = np.zeros(len(counts) + 1, np.int32 if total <= np.iinfo(np.int32).max else np.int64)
    np.cumsum(counts, out=found[1:])
    return found


class TableReader:
    """Reads rows of the tables of one snapshot; arrays are opened once, offsets of ragged columns kept."""

    def __init__(self, open_array: Callable[[str], StoredArray]) -> None:
        self._open = open_array
        self._arrays: dict[str, StoredArray] = {}
        self._offsets: dict[str, np.ndarray] = {}
        self._words: dict[str, tuple[str, ...]] = {}

    def array(self, path: str) -> StoredArray:
        """The stored array of a path."""
        found = self._arrays.get(path)
        if found is None:
            found = self._arrays[path] = self._open(path)
        return found

    def table(self, table: type[_T], name: str, start: int, stop: int) -> _T:
        """Rows start to stop of one table."""
        columns = {
            spec.name: self.column(name, spec, start, stop) for spec in specs_of(table) if spec.name != "mask_crop"
        }
        if table is RegionColumns:
            delta = self.array(_DELTA).read(start, stop)
            columns["mask_crop"] = _crop_from(delta, columns["box"], columns["has_mask"])
        return table(**columns)

    def part(self, path: str, start: int, stop: int) -> np.ndarray | Ragged:
        """Rows start to stop of the column "table/name"."""
        if path == _CROP:
            box, has_mask = (self.array(f"region/{name}").read(start, stop) for name in ("box", "has_mask"))
            return _crop_from(self.array(_DELTA).read(start, stop), box, has_mask)
        name, _, column = path.partition("/")
        spec = next((spec for spec in specs_of(TABLES[name]) if spec.name == column), None)
        if spec is None:
            raise DatasetError(f"no column {path!r}")
        found: np.ndarray | Ragged = self.column(name, spec, start, stop)
        return found

    def column(self, name: str, spec: ColumnSpec, start: int, stop: int) -> Any:
        """Rows start to stop of one column as it is stored."""
        if not spec.ragged:
            return self.array(f"{name}/{spec.name}").read(start, stop)
        return self._ragged(name, spec.ragged, start, stop)

    def _ragged(self, name: str, parts: tuple[str, ...], start: int, stop: int) -> np.ndarray | Ragged:
        array = self.array(f"{name}/{parts[0]}")
        if len(parts) == 1:
            return array.read(start, stop)
        counts = array.read(start, stop)
        if start == 0 and stop == array.rows:
            return Ragged(counts, self._ragged(name, parts[1:], 0, int(counts.sum(dtype=np.int64))))
        offsets = self.offsets(f"{name}/{parts[0]}")
        return Ragged(counts, self._ragged(name, parts[1:], int(offsets[start]), int(offsets[stop])))

    def offsets(self, path: str) -> np.ndarray:
        """(rows + 1,) offsets of a counts array, int64 or, where these suffice, int32."""
        found = self._offsets.get(path)
        if found is None:
            array = self.array(path)
            found = self._offsets[path] = _offsets_of(array.read())
        return found

    def vocabularies(self) -> Vocabularies:
        """All vocabularies."""
        return Vocabularies(**{name: self.vocabulary(name) for name in Vocabularies.names()})

    def vocabulary(self, name: str) -> tuple[str, ...]:
        """One vocabulary."""
        found = self._words.get(name)
        if found is None:
            counts = self.array(f"vocabulary/{name}_len").read()
            stop = int(counts.sum(dtype=np.int64))
            found = tuple(Ragged(counts, self.array(f"vocabulary/{name}_bytes").read(0, stop)).texts())
            self._words[name] = found
        return found
