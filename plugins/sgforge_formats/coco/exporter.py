"""The exporter `coco`: a COCO instances file, images in id order.

What COCO has no place for stands in fields that start with `sgforge_`, which other readers pass over: on annotations
sgforge_attributes, sgforge_descriptions, sgforge_depth, sgforge_parent (an annotation id), sgforge_level,
sgforge_region (the index in the graph) and sgforge_made_by; at the top sgforge_rejected_annotations (rejected regions,
with status, reason and degree) and sgforge_relations (subject and object are annotation ids). The source `coco` reads
all of them back. A file is named relative to the folder of images that its source was given; ids, and categories with
what a COCO file said of them, are written as they were read. Left out and counted: regions without a label, without a
place (neither box nor mask pixels), with a label that `categories` does not name, or names twice; relations of these.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs

from sgforge.graph import Region, Sample
from sgforge_formats.coco.categories import CategoryId
from sgforge_formats.coco.document import REJECTED, RELATIONS
from sgforge_formats.coco.extras import Extras
from sgforge_formats.coco.numbering import Numbering, numbering_from_file, numbering_of
from sgforge_formats.coco.rows import ImageName, Written, annotation_row, image_row, places_of, relation_row, usual_id
from sgforge_formats.columns import POLYGONS
from sgforge_formats.config import CocoExportOptions
from sgforge_formats.writing.exports import dumped, exported, file_name, image_folders, whole_file, without_collection

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["CocoExporter"]


class CocoExporter:
    """Writes COCO instances JSON; the file appears when it is whole."""

    def __init__(self, options: CocoExportOptions) -> None:
        self._options = options

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the file `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        numbering = self._numbering(snapshot)
        if numbering.is_anew:
            counts["categories numbered anew"] = len(numbering.rows)
        folders = image_folders(snapshot)
        # Rows stream through temporary files: COCO's lists stand one after the other, images come one by one.
        with (
            without_collection(),
            tempfile.TemporaryDirectory(prefix="sgforge-coco-") as scratch,
            closing(_Lists(Path(scratch))) as lists,
            whole_file(output) as stream,
        ):
            free = _free_numbers(snapshot)
            for samples in exported(snapshot, counts):
                _write([self._named(sample, free, folders) for sample in samples], numbering, lists, counts)
            stream.write(b'{"info":{"description":"exported by sgforge"},"categories":')
            stream.write(dumped(numbering.rows))
            lists.write_to(stream)
            stream.write(b"}\n")
        return counts

    def _numbering(self, snapshot: Snapshot) -> Numbering:
        if self._options.categories is not None:
            return numbering_from_file(Path(self._options.categories))
        attributes = snapshot.columns().image.attributes.texts()
        return numbering_of(attributes, snapshot.vocabulary("label"))

    def _named(self, sample: Sample, free: Iterator[int], folders: Mapping[str, str]) -> _Named:
        extras = Extras.of(sample.graph.attributes)
        image_id = sample.image_id if extras.is_text else usual_id(sample.image_id)
        if self._options.ids == "numbers" and isinstance(image_id, str):
            image_id = next(free)
        name = file_name(sample, folders) if sample.uri is not None else extras.file_name or sample.image_id
        return _Named(sample, ImageName(image_id, name), extras)


def _free_numbers(snapshot: Snapshot) -> Iterator[int]:
    """Whole numbers from 1 that are no image's id."""
    taken = {usual_id(image_id) for image_id in snapshot.image_ids}
    return (number for number in count(1) if number not in taken)


@attrs.frozen
class _Named:
    """An image with its name in the file, and what stands in its attributes."""

    sample: Sample
    name: ImageName
    extras: Extras


class _Lists:
    """The lists of a COCO file that grow while images come in, each in a file of its own."""

    NAMES = ("images", "annotations", REJECTED, RELATIONS)

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, IO[bytes]] = {name: (folder / name).open("w+b") for name in self.NAMES}
        self.annotation_count = 0

    def add(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        file = self._files[name]
        if rows:
            file.write((b",\n" if file.tell() else b"\n") + dumped(rows)[1:-1])

    def write_to(self, stream: IO[bytes]) -> None:
        for name, file in self._files.items():
            stream.write(b',"%s":[' % name.encode())
            file.seek(0, os.SEEK_SET)
            while block := file.read(1 << 20):
                stream.write(block)
            stream.write(b"]")

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def _write(images: Sequence[_Named], numbering: Numbering, lists: _Lists, counts: Counter[str]) -> None:
    """The rows of some images."""
    written = [_numbered(image, numbering, lists, counts) for image in images]
    chosen = [(one, index) for one in written for index in one.annotations]
    regions = [one.sample.graph.all.regions[index] for one, index in chosen]
    rows: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for (one, index), region, place in zip(chosen, regions, places_of(regions), strict=True):
        rows[region.kept].append(annotation_row(one, index, region, place))
    lists.add("images", [image_row(one.sample, one.name, one.extras) for one in written])
    lists.add("annotations", rows[True])
    lists.add(REJECTED, rows[False])
    lists.add(RELATIONS, [row for one in written for row in _relation_rows(one, counts)])
    counts["regions"] += len(rows[True])
    if rows[False]:
        counts["regions rejected"] += len(rows[False])


def _numbered(image: _Named, numbering: Numbering, lists: _Lists, counts: Counter[str]) -> Written:
    """The image with the ids and categories of those of its regions that are written."""
    numbers: dict[int, int] = {}
    categories: dict[int, CategoryId] = {}
    given = image.extras.category_ids
    for index, region in enumerate(image.sample.graph.all.regions):
        category = None if region.label is None else numbering.id_of(region.label, given.get(index))
        if category is None or not _has_place(region):
            counts[_why_left_out(region, numbering)] += 1
            continue
        lists.annotation_count += 1
        numbers[index] = lists.annotation_count
        categories[index] = category
    return Written(
        sample=image.sample,
        name=image.name,
        extras=image.extras,
        polygons=image.sample.region_values.get(POLYGONS.name, {}),
        annotations=numbers,
        categories=categories,
    )


def _relation_rows(written: Written, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    numbers = written.annotations
    for relation in written.sample.graph.all.relations:
        if relation.subject not in numbers or relation.object not in numbers:
            counts["relations of regions left out"] += 1
            continue
        counts["relations" if relation.kept else "relations rejected"] += 1
        yield relation_row(written, relation)


def _has_place(region: Region) -> bool:
    return region.box is not None or (region.mask is not None and region.mask.box is not None)


def _why_left_out(region: Region, numbering: Numbering) -> str:
    if region.label is None:
        return "regions without a label left out"
    if not _has_place(region):
        return "regions without a place left out"
    if region.label in numbering.by_name:
        return "regions of two categories of one name left out"
    return "regions of other categories left out"
