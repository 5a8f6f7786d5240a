"""The source `vg`: Visual Genome's JSON files into samples (Krishna et al. 2017; layouts of versions 1.2 and 1.4).

One file is streamed, of the others one row an image is looked up, so memory does not grow with them. An object has one
`name` or a list of `names`, both in one file too: the first is the label, others, synsets and ids are kept in the
column `formats.origin`. An object that only a relationship or an attribute row names becomes a region too; ids that
were merged into an object stand for it. Failures of rows: those of `GraphBuilder`, bad-row, bad-object,
bad-relationship; of an image: bad-image, duplicate-image; of a file: cut-off. An image whose relationships or
attributes name nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, ClassVar, Final

import attrs

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.coco.images import image_id_of
from sgforge_formats.origin import DeferredOrigin, RowId
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.graph_builder import GraphBuilder, xyxy_of_xywh
from sgforge_formats.reading.json_rows import JsonRow, RowIndex, json_rows, opened
from sgforge_formats.reading.numbers import read_whole, to_whole
from sgforge_formats.visual_genome.block_reading import READ_AS_COLUMNS, ReadGraph, typed_reading
from sgforge_formats.visual_genome.image_data import ImageFacts, read_image_data

__all__ = ["DESCRIPTION", "VisualGenomeSource", "file_names"]

DESCRIPTION: Final = "region-description"
"""The `source` of regions that are boxes of region descriptions."""
_WHAT: Final = "Visual Genome"
_MORE: Final = ("synsets", "merged_object_ids")
"""What is kept of an object beside the graph."""


class VisualGenomeSource(AnnotatedSource):
    """Reads Visual Genome: one sample an image, in the order of the first file that is named."""

    files: ClassVar[tuple[str, ...]] = (
        *("scene_graphs", "objects", "attributes", "relationships", "region_descriptions", "image_data"),
    )

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every image of any of the files."""
        paths = dict(reading.files)
        facts = read_image_data(paths.pop("image_data")) if "image_data" in paths else None
        if not paths:
            raise ConfigError("image_data alone has no annotations: name scene_graphs, objects or relationships too")
        if facts is not None:
            yield from facts.failures
        with ExitStack() as stack:
            streams = {option: stack.enter_context(opened(path)) for option, path in paths.items()}
            first, *others = streams
            others_found = {}
            for option in others:
                index = RowIndex(streams[option], paths[option].name)
                yield from _fill(index, json_rows(streams[option], index.name, _WHAT))
                others_found[option] = index
            images = _Images(reading, {} if facts is None else facts.images, others_found)
            seen = RowIndex(streams[first], paths[first].name)
            typed = None
            if first in READ_AS_COLUMNS and not others:
                typed = typed_reading(streams[first], images.facts)
            for row in json_rows(streams[first], seen.name, _WHAT, typed=typed):
                if isinstance(row, SourceFailure):
                    yield row
                    continue
                image_id = _image_id(row.value)
                fault = _unusable(row, seen, image_id)
                if fault is not None:
                    yield fault
                elif isinstance(row.value, ReadGraph):
                    yield images.sample(row.value)
                else:
                    yield from images.read(image_id or "", {first: (seen.name, row)})
            done = set(seen)
            for index in others_found.values():
                for image_id in index:
                    if image_id not in done:
                        done.add(image_id)
                        yield from images.read(image_id, {})


def _image_id(value: Any) -> str | None:
    """Region descriptions name their image `id`, the other files `image_id`."""
    if isinstance(value, ReadGraph):
        return value.image_id
    return image_id_of(value.get("image_id", value.get("id"))) if isinstance(value, dict) else None


def _unusable(row: JsonRow, index: RowIndex, image_id: str | None) -> SourceFailure | None:
    where = f"{index.name}: {row.where}"
    if image_id is None:
        return SourceFailure(where, "bad-image", "an image needs image_id, a whole number or a text")
    if not index.add(image_id, row):
        detail = f"image {image_id} has a row before; this one is left out"
        return SourceFailure(where, "duplicate-image", detail, image_id, loses="annotation")
    return None


def _fill(index: RowIndex, rows: Iterator[JsonRow | SourceFailure]) -> Iterator[SourceFailure]:
    for row in rows:
        fault = row if isinstance(row, SourceFailure) else _unusable(row, index, _image_id(row.value))
        if fault is not None:
            yield attrs.evolve(fault, loses="annotation")
    index.seal()


@attrs.frozen
class _Images:
    """Makes samples of images from their rows in each file."""

    reading: Reading
    facts: Mapping[str, ImageFacts]
    others: Mapping[str, RowIndex]

    def read(self, image_id: str, first: Mapping[str, tuple[str, JsonRow]]) -> Iterator[Sample | SourceFailure]:
        """The faults of an image's rows, then its sample; `first` is the row that was just read."""
        rows = dict(first)
        for option, index in self.others.items():
            row = index.row(image_id)
            if row is not None:
                rows[option] = (index.name, row)
        facts = self.facts.get(image_id) or ImageFacts()
        builder = GraphBuilder(
            where=next(f"{name}: {row.where}" for name, row in rows.values()),
            image_id=image_id,
            width=facts.width,
            height=facts.height,
            tally=self.reading.tally,
        )
        for option, (_, row) in rows.items():
            _READERS[option](builder, row.value if isinstance(row.value, dict) else {})
        url = facts.url or next(
            (row.value.get("image_url") for _, row in rows.values() if "image_url" in row.value), None
        )
        uri = self.reading.uri(*file_names(image_id, url))
        sample = builder.sample(uri, self.reading.split, more=facts.more())
        yield from builder.faults
        yield sample

    def sample(self, read: ReadGraph) -> Sample:
        """The sample of an image without faults."""
        uri = None
        if self.reading.pictures is not None:
            uri = self.reading.uri(*file_names(read.image_id, read.url))
        return Sample(read.image_id, read.graph, uri, self.reading.split, values=DeferredOrigin(read.origin))


def file_names(image_id: str, url: Any) -> Iterator[str]:
    """Where a picture may lie: as its address ends, or under its id, in the folder or one of the two of the release."""
    if isinstance(url, str):
        parts = url.split("?")[0].split("/")
        yield from ("/".join(parts[-length:]) for length in (2, 1) if len(parts) > length + 1)
    yield from (f"{folder}{image_id}.jpg" for folder in ("", "VG_100K/", "VG_100K_2/"))


def _rows(builder: GraphBuilder, value: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a list with their places; what is none is a fault."""
    rows = value.get(key)
    if rows is None:
        return
    if not isinstance(rows, list):
        builder.fault("bad-list", f"{key} must be a list, not {shortened(rows)}", key)
        return
    for position, row in enumerate(rows):
        if isinstance(row, dict):
            yield position, row
        else:
            builder.fault("bad-row", f"an entry must be an object, not {shortened(row)}", f"{key}[{position}]")


def _scene_graph(builder: GraphBuilder, value: Mapping[str, Any]) -> None:
    _objects(builder, value)
    _relationships(builder, value)


def _objects(builder: GraphBuilder, value: Mapping[str, Any]) -> None:
    for position, row in _rows(builder, value, "objects"):
        _object(builder, row, f"objects[{position}]")


def _attributes(builder: GraphBuilder, value: Mapping[str, Any]) -> None:
    for position, row in _rows(builder, value, "attributes"):
        _object(builder, row, f"attributes[{position}]")


def _object(builder: GraphBuilder, row: Mapping[str, Any], item: str) -> int:
    """The region of an object, added where its id is new; attributes are added to it."""
    key = _id_of(row.get("object_id"))
    index = None if key is None else builder.index_of(key)
    if index is None:
        names = row.get("names")
        names = names if isinstance(names, list) and names else [row.get("name")]
        index = builder.region(key, names[0], xyxy_of_xywh(row), item, more=_more_of(row, names))
        others = row.get("merged_object_ids")
        for merged in others if isinstance(others, list) else ():
            builder.alias(_id_of(merged), index)
    if row.get("attributes"):
        builder.attributes(index, row["attributes"], item)
    return index


def _more_of(row: Mapping[str, Any], names: list[Any]) -> dict[str, Any]:
    more = {}
    for name in _MORE:
        value = row.get(name)
        if value:
            more[name] = value
    if len(names) > 1:
        more["names"] = names
    return more


def _id_of(value: Any) -> RowId | None:
    """An id as the file has it: a whole number, or a text; a text of one is that number."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        number = read_whole(value)
        return value if number is None or str(number) != value else number
    return to_whole(value)


def _relationships(builder: GraphBuilder, value: Mapping[str, Any]) -> None:
    for position, row in _rows(builder, value, "relationships"):
        item = f"relationships[{position}]"
        ends = [_end(builder, row, side, item) for side in ("subject", "object")]
        synsets = row.get("synsets")
        builder.relate(
            ends[0],
            row.get("predicate"),
            ends[1],
            item,
            key=_id_of(row.get("relationship_id")),
            more={"synsets": synsets} if synsets else None,
        )


def _end(builder: GraphBuilder, row: Mapping[str, Any], side: str, item: str) -> int | None:
    """The region of one side: an object in the row (relationships.json), or its id (scene_graphs.json)."""
    given = row.get(side)
    if isinstance(given, dict):
        return _object(builder, given, f"{item}.{side}")
    return builder.index_of(_id_of(row.get(f"{side}_id", given)))


def _descriptions(builder: GraphBuilder, value: Mapping[str, Any]) -> None:
    for position, row in _rows(builder, value, "regions"):
        item = f"regions[{position}]"
        key = _id_of(row.get("region_id"))
        box = xyxy_of_xywh(row, w="width", h="height")
        index = builder.region(
            None, None, box, item, source=DESCRIPTION, more=None if key is None else {"region_id": key}
        )
        builder.describe(index, row.get("phrase"), item)


_READERS: Final = {
    "scene_graphs": _scene_graph,
    "objects": _objects,
    "attributes": _attributes,
    "relationships": _relationships,
    "region_descriptions": _descriptions,
}
