"""Images of a COCO file, some at a time: their rows sorted by what they are, and samples made of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import orjson

from sgforge.errors import ImageError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.coco.document import MAX_REGIONS, RELATED, RELATIONS, Document, Item
from sgforge_formats.coco.extras import graph_attributes
from sgforge_formats.coco.findings import Findings
from sgforge_formats.coco.images import ImageEntry
from sgforge_formats.coco.instances import FoundRegion, Regions, instance_regions
from sgforge_formats.coco.own import with_own_fields
from sgforge_formats.coco.panoptic import Segments, panoptic_regions
from sgforge_formats.coco.parts import in_own_form, with_parts
from sgforge_formats.columns import POLYGONS
from sgforge_formats.reading.checks import Fault, is_plain
from sgforge_formats.reading.pictures import PictureFolder, Turner

__all__ = ["ImageReader"]

_OF_REGIONS: Final = ("bbox", "segmentation", "segments_info")
_MOST_NUMBERS: Final = 40_000
"""Of an outline that is kept: a JSON value has at most 1 MiB, a number of it at most 25 signs."""


@attrs.frozen
class _Rows:
    """What a file says of one image: its entry, where its picture is, its rows by what they are."""

    entry: ImageEntry
    uri: str | None
    annotations: Sequence[Item] = ()
    relations: Sequence[Item] = ()
    captions: Sequence[str] = ()
    failures: Sequence[SourceFailure] = ()


@attrs.frozen
class ImageReader:
    """Makes samples of a document's images.

    `pictures`: their folder, `turner`: what is asked for their orientation, `segments`: the id PNGs of a panoptic file,
    `keeps_polygons`: whether the outlines of regions become values of their column.
    """

    document: Document
    roots: Roots
    pictures: PictureFolder | None
    turner: Turner
    segments: Segments | None
    split: str | None
    keeps_polygons: bool
    findings: Findings

    def read(self, numbers: Sequence[int]) -> Iterator[Sample | SourceFailure]:
        """The samples of some images, in order, each after the faults of its rows."""
        found = [self._rows(number) for number in numbers]
        read = [rows for rows in found if isinstance(rows, _Rows)]
        yield from (rows for rows in found if isinstance(rows, SourceFailure))
        for rows, regions in zip(read, self._regions(read), strict=True):
            yield from rows.failures
            parts = with_parts(regions, self.document.names["attributes"], self.document.name)
            yield from parts.failures
            related = with_own_fields(parts.found, rows.relations, self.document.name)
            yield from related.failures
            entry = rows.entry
            graph = SceneGraph(
                width=entry.width,
                height=entry.height,
                regions=[one.region for one in related.found],
                relations=related.relations,
                attributes=graph_attributes(entry, related.found, rows.captions, names_file=self.pictures is None),
            )
            split = self.split or entry.split
            yield Sample(entry.image_id, graph, rows.uri, split=split, region_values=self._polygons(related.found))

    def _polygons(self, found: Sequence[FoundRegion]) -> Mapping[str, Mapping[int, Any]]:
        """The outlines of regions by column and index; one too long for a value is left out and counted."""
        if not self.keeps_polygons:
            return {}
        outlines = {index: one.polygons for index, one in enumerate(found) if one.polygons}
        kept = {index: given for index, given in outlines.items() if sum(map(len, given)) <= _MOST_NUMBERS}
        self.findings.long_outlines += len(outlines) - len(kept)
        return {POLYGONS.name: kept}

    def _rows(self, number: int) -> _Rows | SourceFailure:
        entry = self.document.images[number]
        uri = self._uri(entry)
        try:
            entry = self._sized(entry, uri)
        except ImageError as error:
            return Fault("bad-image", str(error)).of_image(entry.where, entry.image_id)
        count = self.document.count(number)
        items = self.document.items(number) if count <= MAX_REGIONS else []
        if self.segments is not None:
            lists = (item.raw.get("segments_info") for item in items)
            count = sum(len(segments) for segments in lists if isinstance(segments, list))
        if count > MAX_REGIONS:
            detail = f"{count} regions in one image: at most {MAX_REGIONS} are read"
            return Fault("too-many-regions", detail).of_image(entry.where, entry.image_id)
        return self._sorted(entry, uri, items)

    def _uri(self, entry: ImageEntry) -> str | None:
        if self.pictures is None:
            return None
        picture = self.pictures.find(entry.file_names)
        self.findings.respelled += picture.is_respelled
        return self.turner.place(picture.uri)

    def _sized(self, entry: ImageEntry, uri: str | None) -> ImageEntry:
        """The entry with its size, from the picture where the file gives none; without either an `ImageError`."""
        if entry.width and entry.height:
            return entry
        if uri is None:
            raise ImageError(f"image {entry.image_id} {entry.missing_side}")
        width, height = self.roots.image(uri).size()
        if entry.width not in (0, width) or entry.height not in (0, height):
            given = f"width {entry.width}" if entry.width else f"height {entry.height}"
            raise ImageError(f"image {entry.image_id} is {width}x{height}, the file says {given}")
        self.findings.measured += 1
        return attrs.evolve(entry, width=width, height=height)

    def _sorted(self, entry: ImageEntry, uri: str | None, items: Sequence[Item]) -> _Rows:
        names = self.document.names["rel_categories"]
        relations = [in_own_form(item, names) for item in items if item.key in (RELATIONS, RELATED)]
        annotations = self._without_repeated([item for item in items if item.key not in (RELATIONS, RELATED)])
        captions: list[str] = []
        failures: list[SourceFailure] = []
        regions = []
        for item in annotations:
            if "caption" not in item.raw or any(item.raw.get(field) for field in _OF_REGIONS):
                regions.append(item)
            elif isinstance(item.raw["caption"], str) and is_plain(item.raw["caption"]):
                captions.append(item.raw["caption"])
            else:
                fault = Fault("bad-caption", f"caption {shortened(item.raw['caption'])} must be a plain text")
                failures.append(fault.of(f"{self.document.name}: {item.where}", entry.image_id))
        return _Rows(
            entry=entry, uri=uri, annotations=regions, relations=relations, captions=captions, failures=failures
        )

    def _without_repeated(self, items: list[Item]) -> list[Item]:
        """The rows without those that are equal to an earlier one in all fields."""
        if len({_name_of(item.raw) for item in items}) == len(items):
            return items
        seen: dict[Hashable, list[Item]] = {}
        kept = []
        for item in items:
            same = seen.setdefault(_name_of(item.raw), [])
            if any(item.raw == other.raw and item.key == other.key for other in same):
                self.findings.duplicates += 1
                self.findings.first_duplicate = self.findings.first_duplicate or item.where
                continue
            same.append(item)
            kept.append(item)
        return kept

    def _regions(self, read: Sequence[_Rows]) -> Sequence[Regions]:
        if self.segments is None:
            pairs = [(rows.entry, rows.annotations) for rows in read]
            return instance_regions(pairs, self.document.categories, self.document.name, self.findings)
        return [_joined([self._segments(rows.entry, item) for item in rows.annotations]) for rows in read]

    def _segments(self, entry: ImageEntry, item: Item) -> Regions:
        assert self.segments is not None
        return panoptic_regions(entry, item, self.segments, self.findings)


def _name_of(raw: Any) -> Hashable:
    """What equal rows have in common: their id, without one their content."""
    number = raw.get("id")
    if isinstance(number, (int, float, str)):
        return number
    return orjson.dumps(raw, option=orjson.OPT_SORT_KEYS, default=str)


def _joined(parts: Sequence[Regions]) -> Regions:
    return Regions(
        [one for part in parts for one in part.found],
        [failure for part in parts for failure in part.failures],
    )
