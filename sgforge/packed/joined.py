"""Many packed edits side by side as columns, for the publisher: buffers are joined, no Region or Relation is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

import attrs
import numpy as np

from sgforge.columns import Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.ragged import ends_of
from sgforge.columns.rows import RegionBlock, region_columns, relation_columns
from sgforge.columns.schema import ColumnSpec, Table
from sgforge.columns.words import Remap, id_columns, used_words
from sgforge.graph import ImageRef
from sgforge.packed.codec import (
    EDIT_VERSION,
    NO_BLOCK,
    SET,
    SET_RECORD,
    VERDICT,
    VERDICT_RECORD,
    VERSION,
    shared_words,
    unpack_fields,
)
from sgforge.packed.values import ValueBlock

__all__ = ["EditColumns", "edit_columns"]


@attrs.frozen(eq=False)
class EditColumns:
    """E packed edits side by side; every id points into `vocabularies`.

    `regions_added`, `relations_added`: (E,) rows of each edit in `region` and `relation`. `verdict_*` and `set_*`: one
    entry per verdict and set, in order, `*_edit` naming its edit, `*_target` 0 for regions and 1 for relations, `*_row`
    the image-local row. `set_field` indexes `REGION_FIELD_NAMES` or `RELATION_FIELD_NAMES`, `set_value` the row of
    `region_values` or `relation_values` that holds the value. `dropped`: reason id or -1. `images`: by edit, the
    picture that it made. `values`: (edit, block) of each run of values of further columns, in order.
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
    images: Mapping[int, ImageRef]
    values: Sequence[tuple[int, ValueBlock]]

    def over(self, vocabularies: Vocabularies) -> EditColumns:
        """The same edits over other vocabularies, which must hold every text."""
        return self._moved(Remap(self.vocabularies, vocabularies))

    def _moved(self, remap: Remap) -> EditColumns:
        return attrs.evolve(
            self,
            region=remap.table(self.region),
            relation=remap.table(self.relation),
            region_values=remap.table(self.region_values),
            relation_values=remap.table(self.relation_values),
            verdict_reason=remap.ids("reason", self.verdict_reason),
            dropped=remap.ids("reason", self.dropped),
            vocabularies=remap.new,
        )

    def compact(self) -> EditColumns:
        """The same edits over vocabularies without unused texts."""
        tables = (self.region, self.relation, self.region_values, self.relation_values)
        ids = [pair for table in tables for pair in id_columns(table)]
        reasons = [("reason", self.verdict_reason), ("reason", self.dropped)]
        return self._moved(used_words(self.vocabularies, [*ids, *reasons]))


def edit_columns(packed: Sequence[bytes]) -> EditColumns:
    """The columns of packed edits, joined buffer by buffer; no Region or Relation object is built."""
    edits = [unpack_fields(data, "edit", EDIT_VERSION) for data in packed]
    full = [fields if len(fields) > 1 else _BLANK for fields in edits]
    ids, first_id, strings = _global_ids([fields[1] for fields in full])
    added = _Blocks([fields[2] for fields in full], [fields[3] for fields in full], ids, first_id)
    values = _Blocks([fields[6] for fields in full], [fields[7] for fields in full], ids, first_id)
    verdicts = np.frombuffer(b"".join([fields[4] for fields in full]), VERDICT_RECORD)
    verdict_edit = _owners([len(fields[4]) // VERDICT.size for fields in full])
    sets = np.frombuffer(b"".join([fields[5] for fields in full]), SET_RECORD)
    drops = [strings[fields[8]] if fields[8] is not None else -1 for fields in full]
    words = tuple(strings)
    return EditColumns(
        regions_added=added.region_counts,
        relations_added=added.relation_counts,
        region=added.regions,
        relation=added.relations,
        verdict_edit=verdict_edit,
        verdict_target=verdicts["target"],
        verdict_row=verdicts["index"],
        verdict_status=verdicts["status"],
        verdict_reason=_globalise(verdicts["reason"], verdict_edit, ids, first_id),
        verdict_degree=verdicts["degree"],
        set_edit=_owners([len(fields[5]) // SET.size for fields in full]),
        set_target=sets["target"],
        set_row=sets["index"],
        set_field=sets["field"],
        set_value=_value_rows(sets["target"]),
        region_values=values.regions,
        relation_values=values.relations,
        dropped=np.asarray(drops, np.int32),
        vocabularies=shared_words(words),
        images={number: ImageRef(*fields[12]) for number, fields in enumerate(full) if len(fields) > 12 and fields[12]},
        values=[
            (number, ValueBlock(*block))
            for number, fields in enumerate(full)
            if len(fields) > 12
            for block in fields[11]
        ],
    ).compact()


_BLANK: Final[tuple[Any, ...]] = (VERSION, (), NO_BLOCK, b"", b"", b"", NO_BLOCK, b"", None, {}, None)


class _Blocks:
    """The region and relation blocks of many edits as two tables with global ids."""

    def __init__(self, regions: list[Any], relations: list[bytes], ids: np.ndarray, first_id: np.ndarray) -> None:
        self.regions = region_columns([RegionBlock(*block) for block in regions if block[0]])
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
