"""The columns of many images: what each is called, its type, its missing value and its vocabulary.

Attribute names are those at rest ("region/box" is `columns.region.box`); a `Ragged` is stored as `*_len` or `*_count`
beside its flat values. Everything that handles "all columns" walks the specs of this module.
"""

# The column helpers below return attrs fields; the linter cannot see that.
# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final, TypeVar, cast

import attrs
import numpy as np

from sgforge.columns.ragged import Ragged, ends_of, expand
from sgforge.statekey import KEY_BYTES

__all__ = [
    "NO_LEVEL",
    "ColumnSpec",
    "ImageColumns",
    "RegionColumns",
    "RelationColumns",
    "Table",
    "Vocabularies",
    "specs_of",
]

NO_LEVEL: Final = -32768
"""The missing value of `region.level`."""

_SPEC: Final = "sgforge"


@attrs.frozen
class ColumnSpec:
    """One column: numpy dtype of its items, their trailing shape, the missing value, and what ids point into.

    `ragged` names the parts of a Ragged at rest, from the outermost counts to the flat values; () for a flat column.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    missing: float = 0
    vocabulary: str | None = None
    ragged: tuple[str, ...] = ()

    @property
    def is_id(self) -> bool:
        """Whether each row has one id into a vocabulary."""
        return self.vocabulary is not None and not self.ragged


def _flat(dtype: str, shape: tuple[int, ...] = (), missing: float = 0, vocabulary: str | None = None) -> Any:
    spec = ColumnSpec(name="", dtype=dtype, shape=shape, missing=missing, vocabulary=vocabulary)
    return attrs.field(metadata={_SPEC: spec})


def _ids(vocabulary: str) -> Any:
    return _flat("i4", missing=-1, vocabulary=vocabulary)


def _ragged(dtype: str, *parts: str, vocabulary: str | None = None) -> Any:
    return attrs.field(
        metadata={_SPEC: ColumnSpec(name="", dtype=dtype, shape=(), missing=0, vocabulary=vocabulary, ragged=parts)}
    )


_SPECS: dict[type, tuple[ColumnSpec, ...]] = {}


def specs_of(table: type[Table]) -> tuple[ColumnSpec, ...]:
    """The specs of a table's columns, in order."""
    found = _SPECS.get(table)
    if found is None:
        found = tuple(
            attrs.evolve(field.metadata[_SPEC], name=field.name)
            for field in attrs.fields(cast(Any, table))
            if _SPEC in field.metadata
        )
        _SPECS[table] = found
    return found


_T = TypeVar("_T", bound="Table")


class Table:
    """Columns of equal row count; the base of the three tables."""

    def items(self) -> Iterator[tuple[ColumnSpec, Any]]:
        """(spec, column) of each column; a column is an array or a `Ragged`."""
        for spec in specs_of(type(self)):
            yield spec, getattr(self, spec.name)

    def map(self: _T, change: Callable[[ColumnSpec, Any], Any]) -> _T:
        """A table with every column replaced by `change(spec, column)`."""
        return type(self)(**{spec.name: change(spec, column) for spec, column in self.items()})

    def take(self: _T, rows: np.ndarray) -> _T:
        """The rows of these indices, in this order."""
        return self.map(lambda spec, column: column.take(rows) if isinstance(column, Ragged) else column[rows])

    def slice(self: _T, start: int, stop: int) -> _T:
        """Rows start to stop, without copying."""
        return self.map(
            lambda spec, column: column.slice(start, stop) if isinstance(column, Ragged) else column[start:stop]
        )

    @classmethod
    def concat(cls: type[_T], parts: list[_T]) -> _T:
        """The rows of all parts in order; their ids must point into the same vocabularies."""
        joined: dict[str, Any] = {}
        for spec in specs_of(cls):
            columns = [getattr(part, spec.name) for part in parts]
            joined[spec.name] = Ragged.concat(columns) if spec.ragged else np.concatenate(columns)
        return cls(**joined)

    @classmethod
    def blank(cls: type[_T], rows: int) -> _T:
        """`rows` rows with every value missing."""
        return cls(**{spec.name: _blank(spec, rows) for spec in specs_of(cls)})


def _blank(spec: ColumnSpec, rows: int) -> Any:
    if not spec.ragged:
        return np.full((rows, *spec.shape), spec.missing, spec.dtype)
    column: Any = np.zeros(0, spec.dtype)
    for depth in range(len(spec.ragged) - 1):
        is_outermost = depth == len(spec.ragged) - 2
        column = Ragged(np.zeros(rows if is_outermost else 0, np.uint32), column)
    return column


@attrs.frozen(eq=False, slots=False)
class ImageColumns(Table):
    """N images. An empty `uri` is none, a `sha256` of zeros is unknown, `key` names the state (see the dataset)."""

    id: Ragged = _ragged("u1", "id_len", "id_bytes")
    width: np.ndarray = _flat("i4")
    height: np.ndarray = _flat("i4")
    uri: Ragged = _ragged("u1", "uri_len", "uri_bytes")
    split: np.ndarray = _ids("split")
    source: np.ndarray = _ids("source")
    sha256: np.ndarray = _flat("u1", (32,))
    region_count: np.ndarray = _flat("u4")
    relation_count: np.ndarray = _flat("u4")
    attributes: Ragged = _ragged("u1", "attributes_len", "attributes_bytes")
    failed_step: np.ndarray = _ids("step")
    failed_reason: np.ndarray = _ids("reason")
    dropped: np.ndarray = _ids("reason")
    key: np.ndarray = _flat("u1", (KEY_BYTES,))

    @cached_property
    def ids(self) -> list[str]:
        """The image ids, as texts."""
        return self.id.texts()

    @cached_property
    def uris(self) -> list[str | None]:
        """The uris, None where there is none."""
        return [text or None for text in self.uri.texts()]

    @cached_property
    def region_offsets(self) -> np.ndarray:
        """(N + 1,) int64: image i has region rows `region_offsets[i]` to `region_offsets[i + 1]`."""
        return ends_of(self.region_count)

    @cached_property
    def relation_offsets(self) -> np.ndarray:
        """(N + 1,) int64: as `region_offsets`, of relation rows."""
        return ends_of(self.relation_count)

    def region_rows(self, images: np.ndarray) -> np.ndarray:
        """All region rows of these images, in their order."""
        return expand(self.region_offsets[images], self.region_count[images])

    def relation_rows(self, images: np.ndarray) -> np.ndarray:
        """All relation rows of these images, in their order."""
        return expand(self.relation_offsets[images], self.relation_count[images])


@attrs.frozen(eq=False, slots=False)
class RegionColumns(Table):
    """M regions. `box`: xyxy pixels; a row of NaN is none. Ids of -1, NaN, a parent of -1, level -32768 are none.

    A mask, where `has_mask` is 1, is `mask_crop` (x, y, width, height in pixels), the compressed COCO run lengths of
    the crop in `mask`, and `mask_frame` (height, width; 0, 0 stands for the image's own size). `status`: 0 kept, 1
    rejected. `parent` is image-local.
    """

    label: np.ndarray = _ids("label")
    box: np.ndarray = _flat("f4", (4,), np.nan)
    score: np.ndarray = _flat("f4", missing=np.nan)
    depth: np.ndarray = _flat("f4", missing=np.nan)
    degree: np.ndarray = _flat("f4", missing=np.nan)
    parent: np.ndarray = _flat("i4", missing=-1)
    level: np.ndarray = _flat("i2", missing=NO_LEVEL)
    source: np.ndarray = _ids("source")
    status: np.ndarray = _flat("u1")
    reason: np.ndarray = _ids("reason")
    made_by: np.ndarray = _ids("step")
    judged_by: np.ndarray = _ids("step")
    has_mask: np.ndarray = _flat("u1")
    mask_crop: np.ndarray = _flat("i4", (4,))
    mask_frame: np.ndarray = _flat("i4", (2,))
    mask: Ragged = _ragged("u1", "mask_len", "mask_bytes")
    description: Ragged = _ragged("u1", "description_count", "description_len", "description_bytes")
    attribute: Ragged = _ragged("i4", "attribute_count", "attribute", vocabulary="attribute")


@attrs.frozen(eq=False, slots=False)
class RelationColumns(Table):
    """R relations; `subject` and `object` are image-local region indices, `category` indexes `graph.CATEGORIES`."""

    subject: np.ndarray = _flat("i4", missing=-1)
    predicate: np.ndarray = _ids("predicate")
    object: np.ndarray = _flat("i4", missing=-1)
    category: np.ndarray = _flat("u1")
    score: np.ndarray = _flat("f4", missing=np.nan)
    status: np.ndarray = _flat("u1")
    reason: np.ndarray = _ids("reason")
    degree: np.ndarray = _flat("f4", missing=np.nan)
    made_by: np.ndarray = _ids("step")
    judged_by: np.ndarray = _ids("step")


@attrs.frozen
class Vocabularies:
    """The texts that ids point into; sorted by UTF-8 bytes, without unused ones, in a published snapshot."""

    label: tuple[str, ...] = ()
    predicate: tuple[str, ...] = ()
    attribute: tuple[str, ...] = ()
    step: tuple[str, ...] = ()
    reason: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    split: tuple[str, ...] = ()

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All vocabulary names."""
        return tuple(field.name for field in attrs.fields(cls))

    def of(self, name: str) -> tuple[str, ...]:
        """One vocabulary by name."""
        texts: tuple[str, ...] = getattr(self, name)
        return texts
