"""Edits and samples as compact bytes for the journal and for keys: versioned msgpack, columnar inside.

The publisher never unpacks to objects: `edit_columns` joins the buffers of many packed edits into columns.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Literal, TypeVar

import attrs
import msgpack
import numpy as np

from sgforge.columns import Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.graphs import attributes_text, id_map, remap_table
from sgforge.columns.ragged import ends_of
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
from sgforge.columns.schema import ColumnSpec, Table
from sgforge.edits import REGION_FIELDS, RELATION_FIELDS, Edit, FieldSet, Provenance, Verdict
from sgforge.errors import GraphError
from sgforge.graph import KEPT, REJECTED, Region, Relation, Sample, SceneGraph, to_float32

__all__ = [
    "REGION_FIELD_NAMES",
    "RELATION_FIELD_NAMES",
    "EditColumns",
    "edit_columns",
    "pack_edit",
    "pack_sample",
    "unpack_edit",
    "unpack_sample",
]

_VERSION: Final = 1
REGION_FIELD_NAMES: Final = tuple(sorted(REGION_FIELDS))
RELATION_FIELD_NAMES: Final = tuple(sorted(RELATION_FIELDS))
_TARGETS: Final[tuple[Literal["region"], Literal["relation"]]] = ("region", "relation")

_VERDICT: Final = struct.Struct("<BiBif")
_VERDICT_RECORD: Final = np.dtype(
    [("target", "u1"), ("index", "<i4"), ("status", "u1"), ("reason", "<i4"), ("degree", "<f4")]
)
_SET: Final = struct.Struct("<BiB")
_SET_RECORD: Final = np.dtype([("target", "u1"), ("index", "<i4"), ("field", "u1")])
_NO_BLOCK: Final = (b"", b"", b"", b"", b"")
_EMPTY: Final[bytes] = msgpack.packb([_VERSION])
# A set travels as a row of which one field counts; these are the rows it starts from.
_REGION: Final = Region()
_RELATION: Final = Relation(0, "?", 1)


def pack_edit(edit: Edit) -> bytes:
    """The edit as bytes; its provenance and faults included. A value that breaks the rules is a `GraphError`."""
    if edit.is_empty and not edit.faults and edit.provenance is None:
        return _EMPTY
    tables = StringTables(shared=True)
    regions = _region_block(edit.regions, tables)
    relations = _relation_block(edit.relations, tables)
    verdicts = b"".join([_pack_verdict(verdict, tables) for verdict in edit.verdicts])
    sets, set_regions, set_relations = _pack_sets(edit.sets, tables)
    provenance = edit.provenance
    fields = [
        _VERSION,
        list(tables["label"]),
        regions,
        relations,
        verdicts,
        sets,
        set_regions,
        set_relations,
        edit.dropped,
        dict(edit.faults),
        None if provenance is None else [provenance.step, list(provenance.calls)],
    ]
    return _packb(fields)


def unpack_edit(data: bytes) -> Edit:
    """The edit that `pack_edit` packed; other bytes are a `GraphError`."""
    fields = _unpackb(data, "edit")
    if len(fields) == 1:
        return Edit()
    _, strings, regions, relations, verdicts, sets, set_regions, set_relations, dropped, faults, provenance = fields
    texts = _shared(strings)
    return Edit(
        regions_from(region_columns([RegionBlock(*regions)]), texts),
        relations_from(relation_columns([relations]), texts),
        tuple(_unpack_verdict(values, strings) for values in _VERDICT.iter_unpack(verdicts)),
        _unpack_sets(sets, set_regions, set_relations, texts),
        dropped,
        faults,
        None if provenance is None else Provenance(provenance[0], tuple(provenance[1])),
    )


def pack_sample(sample: Sample) -> bytes:
    """The sample as bytes, without its pixels; equal samples give equal bytes."""
    tables = StringTables(shared=True)
    rows = sample.graph.all
    regions = _region_block(rows.regions, tables)
    relations = _relation_block(rows.relations, tables)
    size = (sample.graph.width, sample.graph.height)
    origin = (sample.image_id, sample.uri, sample.split, sample.source, sample.sha256)
    attributes = attributes_text(sample.graph.attributes)
    return _packb([_VERSION, origin, size, attributes, list(tables["label"]), regions, relations])


def unpack_sample(data: bytes) -> Sample:
    """The sample that `pack_sample` packed; other bytes are a `GraphError`."""
    _, origin, size, attributes, strings, regions, relations = _unpackb(data, "sample")
    texts = _shared(strings)
    graph = SceneGraph(
        size[0],
        size[1],
        regions_from(region_columns([RegionBlock(*regions)]), texts),
        relations_from(relation_columns([relations]), texts),
        json.loads(attributes) if attributes else {},
    )
    image_id, uri, split, source, sha256 = origin
    return Sample(image_id, graph, uri, split, source, sha256)


@attrs.frozen(eq=False)
class EditColumns:
    """E packed edits side by side; every id points into `vocabularies`.

    `regions_added`, `relations_added`: (E,) rows of each edit in `region` and `relation`. `verdict_*` and `set_*`: one
    entry per verdict and set, in order, `*_edit` naming its edit, `*_target` 0 for regions and 1 for relations, `*_row`
    the image-local row. `set_field` indexes `REGION_FIELD_NAMES` or `RELATION_FIELD_NAMES`, `set_value` the row of
    `region_values` or `relation_values` that holds the value. `dropped`: reason id or -1.
    """

    regions_added: np.ndarray
    relations_added: np.ndarray
    region: RegionColumns
    relation: RelationColumns
    verdict_edit: np.ndarray
    verdict_target: np.ndarray
    verdict_row: np.ndarray
    verdict_status: np.ndarray
    verdict_reason: np.ndarray
    verdict_degree: np.ndarray
    set_edit: np.ndarray
    set_target: np.ndarray
    set_row: np.ndarray
    set_field: np.ndarray
    set_value: np.ndarray
    region_values: RegionColumns
    relation_values: RelationColumns
    dropped: np.ndarray
    vocabularies: Vocabularies

    def over(self, vocabularies: Vocabularies) -> EditColumns:
        """The same edits over other vocabularies, which must hold every text."""
        reason = id_map(self.vocabularies, vocabularies, "reason")
        return attrs.evolve(
            self,
            region=remap_table(self.region, self.vocabularies, vocabularies),
            relation=remap_table(self.relation, self.vocabularies, vocabularies),
            region_values=remap_table(self.region_values, self.vocabularies, vocabularies),
            relation_values=remap_table(self.relation_values, self.vocabularies, vocabularies),
            verdict_reason=reason[self.verdict_reason],
            dropped=reason[self.dropped],
            vocabularies=vocabularies,
        )


def edit_columns(packed: Sequence[bytes]) -> EditColumns:
    """The columns of packed edits, joined buffer by buffer; no Region or Relation object is built."""
    edits = [_unpackb(data, "edit") for data in packed]
    full = [fields if len(fields) > 1 else _BLANK for fields in edits]
    ids, first_id, strings = _global_ids([fields[1] for fields in full])
    added = _Blocks([fields[2] for fields in full], [fields[3] for fields in full], ids, first_id)
    values = _Blocks([fields[6] for fields in full], [fields[7] for fields in full], ids, first_id)
    verdicts = np.frombuffer(b"".join([fields[4] for fields in full]), _VERDICT_RECORD)
    verdict_edit = _owners([len(fields[4]) // _VERDICT.size for fields in full])
    sets = np.frombuffer(b"".join([fields[5] for fields in full]), _SET_RECORD)
    drops = [strings[fields[8]] if fields[8] is not None else -1 for fields in full]
    words = tuple(strings)
    return EditColumns(
        added.region_counts,
        added.relation_counts,
        added.regions,
        added.relations,
        verdict_edit,
        verdicts["target"],
        verdicts["index"],
        verdicts["status"],
        _globalise(verdicts["reason"], verdict_edit, ids, first_id),
        verdicts["degree"],
        _owners([len(fields[5]) // _SET.size for fields in full]),
        sets["target"],
        sets["index"],
        sets["field"],
        _value_rows(sets["target"]),
        values.regions,
        values.relations,
        np.asarray(drops, np.int32),
        _shared(words),
    )


_BLANK: Final[tuple[Any, ...]] = (_VERSION, (), _NO_BLOCK, b"", b"", b"", _NO_BLOCK, b"", None, {}, None)


class _Blocks:
    """The region and relation blocks of many edits as two tables with global ids."""

    def __init__(self, regions: list[Any], relations: list[bytes], ids: np.ndarray, first_id: np.ndarray) -> None:
        self.regions = region_columns([RegionBlock(*block) for block in regions])
        self.relations = relation_columns(relations)
        self.region_counts = _counts([block[0] for block in regions], len(self.regions.label))
        self.relation_counts = _counts(relations, len(self.relations.subject))
        self.regions = _globalise_table(self.regions, np.repeat(_edits(regions), self.region_counts), ids, first_id)
        self.relations = _globalise_table(
            self.relations, np.repeat(_edits(relations), self.relation_counts), ids, first_id
        )


def _edits(blocks: Sequence[Any]) -> np.ndarray:
    return np.arange(len(blocks), dtype=np.int64)


def _counts(records: Sequence[bytes], rows: int) -> np.ndarray:
    """Rows per block; all records have one size."""
    sizes = np.fromiter(map(len, records), np.int64, len(records))
    return sizes // (int(sizes.sum()) // rows) if rows else sizes


def _owners(counts: Sequence[int]) -> np.ndarray:
    return np.repeat(np.arange(len(counts), dtype=np.int64), np.asarray(counts, np.int64))


def _value_rows(targets: np.ndarray) -> np.ndarray:
    """Region values and relation values are kept apart: the row of each set within its own kind."""
    is_relation = targets.astype(np.int64)
    return np.where(targets == 1, np.cumsum(is_relation), np.cumsum(1 - is_relation)) - 1


def _global_ids(tables: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, _Ids]:
    """(global id of every local string, where each edit's strings start, all strings by global id)."""
    strings = _Ids()
    counts = np.fromiter(map(len, tables), np.int64, len(tables))
    ids = np.fromiter(map(strings.__getitem__, chain.from_iterable(tables)), np.int32, int(counts.sum()))
    return ids, ends_of(counts), strings


class _Ids(dict[str, int]):
    """Ids in order of first use; looking a text up gives it one."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


def _globalise(local: np.ndarray, edit: np.ndarray, ids: np.ndarray, first_id: np.ndarray) -> np.ndarray:
    result = np.full(len(local), -1, np.int32)
    present = local >= 0
    result[present] = ids[first_id[edit[present]] + local[present]]
    return result


_T = TypeVar("_T", bound=Table)


def _globalise_table(table: _T, edit: np.ndarray, ids: np.ndarray, first_id: np.ndarray) -> _T:
    def change(spec: ColumnSpec, column: Any) -> Any:
        if spec.vocabulary is None:
            return column
        if isinstance(column, Ragged):
            assert isinstance(column.values, np.ndarray)
            return Ragged(column.counts, _globalise(column.values, np.repeat(edit, column.counts), ids, first_id))
        return _globalise(column, edit, ids, first_id)

    return table.map(change)


def _region_block(regions: Sequence[Region], tables: StringTables) -> tuple[bytes, ...]:
    if not regions:
        return _NO_BLOCK
    writer = RegionWriter(tables)
    for region in regions:
        writer.add(region)
    block = writer.block()
    return (block.records, block.mask, block.description_len, block.description, block.attribute)


def _relation_block(relations: Sequence[Relation], tables: StringTables) -> bytes:
    if not relations:
        return b""
    writer = RelationWriter(tables)
    for relation in relations:
        writer.add(relation)
    return writer.block()


def _pack_verdict(verdict: Verdict, tables: StringTables) -> bytes:
    degree = float("nan") if verdict.degree is None else to_float32(verdict.degree)
    target = _TARGETS.index(verdict.target)
    reason = tables.id_of("reason", verdict.reason)
    return _VERDICT.pack(target, verdict.index, verdict.status == REJECTED, reason, degree)


def _unpack_verdict(values: tuple[Any, ...], strings: Sequence[str]) -> Verdict:
    target, index, is_rejected, reason, degree = values
    return Verdict(
        _TARGETS[target],
        index,
        REJECTED if is_rejected else KEPT,
        strings[reason] if reason >= 0 else None,
        None if degree != degree else degree,
    )


def _pack_sets(sets: Sequence[FieldSet], tables: StringTables) -> tuple[bytes, tuple[bytes, ...], bytes]:
    records: list[bytes] = []
    regions: list[Region] = []
    relations: list[Relation] = []
    for item in sets:
        if item.target == "region":
            regions.append(attrs.evolve(_REGION, **{item.field: item.value}))
            records.append(_SET.pack(0, item.index, REGION_FIELD_NAMES.index(item.field)))
        else:
            relations.append(attrs.evolve(_RELATION, **{item.field: item.value}))
            records.append(_SET.pack(1, item.index, RELATION_FIELD_NAMES.index(item.field)))
    return b"".join(records), _region_block(regions, tables), _relation_block(relations, tables)


def _unpack_sets(data: bytes, set_regions: Any, set_relations: bytes, texts: Vocabularies) -> tuple[FieldSet, ...]:
    regions = iter(regions_from(region_columns([RegionBlock(*set_regions)]), texts))
    relations = iter(relations_from(relation_columns([set_relations]), texts))
    sets = []
    for target, index, field in _SET.iter_unpack(data):
        name = (RELATION_FIELD_NAMES if target else REGION_FIELD_NAMES)[field]
        row: Any = next(relations) if target else next(regions)
        sets.append(FieldSet(_TARGETS[target], index, name, getattr(row, name)))
    return tuple(sets)


def _shared(strings: Sequence[str]) -> Vocabularies:
    texts = tuple(strings)
    return Vocabularies(**dict.fromkeys(Vocabularies.names(), texts))


def _packb(fields: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


def _unpackb(data: bytes, what: str) -> Any:
    try:
        fields = msgpack.unpackb(data)
        version = fields[0]
    except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
        raise GraphError(f"these {len(data)} bytes are no packed {what}: {error}") from None
    if version != _VERSION:
        raise GraphError(f"packed {what} of version {version!r}; this sgforge reads version {_VERSION}")
    return fields
