"""Regions and relations as objects to column blocks and back; shared by samples in memory and packed edits."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple, cast

import numpy as np

from sgforge.columns.ragged import Ragged, encode_text
from sgforge.columns.schema import NO_LEVEL, RegionColumns, RelationColumns, Vocabularies, specs_of
from sgforge.graph import CATEGORIES, KEPT, REJECTED, Box, Category, Mask, Region, Relation, Status

__all__ = [
    "RegionBlock",
    "RegionWriter",
    "RelationWriter",
    "StringTables",
    "region_blocks",
    "region_columns",
    "regions_from",
    "relation_blocks",
    "relation_columns",
    "relations_from",
]

_NAN: Final = math.nan
_NO_BOX: Final = (_NAN, _NAN, _NAN, _NAN)
_VOCABULARIES: Final = tuple(Vocabularies.names())
_STATUSES: Final[tuple[Status, ...]] = (KEPT, REJECTED)
_CATEGORY_IDS: Final = {name: index for index, name in enumerate(CATEGORIES)}

_REGION: Final = struct.Struct("<i4f3fihiBiiiB4i2iIII")
_REGION_RECORD: Final = np.dtype(
    [
        *((spec.name, "<" + spec.dtype, spec.shape) for spec in specs_of(RegionColumns) if not spec.ragged),
        ("mask_len", "<u4"),
        ("description_count", "<u4"),
        ("attribute_count", "<u4"),
    ]
)
_FIELDS_OF_PICTURES: Final = attrgetter(
    *("box", "mask", "descriptions", "score", "depth", "degree", "parent", "level"),
    *("source", "status", "reason", "made_by", "judged_by"),
)
"""All that a region may have beside its label and attributes."""
_NO_FIELDS: Final = _FIELDS_OF_PICTURES(Region())
_NO_FIELDS_PACKED: Final = _REGION.pack(
    *(-1, *_NO_BOX, _NAN, _NAN, _NAN, -1, NO_LEVEL, -1, False, -1, -1, -1, False),
    *(0, 0, 0, 0, 0, 0, 0, 0, 0),
)[4:-4]
_PLAIN_REGION: Final = struct.Struct(f"<i{len(_NO_FIELDS_PACKED)}sI")
"""A record with nothing else, between the label and the number of attributes."""
_MANY: Final = 4096
"""Rows from which on it is worth to look whether a column has nothing but missing values."""
_RELATION: Final = struct.Struct("<iiiBfBifii")
_RELATION_RECORD: Final = np.dtype([(spec.name, "<" + spec.dtype) for spec in specs_of(RelationColumns)])


class StringTables:
    """Text to id, one table per vocabulary, or one for all (`shared=True`), ids in order of first use."""

    def __init__(self, *, shared: bool = False) -> None:
        one: dict[str, int] = {}
        self._tables = dict.fromkeys(_VOCABULARIES, one) if shared else {name: {} for name in _VOCABULARIES}

    def __getitem__(self, vocabulary: str) -> dict[str, int]:
        return self._tables[vocabulary]

    def id_of(self, vocabulary: str, text: str | None) -> int:
        """The id of `text`, -1 for None."""
        return _id_of(self._tables[vocabulary], text)

    def vocabularies(self) -> Vocabularies:
        """All texts by id."""
        return Vocabularies(**{name: tuple(table) for name, table in self._tables.items()})


def _id_of(table: dict[str, int], text: str | None) -> int:
    if text is None:
        return -1
    found = table.get(text)
    if found is None:
        encode_text(text)
        found = table[text] = len(table)
    return found


class RegionBlock(NamedTuple):
    """Regions as bytes: fixed records, then the parts of varying length; blocks of one string table can be joined."""

    records: bytes | bytearray = b""
    mask: bytes | bytearray = b""
    description_len: bytes | bytearray = b""
    description: bytes | bytearray = b""
    attribute: bytes | bytearray = b""


class RegionWriter:
    """Collects regions into one block."""

    def __init__(self, tables: StringTables) -> None:
        self._labels, self._sources = tables["label"], tables["source"]
        self._reasons, self._steps, self._attributes = tables["reason"], tables["step"], tables["attribute"]
        self._records = bytearray()
        self._mask = bytearray()
        self._description_len = array("I")
        self._description = bytearray()
        self._attribute = array("i")

    def add(self, region: Region) -> None:
        """Append one region."""
        attributes = region.attributes
        if attributes:
            self._attribute.extend([_id_of(self._attributes, text) for text in attributes])
        if _FIELDS_OF_PICTURES(region) == _NO_FIELDS:  # as of all graphs without a picture
            label = -1 if region.label is None else _id_of(self._labels, region.label)
            self._records += _PLAIN_REGION.pack(label, _NO_FIELDS_PACKED, len(attributes))
            return
        mask = region.mask
        for text in region.descriptions:
            encoded = encode_text(text)
            self._description_len.append(len(encoded))
            self._description += encoded
        if mask is not None:
            self._mask += mask.counts
        self._records += _REGION.pack(
            -1 if region.label is None else _id_of(self._labels, region.label),
            *(region.box or _NO_BOX),
            _NAN if region.score is None else region.score,
            _NAN if region.depth is None else region.depth,
            _NAN if region.degree is None else region.degree,
            -1 if region.parent is None else region.parent,
            NO_LEVEL if region.level is None else region.level,
            -1 if region.source is None else _id_of(self._sources, region.source),
            region.status == REJECTED,
            -1 if region.reason is None else _id_of(self._reasons, region.reason),
            -1 if region.made_by is None else _id_of(self._steps, region.made_by),
            -1 if region.judged_by is None else _id_of(self._steps, region.judged_by),
            mask is not None,
            *((0, 0, 0, 0) if mask is None else (mask.x, mask.y, mask.crop_width, mask.crop_height)),
            *((0, 0) if mask is None else (mask.height, mask.width)),
            0 if mask is None else len(mask.counts),
            len(region.descriptions),
            len(attributes),
        )

    def block(self) -> RegionBlock:
        """Everything that was added; nothing may be added any more, as no byte is copied."""
        return RegionBlock(
            self._records,
            self._mask,
            self._description_len.tobytes(),
            self._description,
            self._attribute.tobytes(),
        )


class RelationWriter:
    """Collects relations into fixed records."""

    def __init__(self, tables: StringTables) -> None:
        self._predicates, self._reasons, self._steps = tables["predicate"], tables["reason"], tables["step"]
        self._records = bytearray()

    def add(self, relation: Relation) -> None:
        """Append one relation."""
        self._records += _RELATION.pack(
            relation.subject,
            _id_of(self._predicates, relation.predicate),
            relation.object,
            _CATEGORY_IDS[relation.category],
            _NAN if relation.score is None else relation.score,
            relation.status == REJECTED,
            -1 if relation.reason is None else _id_of(self._reasons, relation.reason),
            _NAN if relation.degree is None else relation.degree,
            -1 if relation.made_by is None else _id_of(self._steps, relation.made_by),
            -1 if relation.judged_by is None else _id_of(self._steps, relation.judged_by),
        )

    def block(self) -> bytearray:
        """Everything that was added; nothing may be added any more."""
        return self._records


def region_columns(blocks: Sequence[RegionBlock]) -> RegionColumns:
    """The columns of all blocks, in order; their ids must come from one set of string tables."""
    parts = (
        RegionBlock(*(_joined(column) for column in zip(*blocks, strict=True))) if blocks else RegionBlock(*[b""] * 5)
    )
    records = np.frombuffer(parts.records, _REGION_RECORD)
    flat = {spec.name: _column(records[spec.name], spec.missing) for spec in specs_of(RegionColumns) if not spec.ragged}
    counts = {name: _column(records[name], 0) for name in ("mask_len", "description_count")}
    return RegionColumns(
        **flat,
        mask=Ragged(counts["mask_len"], np.frombuffer(parts.mask, np.uint8)),
        description=Ragged(
            counts["description_count"],
            Ragged(np.frombuffer(parts.description_len, np.uint32), np.frombuffer(parts.description, np.uint8)),
        ),
        attribute=Ragged(
            np.ascontiguousarray(records["attribute_count"]),
            np.frombuffer(parts.attribute, np.int32),
        ),
    )


def relation_columns(blocks: Sequence[bytes | bytearray]) -> RelationColumns:
    """The columns of all blocks, in order; their ids must come from one set of string tables."""
    records = np.frombuffer(_joined(blocks), _RELATION_RECORD)
    return RelationColumns(**{name: np.ascontiguousarray(records[name]) for name in _RELATION_RECORD.names or ()})


def _column(values: np.ndarray, missing: float) -> np.ndarray:
    """One column of records; of very many that all miss it one value, shown that often: most columns of most graphs."""
    if len(values) >= _MANY and (np.isnan(values) if math.isnan(missing) else values == missing).all():
        return np.broadcast_to(values[0].copy() if values.ndim > 1 else values[0], values.shape)
    return np.ascontiguousarray(values)


def _joined(parts: Sequence[bytes | bytearray]) -> bytes | bytearray:
    """The parts behind each other; one alone, which may be very large, is not copied."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def region_blocks(columns: RegionColumns, ends: np.ndarray) -> list[RegionBlock]:
    """The blocks of runs of rows, which end at `ends` (its first is 0); as a `RegionWriter` makes them of objects."""
    records = np.zeros(len(columns.label), _REGION_RECORD)
    for spec in specs_of(RegionColumns):
        if not spec.ragged:
            records[spec.name] = getattr(columns, spec.name)
    described, listed = columns.description, columns.attribute
    texts = described.values
    assert isinstance(texts, Ragged)
    for name, column in (("mask_len", columns.mask), ("description_count", described), ("attribute_count", listed)):
        records[name] = column.counts
    return [
        RegionBlock(*block)
        for block in zip(
            _runs(records, ends),
            _runs(columns.mask.values, columns.mask.offsets[ends]),
            _runs(texts.counts, described.offsets[ends]),
            _runs(texts.values, texts.offsets[described.offsets[ends]]),
            _runs(listed.values, listed.offsets[ends]),
            strict=True,
        )
    ]


def relation_blocks(columns: RelationColumns, ends: np.ndarray) -> list[bytes]:
    """As `region_blocks`, of relations."""
    records = np.zeros(len(columns.subject), _RELATION_RECORD)
    for name in _RELATION_RECORD.names or ():
        records[name] = getattr(columns, name)
    return _runs(records, ends)


def _runs(items: np.ndarray | Ragged, ends: np.ndarray) -> list[bytes]:
    """The bytes of runs of items."""
    assert isinstance(items, np.ndarray)
    data = items.tobytes()
    return [data[first:last] for first, last in pairwise((ends * items.itemsize).tolist())]


def regions_from(
    columns: RegionColumns, vocabularies: Vocabularies, size: tuple[int, int] = (0, 0)
) -> tuple[Region, ...]:
    """The rows as objects; `size` is the image's (width, height), the frame of masks that state none."""
    fields = zip(
        _texts(columns.label, vocabularies.label),
        _boxes(columns.box),
        _masks(columns, size),
        _descriptions(columns.description),
        _attributes(columns.attribute, vocabularies.attribute),
        _numbers(columns.score),
        _numbers(columns.depth),
        _integers(columns.parent, -1),
        _integers(columns.level, NO_LEVEL),
        _texts(columns.source, vocabularies.source),
        [_STATUSES[code] for code in columns.status.tolist()],
        _texts(columns.reason, vocabularies.reason),
        _numbers(columns.degree),
        _texts(columns.made_by, vocabularies.step),
        _texts(columns.judged_by, vocabularies.step),
        strict=True,
    )
    # By position: built for every row that is read, which keywords make slower.
    return tuple(Region(*values) for values in fields)


def relations_from(columns: RelationColumns, vocabularies: Vocabularies) -> tuple[Relation, ...]:
    """The rows as objects."""
    predicates = vocabularies.predicate
    fields = zip(
        columns.subject.tolist(),
        [predicates[index] for index in columns.predicate.tolist()],
        columns.object.tolist(),
        [cast(Category, CATEGORIES[code]) for code in columns.category.tolist()],
        _numbers(columns.score),
        [_STATUSES[code] for code in columns.status.tolist()],
        _texts(columns.reason, vocabularies.reason),
        _numbers(columns.degree),
        _texts(columns.made_by, vocabularies.step),
        _texts(columns.judged_by, vocabularies.step),
        strict=True,
    )
    # By position: built for every row that is read, which keywords make slower.
    return tuple(Relation(*values) for values in fields)


def _texts(ids: np.ndarray, vocabulary: Sequence[str]) -> list[str | None]:
    return [None if index < 0 else vocabulary[index] for index in ids.tolist()]


def _numbers(values: np.ndarray) -> list[float | None]:
    # NaN is the only value that differs from itself.
    return [value if value == value else None for value in values.tolist()]


def _integers(values: np.ndarray, missing: int) -> list[int | None]:
    return [None if value == missing else value for value in values.tolist()]


def _boxes(boxes: np.ndarray) -> list[Box | None]:
    missing = np.isnan(boxes).all(axis=1).tolist()
    return [None if none else cast(Box, tuple(box)) for box, none in zip(boxes.tolist(), missing, strict=True)]


def _masks(columns: RegionColumns, size: tuple[int, int]) -> Iterable[Mask | None]:
    if not columns.has_mask.any():
        return [None] * len(columns.has_mask)
    return [
        # By position: built for every mask that is read, which keywords make a quarter slower.
        Mask(frame[0] or size[1], frame[1] or size[0], crop[0], crop[1], crop[2], crop[3], counts) if has else None
        for has, crop, frame, counts in zip(
            columns.has_mask.tolist(),
            columns.mask_crop.tolist(),
            columns.mask_frame.tolist(),
            columns.mask.byte_rows(),
            strict=True,
        )
    ]


def _descriptions(column: Ragged) -> list[tuple[str, ...]]:
    if not len(column.values):
        return [()] * len(column)
    assert isinstance(column.values, Ragged)
    texts, ends = column.values.texts(), column.offsets.tolist()
    return [tuple(texts[first:last]) for first, last in pairwise(ends)]


def _attributes(column: Ragged, vocabulary: Sequence[str]) -> list[tuple[str, ...]]:
    if not len(column.values):
        return [()] * len(column)
    assert isinstance(column.values, np.ndarray)
    ids, ends = column.values.tolist(), column.offsets.tolist()
    return [tuple(vocabulary[index] for index in ids[first:last]) for first, last in pairwise(ends)]
