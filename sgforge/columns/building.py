"""Samples into columns: rows that are objects one by one, rows that are columns already many images at once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np

from sgforge.columns.ragged import Ragged, encode_text
from sgforge.columns.rows import RegionWriter, RelationWriter, StringTables, region_columns, relation_columns
from sgforge.columns.schema import ImageColumns, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.words import Remap
from sgforge.errors import GraphError
from sgforge.graph import Rows, Sample, SceneGraph

if TYPE_CHECKING:
    from sgforge.columns.graphs import GraphColumns

__all__ = ["ColumnRows", "SampleTables", "attributes_text", "over_tables", "views_of", "with_image_frames"]


_JSON_ENCODER: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def attributes_text(attributes: Any) -> str:
    """The attributes of a graph as canonical JSON; "" when there are none."""
    if not attributes:
        return ""
    return _JSON_ENCODER.encode(dict(attributes))


@attrs.frozen(eq=False, slots=False)
class _Viewed:
    """Columns that graphs are views of; the first graph whose rows are asked for makes those of all."""

    columns: GraphColumns

    @cached_property
    def has_masks(self) -> bool:
        return bool(self.columns.region.has_mask.any())

    @cached_property
    def rows(self) -> Sequence[Rows]:
        return [graph.all for graph in self.columns.graphs()]


@attrs.frozen(eq=False)
class ColumnRows:
    """The rows of one image that stand in columns; the form of `SceneGraph.deferred` of all views."""

    image: int
    _viewed: _Viewed

    @property
    def columns(self) -> GraphColumns:
        """The columns of this image and its neighbours."""
        return self._viewed.columns

    @property
    def boxes(self) -> np.ndarray:
        """(M, 4) float32, xyxy pixels; a row of NaN is none."""
        first, last = self.columns.image.region_offsets[self.image : self.image + 2]
        boxes: np.ndarray = self.columns.region.box[first:last]
        return boxes

    @property
    def has_masks(self) -> bool:
        """Whether any region of any of the images has a mask."""
        return self._viewed.has_masks

    def made(self) -> Rows:
        """The rows as objects."""
        return self._viewed.rows[self.image]


def views_of(columns: GraphColumns) -> list[SceneGraph]:
    """Graphs over sound columns that make no object before one is asked for."""
    viewed = _Viewed(columns)
    image = columns.image
    facts = zip(image.width.tolist(), image.height.tolist(), image.attributes.texts(), strict=True)
    return [
        SceneGraph.of_checked(width, height, json.loads(text) if text else {}, ColumnRows(number, viewed))
        for number, (width, height, text) in enumerate(facts)
    ]


class SampleTables:
    """Collects samples into the columns of images, regions and relations."""

    def __init__(self) -> None:
        self._tables = StringTables()
        self._rows = _Rows(self._tables)
        # Flat buffers: an object for each number of an image would take more than its columns.
        self._texts = {name: (array("I"), bytearray()) for name in ("id", "uri", "attributes")}
        self._numbers = array("q")
        self._digests = bytearray()

    def add(self, sample: Sample) -> None:
        """Append one image."""
        graph, tables = sample.graph, self._tables
        if sample.uri == "":
            raise GraphError(f"image {sample.image_id!r}: an empty uri; leave it out where there is no image")
        counts = self._rows.add(graph)
        self._digests += _digest(sample)
        texts = sample.image_id, sample.uri or "", attributes_text(graph.attributes)
        for text, (lengths, joined) in zip(texts, self._texts.values(), strict=True):
            encoded = encode_text(text)
            lengths.append(len(encoded))
            joined.extend(encoded)
        self._numbers.extend(
            (
                graph.width,
                graph.height,
                tables.id_of("split", sample.split),
                tables.id_of("source", sample.source),
                *counts,
            )
        )

    def tables(self) -> tuple[ImageColumns, RegionColumns, RelationColumns, Vocabularies]:
        """All that was added; the buffers go one after the other, so that little is held twice."""
        numbers = np.asarray(self._numbers, np.int64).reshape(-1, 6)
        texts = {
            name: Ragged(np.asarray(lengths, np.uint32), np.frombuffer(joined, np.uint8))
            for name, (lengths, joined) in self._texts.items()
        }
        image = attrs.evolve(
            ImageColumns.blank(len(numbers)),
            id=texts["id"],
            uri=texts["uri"],
            attributes=texts["attributes"],
            width=numbers[:, 0].astype(np.int32),
            height=numbers[:, 1].astype(np.int32),
            split=numbers[:, 2].astype(np.int32),
            source=numbers[:, 3].astype(np.int32),
            sha256=np.frombuffer(self._digests, np.uint8).reshape(-1, 32),
            region_count=numbers[:, 4].astype(np.uint32),
            relation_count=numbers[:, 5].astype(np.uint32),
        )
        regions, relations = self._rows.tables()
        return image, with_image_frames(image, regions), relations, self._tables.vocabularies()


class _Rows:
    """Rows of graphs over one set of string tables: runs of objects and runs of columns, in the order they came."""

    def __init__(self, tables: StringTables) -> None:
        self._tables = tables
        self._regions, self._relations = RegionWriter(tables), RelationWriter(tables)
        self._are_written = False
        self._region_parts: list[RegionColumns] = []
        self._relation_parts: list[RelationColumns] = []
        self._moved: GraphColumns | None = None
        self._moved_from: GraphColumns | None = None
        self._run: list[int] = []

    def add(self, graph: SceneGraph) -> tuple[int, int]:
        """Append the rows of a graph; how many regions and relations it has."""
        deferred = graph.deferred
        if isinstance(deferred, ColumnRows):
            return self._take(deferred)
        self._end_run()
        rows = graph.all
        for region in rows.regions:
            self._regions.add(region)
        for relation in rows.relations:
            self._relations.add(relation)
        self._are_written = True
        return len(rows.regions), len(rows.relations)

    def _take(self, deferred: ColumnRows) -> tuple[int, int]:
        columns, image = deferred.columns, deferred.image
        self._end_writing()
        if columns is not self._moved_from:
            self._end_run()
            self._moved_from, self._moved = columns, over_tables(columns, self._tables)
        self._run.append(image)
        table = columns.image
        return int(table.region_count[image]), int(table.relation_count[image])

    def _end_run(self) -> None:
        if self._run and self._moved is not None:
            taken = self._moved.gather(self._run)
            self._region_parts.append(taken.region)
            self._relation_parts.append(taken.relation)
            self._run = []

    def _end_writing(self) -> None:
        if self._are_written:
            self._region_parts.append(region_columns([self._regions.block()]))
            self._relation_parts.append(relation_columns([self._relations.block()]))
            self._regions, self._relations = RegionWriter(self._tables), RelationWriter(self._tables)
            self._are_written = False

    def tables(self) -> tuple[RegionColumns, RelationColumns]:
        """All rows; nothing may be added any more."""
        self._end_run()
        self._end_writing()
        self._moved = self._moved_from = None
        regions = _joined(RegionColumns, self._region_parts)
        return regions, _joined(RelationColumns, self._relation_parts)


def _joined(table: Any, parts: list[Any]) -> Any:
    """The rows of all parts, which are forgotten."""
    found = table.blank(0) if not parts else parts[0] if len(parts) == 1 else table.concat(parts)
    parts.clear()
    return found


def over_tables(columns: GraphColumns, tables: StringTables) -> GraphColumns:
    """The columns with ids that point into string tables."""
    words = columns.vocabularies
    maps = {name: _map_of(words.of(name), tables, name) for name in Vocabularies.names()}
    remap = Remap(words, words, maps)
    return attrs.evolve(columns, region=remap.table(columns.region), relation=remap.table(columns.relation))


def _map_of(texts: Iterable[str], tables: StringTables, name: str) -> np.ndarray:
    # The -1 at the end is what an id of -1 picks.
    return np.asarray([*(tables.id_of(name, text) for text in texts), -1], np.int32)


def with_image_frames(image: ImageColumns, region: RegionColumns) -> RegionColumns:
    """The regions with `mask_frame` 0, 0 where a mask's frame is its image."""
    height, width = (np.repeat(side, image.region_count) for side in (image.height, image.width))
    is_image = (region.mask_frame[:, 0] == height) & (region.mask_frame[:, 1] == width)
    if not is_image.any():
        return region
    return attrs.evolve(region, mask_frame=np.where(is_image[:, None], np.int32(0), region.mask_frame))


def _digest(sample: Sample) -> bytes:
    if sample.sha256 is None:
        return bytes(32)
    try:
        digest = bytes.fromhex(sample.sha256)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise GraphError(f"image {sample.image_id!r}: sha256 {sample.sha256!r} is not 64 hexadecimal digits")
    return digest
