"""The sources `gqa` and `svg-release`: graphs by image id in one JSON object.

GQA (Hudson and Manning 2019): {ID: {width, height, location, weather, objects: {OBJECT: {name, x, y, w, h, attributes,
relations: [{name, object}]}}}}. The release of Synthetic Visual Genome is of the same form with `bbox` (x0, y0, x1, y1)
and `segmentation` (COCO run lengths or polygons) in place of x, y, w, h, or one such graph a line, with `file_name`.
Relations are a list in the files that were released; an object of them, as the site shows one, is read too. Failures of
rows: those of `GraphBuilder`, bad-object, bad-relation, bad-mask; of an image: bad-image, duplicate-image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Mask, Sample
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.coco.images import MAX_SIDE
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.checks import is_plain
from sgforge_formats.reading.graph_builder import XYXY, GraphBuilder, xyxy_of_xywh
from sgforge_formats.reading.json_lines import json_lines
from sgforge_formats.reading.json_rows import JsonRow, json_members, opened
from sgforge_formats.reading.numbers import read_whole

__all__ = ["GqaSource"]

_WHAT: Final = "graphs by image id"
_SCENE: Final = ("location", "weather")


class GqaSource(AnnotatedSource):
    """Reads graphs by image id, one image at a time, in the file's order."""

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every image."""
        path = reading.files["annotations"]
        seen: set[str] = set()
        with opened(path) as stream:
            is_lines = path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
            rows = json_lines(stream, path.name) if is_lines else json_members(stream, path.name, _WHAT)
            for row in rows:
                if isinstance(row, SourceFailure):
                    yield row
                else:
                    yield from _image(row, path.name, seen, reading)


def _image(row: JsonRow, name: str, seen: set[str], reading: Reading) -> Iterator[Sample | SourceFailure]:
    image_id = row.key if row.key is not None else _id_in(row.value)
    where = f"{name}: {image_id or row.where}"
    graph = row.value
    if image_id is None or not image_id or not is_plain(image_id) or not isinstance(graph, dict):
        yield SourceFailure(where, "bad-image", f"an image needs an id and an object, not {shortened(graph)}")
        return
    if image_id in seen:
        yield SourceFailure(where, "duplicate-image", f"image {image_id} was given before", image_id)
        return
    seen.add(image_id)
    sides = [read_whole(graph.get(side, 0)) for side in ("width", "height")]
    if not all(side is not None and 0 <= side <= MAX_SIDE for side in sides):
        detail = f"width {shortened(graph.get('width'))} and height {shortened(graph.get('height'))} must be pixels"
        yield SourceFailure(where, "bad-image", detail, image_id)
        return
    builder = GraphBuilder(
        where=where, image_id=image_id, width=sides[0] or 0, height=sides[1] or 0, tally=reading.tally
    )
    _objects(builder, graph.get("objects"))
    attributes = {name: graph[name] for name in _SCENE if isinstance(graph.get(name), str) and graph[name]}
    given = graph.get("file_name")
    names = (given, f"{image_id}.jpg") if isinstance(given, str) and given else (f"{image_id}.jpg", f"{image_id}.png")
    more = {"file_name": given} if isinstance(given, str) and given else None
    sample = builder.sample(reading.uri(*names), reading.split, attributes=attributes, more=more)
    yield from builder.faults
    yield sample


def _id_in(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    given = value.get("image_id", value.get("id"))
    if given is None and isinstance(value.get("file_name"), str):
        return str(value["file_name"])
    number = read_whole(given)
    return str(number) if number is not None else given if isinstance(given, str) else None


def _objects(builder: GraphBuilder, objects: Any) -> None:
    if not isinstance(objects, dict):
        if objects is not None:
            builder.fault("bad-object", f"objects must be an object by ids, not {shortened(objects)}")
        return
    for key, row in objects.items():
        if not isinstance(row, dict):
            builder.fault("bad-object", f"an object must be a JSON object, not {shortened(row)}", key)
            continue
        index = builder.region(key, row.get("name"), _box(row), key, mask=_mask(builder, row, key))
        builder.attributes(index, row.get("attributes"), key)
        builder.describe(index, row.get("description"), key)
    for key, row in objects.items():
        if isinstance(row, dict):
            _relations(builder, key, row.get("relations"))


def _box(row: Mapping[str, Any]) -> XYXY | None:
    given = row.get("bbox")
    if given is not None:
        return given if isinstance(given, list) else [given]
    return xyxy_of_xywh(row) if "x" in row else None


def _mask(builder: GraphBuilder, row: Mapping[str, Any], item: str) -> Mask | None:
    outline = row.get("segmentation")
    if not outline:
        return None
    size = (builder.height, builder.width)
    try:
        if isinstance(outline, dict):
            if list(outline.get("size") or ()) != list(size):
                raise GraphError(f"run lengths of size {shortened(outline.get('size'))} do not fit the image")
            return masks.from_coco(outline["counts"], *size)
        return masks.from_polygons(outline, *size)
    except (GraphError, KeyError, TypeError, ValueError) as error:
        builder.fault("bad-mask", f"its segmentation: {error}", item)
        return None


def _relations(builder: GraphBuilder, key: str, relations: Any) -> None:
    rows = list(relations.values()) if isinstance(relations, dict) else relations
    if rows is None:
        return
    if not isinstance(rows, list):
        builder.fault("bad-relation", f"relations must be a list, not {shortened(rows)}", key)
        return
    subject = builder.index_of(key)
    for position, row in enumerate(rows):
        item = f"{key}.relations[{position}]"
        if not isinstance(row, dict):
            builder.fault("bad-relation", f"a relation must be an object, not {shortened(row)}", item)
            continue
        other = row.get("object")
        number = read_whole(other)
        builder.relate(subject, row.get("name"), builder.index_of(other if number is None else str(number)), item)
