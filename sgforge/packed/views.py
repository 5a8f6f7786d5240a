"""Graphs that are views of columns as the rows of packed samples, many at once; no Region or Relation is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import attrs
import numpy as np

from sgforge.columns import GraphColumns, Ragged, RegionColumns
from sgforge.columns.building import ColumnRows, over_tables
from sgforge.columns.graphs import with_own_frames
from sgforge.columns.ragged import ends_of
from sgforge.columns.rows import RegionBlock, StringTables, region_blocks, relation_blocks
from sgforge.columns.schema import ColumnSpec, Table, specs_of

__all__ = ["PackedRows", "packed_rows"]

_T = TypeVar("_T", bound=Table)


@attrs.frozen
class PackedRows:
    """The rows of one graph; ids point into `strings`, which stand in order of first use."""

    strings: Sequence[str]
    regions: RegionBlock
    relations: bytes


_known: Final[WeakKeyDictionary[GraphColumns, Sequence[PackedRows]]] = WeakKeyDictionary()


def packed_rows(rows: ColumnRows) -> PackedRows:
    """The rows of a view as a packed sample has them; those of its neighbours are made with them."""
    found = _known.get(rows.columns)
    if found is None:
        found = _known[rows.columns] = _packed_images(rows.columns)
    return found[rows.image]


def _packed_images(columns: GraphColumns) -> list[PackedRows]:
    tables = StringTables(shared=True)
    image = columns.image
    columns = over_tables(attrs.evolve(columns, region=with_own_frames(image, columns.region)), tables)
    used = _Used.of(columns.region, image.region_count), _Used.of(columns.relation, image.relation_count)
    strings, numbers = _numbered(used, list(tables["label"]), len(columns))
    region = used[0].over(columns.region, numbers[: len(used[0].ids)])
    relation = used[1].over(columns.relation, numbers[len(used[0].ids) :])
    blocks = region_blocks(region, image.region_offsets), relation_blocks(relation, image.relation_offsets)
    return [
        PackedRows(strings=own, regions=regions, relations=relations)
        for own, regions, relations in zip(strings, *blocks, strict=True)
    ]


@attrs.frozen(eq=False)
class _Used:
    """All ids of a table in the order in which its rows are written, the image of each, their places by column."""

    ids: np.ndarray
    images: np.ndarray
    places: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, table: Table, counts: np.ndarray) -> _Used:
        """Of a table with so many rows an image. A row's list of attributes is written before its single ids."""
        images = np.repeat(np.arange(len(counts)), counts)
        single = {spec.name: getattr(table, spec.name) for spec in specs_of(type(table)) if spec.is_id}
        single = {name: column for name, column in single.items() if (column >= 0).any()}
        listed = table.attribute if isinstance(table, RegionColumns) else _no_lists(len(images))
        before = np.arange(len(images)) * len(single)
        places = {name: listed.offsets[1:] + before + slot for slot, name in enumerate(single)}
        ids = np.full(len(images) * len(single) + len(listed.values), -1, np.int32)
        for name, column in single.items():
            ids[places[name]] = column
        places["attribute"] = np.arange(len(listed.values)) + np.repeat(before, listed.counts)
        assert isinstance(listed.values, np.ndarray)
        ids[places["attribute"]] = listed.values
        return cls(ids=ids, images=np.repeat(images, listed.counts + len(single)), places=places)

    def over(self, table: _T, numbers: np.ndarray) -> _T:
        """The table with these numbers in place of its ids."""

        def change(spec: ColumnSpec, column: Any) -> Any:
            if spec.name not in self.places:
                return column
            moved = numbers[self.places[spec.name]]
            return Ragged(column.counts, moved) if isinstance(column, Ragged) else moved

        return table.map(change)


def _no_lists(rows: int) -> Ragged:
    return Ragged(np.zeros(rows, np.uint32), np.zeros(0, np.int32))


def _numbered(used: Sequence[_Used], words: Sequence[str], images: int) -> tuple[list[list[str]], np.ndarray]:
    """The texts of each image in order of first use, and for each id its number among them; -1 stays."""
    ids = np.concatenate([one.ids for one in used])
    of_image = np.concatenate([one.images for one in used])
    there = ids >= 0
    keys, first, inverse = np.unique(
        of_image[there] * max(len(words), 1) + ids[there], return_index=True, return_inverse=True
    )
    owners, word = np.divmod(keys, max(len(words), 1))
    order = np.lexsort((first, owners))
    ends = ends_of(np.bincount(owners, minlength=images))
    rank = np.zeros(len(keys), np.int32)
    rank[order] = np.arange(len(keys)) - ends[:-1][owners]
    numbers = np.full(len(ids), -1, np.int32)
    numbers[there] = rank[inverse]
    texts = [words[number] for number in word[order].tolist()]
    return [texts[start:stop] for start, stop in pairwise(ends.tolist())], numbers
