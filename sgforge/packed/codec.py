"""Edits and samples as compact bytes for the journal and for keys: versioned msgpack, columnar inside.

Here they are made from objects and back; `sgforge.packed.joined` joins many packed edits without building objects.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Final, Literal

import attrs
import msgpack
import numpy as np

from sgforge.columns import Vocabularies
from sgforge.columns.building import ColumnRows, attributes_text
from sgforge.columns.rows import (
    RegionBlock,
    RegionWriter,
    RelationWriter,
    StringTables,
    region_columns,
    regions_from,
    relation_columns,
    relations_from,
)
from sgforge.edits import Edit, FieldSet, Verdict, with_values
from sgforge.errors import GraphError
from sgforge.graph import KEPT, REJECTED, ImageRef, Region, Relation, Sample, SceneGraph, to_float32
from sgforge.packed.values import ValuePacker, pack_values, unpack_values
from sgforge.packed.views import PackedRows, packed_rows

__all__ = [
    "EDIT_VERSION",
    "NO_BLOCK",
    "REGION_FIELD_NAMES",
    "RELATION_FIELD_NAMES",
    "SET",
    "SET_RECORD",
    "VERDICT",
    "VERDICT_RECORD",
    "VERSION",
    "pack_edit",
    "pack_sample",
    "shared_words",
    "unpack_edit",
    "unpack_fields",
    "unpack_sample",
]

VERSION: Final = 1
"""Of edits and samples without values: the two have versions of their own, which rise apart from each other."""
EDIT_VERSION: Final = 2
"""Of edits with values or an image, which are two more fields at the end."""
SAMPLE_VERSION: Final = 2
"""Of samples with values, which are one more field at the end."""
# A field's code is its place here: new ones come at the end, and none goes.
REGION_FIELD_NAMES: Final = (
    *("attributes", "box", "depth", "descriptions", "label", "mask", "score"),
    *("parent", "level"),
)
RELATION_FIELD_NAMES: Final = ("category", "predicate", "score")
_TARGETS: Final[tuple[Literal["region"], Literal["relation"]]] = ("region", "relation")

VERDICT: Final = struct.Struct("<BiBif")
VERDICT_RECORD: Final = np.dtype(
    [("target", "u1"), ("index", "<i4"), ("status", "u1"), ("reason", "<i4"), ("degree", "<f4")]
)
SET: Final = struct.Struct("<BiB")
SET_RECORD: Final = np.dtype([("target", "u1"), ("index", "<i4"), ("field", "u1")])
NO_BLOCK: Final = (b"", b"", b"", b"", b"")
_EMPTY: Final[bytes] = msgpack.packb([VERSION])
# A set travels as a row of which one field counts; these are the rows it starts from.
_REGION: Final = Region()
_RELATION: Final = Relation(0, "?", 1)


def pack_edit(edit: Edit) -> bytes:
    """The edit as bytes, its faults included. A value that breaks the rules is a `GraphError`.

    So is a sum of edits that add rows: their numbers are known once it was applied (`Applied.edit`).
    """
    if edit.is_empty and not edit.faults:
        return _EMPTY
    if edit.parts:
        raise GraphError("a sum of edits is packed as it took effect: apply it first")
    if edit.values and edit.is_of_values:  # as captions are, of which there are millions
        blank = (EDIT_VERSION, (), NO_BLOCK, b"", b"", b"", NO_BLOCK, b"", None)
        return _packb([*blank, dict(edit.faults), None, pack_values(edit.values), None])
    tables = StringTables(shared=True)
    regions = _region_block(edit.regions, tables)
    relations = _relation_block(edit.relations, tables)
    verdicts = b"".join([_pack_verdict(verdict, tables) for verdict in edit.verdicts])
    sets, set_regions, set_relations = _pack_sets(edit.sets, tables)
    fields = [
        VERSION,
        list(tables["label"]),
        regions,
        relations,
        verdicts,
        sets,
        set_regions,
        set_relations,
        edit.dropped,
        dict(edit.faults),
        None,  # the place of what edits once told of their calls; the journal's row has these
    ]
    if edit.values or edit.image is not None:
        image = None if edit.image is None else list(attrs.astuple(edit.image))
        fields = [EDIT_VERSION, *fields[1:], pack_values(edit.values), image]
    return _packb(fields)


def unpack_edit(data: bytes) -> Edit:
    """The edit that `pack_edit` packed; other bytes are a `GraphError`."""
    fields = unpack_fields(data, "edit", EDIT_VERSION)
    if len(fields) == 1:
        return Edit()
    _, strings, regions, relations, verdicts, sets, set_regions, set_relations, dropped, faults, _, *more = fields
    values, image = more or ((), None)
    texts = shared_words(strings)
    return Edit(
        regions=regions_from(region_columns([RegionBlock(*regions)]), texts),
        relations=relations_from(relation_columns([relations]), texts),
        verdicts=tuple(_unpack_verdict(values, strings) for values in VERDICT.iter_unpack(verdicts)),
        sets=_unpack_sets(sets, set_regions, set_relations, texts),
        dropped=dropped,
        faults=faults,
        values=unpack_values(values),
        image=None if image is None else ImageRef(*image),
    )


def pack_sample(sample: Sample, values: ValuePacker | None = None) -> bytes:
    """The sample as bytes, without its pixels; equal samples give equal bytes.

    `values`: packs its values, where many samples may share them.
    """
    rows = _rows_of(sample.graph)
    size = (sample.graph.width, sample.graph.height)
    origin = (sample.image_id, sample.uri, sample.split, sample.source, sample.sha256)
    attributes = attributes_text(sample.graph.attributes)
    fields = [VERSION, origin, size, attributes, rows.strings, rows.regions, rows.relations]
    if sample.has_values:
        fields = [SAMPLE_VERSION, *fields[1:], (values or ValuePacker()).pack(sample)]
    return _packb(fields)


def _rows_of(graph: SceneGraph) -> PackedRows:
    deferred = graph.deferred
    if isinstance(deferred, ColumnRows):
        return packed_rows(deferred)
    tables = StringTables(shared=True)
    rows = graph.all
    regions = _region_block(rows.regions, tables)
    relations = _relation_block(rows.relations, tables)
    return PackedRows(strings=list(tables["label"]), regions=RegionBlock(*regions), relations=relations)


def unpack_sample(data: bytes) -> Sample:
    """The sample that `pack_sample` packed; other bytes are a `GraphError`."""
    _, origin, size, attributes, strings, regions, relations, *more = unpack_fields(data, "sample", SAMPLE_VERSION)
    texts = shared_words(strings)
    graph = SceneGraph(
        width=size[0],
        height=size[1],
        regions=regions_from(region_columns([RegionBlock(*regions)]), texts),
        relations=relations_from(relation_columns([relations]), texts),
        attributes=json.loads(attributes) if attributes else {},
    )
    image_id, uri, split, source, sha256 = origin
    sample = Sample(image_id=image_id, graph=graph, uri=uri, split=split, source=source, sha256=sha256)
    return with_values(sample, unpack_values(more[0])) if more else sample


def _region_block(regions: Sequence[Region], tables: StringTables) -> tuple[bytes, ...]:
    if not regions:
        return NO_BLOCK
    writer = RegionWriter(tables)
    for region in regions:
        writer.add(region)
    return tuple(map(bytes, writer.block()))


def _relation_block(relations: Sequence[Relation], tables: StringTables) -> bytes:
    if not relations:
        return b""
    writer = RelationWriter(tables)
    for relation in relations:
        writer.add(relation)
    return bytes(writer.block())


def _pack_verdict(verdict: Verdict, tables: StringTables) -> bytes:
    degree = float("nan") if verdict.degree is None else to_float32(verdict.degree)
    target = _TARGETS.index(verdict.target)
    reason = tables.id_of("reason", verdict.reason)
    return VERDICT.pack(target, verdict.index, verdict.status == REJECTED, reason, degree)


def _unpack_verdict(values: tuple[Any, ...], strings: Sequence[str]) -> Verdict:
    target, index, is_rejected, reason, degree = values
    return Verdict(
        target=_TARGETS[target],
        index=index,
        status=REJECTED if is_rejected else KEPT,
        reason=strings[reason] if reason >= 0 else None,
        degree=None if degree != degree else degree,
    )


def _pack_sets(sets: Sequence[FieldSet], tables: StringTables) -> tuple[bytes, tuple[bytes, ...], bytes]:
    records: list[bytes] = []
    regions: list[Region] = []
    relations: list[Relation] = []
    for item in sets:
        if item.target == "region":
            regions.append(attrs.evolve(_REGION, **{item.field: item.value}))
            records.append(SET.pack(0, item.index, REGION_FIELD_NAMES.index(item.field)))
        else:
            relations.append(attrs.evolve(_RELATION, **{item.field: item.value}))
            records.append(SET.pack(1, item.index, RELATION_FIELD_NAMES.index(item.field)))
    return b"".join(records), _region_block(regions, tables), _relation_block(relations, tables)


def _unpack_sets(data: bytes, set_regions: Any, set_relations: bytes, texts: Vocabularies) -> tuple[FieldSet, ...]:
    regions = iter(regions_from(region_columns([RegionBlock(*set_regions)]), texts))
    relations = iter(relations_from(relation_columns([set_relations]), texts))
    sets = []
    for target, index, field in SET.iter_unpack(data):
        name = (RELATION_FIELD_NAMES if target else REGION_FIELD_NAMES)[field]
        row: Any = next(relations) if target else next(regions)
        sets.append(FieldSet(_TARGETS[target], index, name, getattr(row, name)))
    return tuple(sets)


def shared_words(strings: Sequence[str]) -> Vocabularies:
    """One list of texts as every vocabulary."""
    texts = tuple(strings)
    return Vocabularies(**dict.fromkeys(Vocabularies.names(), texts))


def _packb(fields: list[Any]) -> bytes:
    try:
        packed: bytes = msgpack.packb(fields)
    except (TypeError, ValueError, OverflowError) as error:
        raise GraphError(f"a value that cannot be kept: {error}") from None
    return packed


def unpack_fields(data: bytes, what: str, newest: int) -> Any:
    """The list that was packed; other bytes, or a version above `newest`, are a `GraphError`."""
    try:
        fields = msgpack.unpackb(data)
        version = fields[0]
    except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
        raise GraphError(f"these {len(data)} bytes are no packed {what}: {error}") from None
    if type(version) is not int or not VERSION <= version <= newest:
        raise GraphError(f"packed {what} of version {version!r}; this sgforge reads versions {VERSION} to {newest}")
    return fields
