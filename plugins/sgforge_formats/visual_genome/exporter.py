"""The exporter `vg`: a folder of Visual Genome's scene_graphs.json, image_data.json and region_descriptions.json.

Ids of objects and relationships, further names and synsets are those they were read with; rows that steps made get ids
above all others. Boxes of region descriptions go into their own file, as they came. Left out and counted: what a
relationship or object has no field for (masks, scores, depth, descriptions of labelled objects, rejected rows).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sgforge.graph import Sample
from sgforge_formats.coco.rows import usual_id
from sgforge_formats.origin import Origin, RowId, fresh_ids
from sgforge_formats.visual_genome.source import DESCRIPTION
from sgforge_formats.writing.exports import JsonList, exported, whole_folder, without_collection
from sgforge_formats.writing.holding import Held, held, plain_xywh

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["VisualGenomeExporter", "image_data_row"]

_FILES: Final = ("scene_graphs", "image_data", "region_descriptions")
_HOLDS: Final = ("attributes",)


class VisualGenomeExporter:
    """Writes Visual Genome's JSON files into a folder, which appears when it is whole."""

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the folder `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        free = _free_ids(snapshot)
        with without_collection(), whole_folder(output) as folder, ExitStack() as stack:
            streams = [stack.enter_context((folder / f"{name}.json").open("wb")) for name in _FILES]
            lists = [JsonList(stream) for stream in streams]
            for samples in exported(snapshot, counts):
                for sample in samples:
                    for written, row in zip(lists, _rows(sample, free, counts), strict=True):
                        written.add(row)
            for written in lists:
                written.end()
        return counts


def _free_ids(snapshot: Snapshot) -> Iterator[int]:
    """Ids above those of all objects, relationships and region descriptions that were read."""

    def taken() -> Iterator[RowId | None]:
        for samples in exported(snapshot, Counter()):
            for sample in samples:
                origin = Origin.of(sample)
                yield from (*origin.region_ids, *origin.relation_ids)
                yield from (row.get("region_id") for row in origin.regions.values())

    return fresh_ids(taken())


def _rows(sample: Sample, free: Iterator[int], counts: Counter[str]) -> tuple[dict[str, Any], ...]:
    """The rows of one image, file by file."""
    origin, number = Origin.of(sample), usual_id(sample.image_id)
    rows = held(sample, counts, _HOLDS, needs_label=False)
    boxes = dict(zip(rows.regions, plain_xywh([rows.boxes[index] for index in rows.regions]), strict=True))
    described = [index for index, region in rows.regions.items() if region.source == DESCRIPTION]
    counts["descriptions left out"] -= sum(1 for index in described if rows.regions[index].descriptions)
    ids = _ids(rows, origin, free)
    objects = [
        _object(sample, origin, index, ids[index], boxes[index]) for index in rows.regions if index not in described
    ]
    relationships = []
    for index, relation in rows.relations.items():
        row = {
            "relationship_id": _or_new(origin.relation_id(index), free),
            "predicate": relation.predicate,
            "subject_id": ids[relation.subject],
            "object_id": ids[relation.object],
            "synsets": origin.relations.get(index, {}).get("synsets") or [],
        }
        relationships.append(row)
    phrases = [_phrase(sample, origin, index, boxes[index], free) for index in described]
    return (
        {"image_id": number, "objects": objects, "relationships": relationships},
        image_data_row(sample, origin),
        {"id": number, "regions": phrases},
    )


def _ids(rows: Held, origin: Origin, free: Iterator[int]) -> dict[int, RowId]:
    """Ids of objects by index; one that stands twice in an image is new the second time."""
    found: dict[int, RowId] = {}
    used: set[RowId] = set()
    for index in rows.regions:
        given = origin.region_id(index)
        found[index] = given if given is not None and given not in used else next(free)
        used.add(found[index])
    return found


def _or_new(given: RowId | None, free: Iterator[int]) -> RowId:
    return next(free) if given is None else given


def _object(sample: Sample, origin: Origin, index: int, key: RowId, box: list[float | int]) -> dict[str, Any]:
    region, more = sample.graph.all.regions[index], origin.regions.get(index, {})
    names = more.get("names")
    if not isinstance(names, list) or names[:1] != [region.label]:
        names = [] if region.label is None else [region.label]
    row = {
        "object_id": key,
        **dict(zip("xywh", box, strict=True)),
        "names": names,
        "synsets": more.get("synsets") or [],
    }
    if region.attributes:
        row["attributes"] = list(region.attributes)
    if more.get("merged_object_ids"):
        row["merged_object_ids"] = more["merged_object_ids"]
    return row


def _phrase(sample: Sample, origin: Origin, index: int, box: list[float | int], free: Iterator[int]) -> dict[str, Any]:
    x, y, width, height = box
    key = origin.regions.get(index, {}).get("region_id")
    return {
        "region_id": key if isinstance(key, (int, str)) else next(free),
        "image_id": usual_id(sample.image_id),
        "phrase": " ".join(sample.graph.all.regions[index].descriptions),
        "x": x,
        "y": y,
        "width": width,
        "height": height,
    }


def image_data_row(sample: Sample, origin: Origin) -> dict[str, Any]:
    """A row of image_data.json."""
    said = {name: origin.image.get(name) for name in ("url", "coco_id", "flickr_id")}
    size = {"width": sample.graph.width, "height": sample.graph.height}
    return {"image_id": usual_id(sample.image_id), **size, **said}
