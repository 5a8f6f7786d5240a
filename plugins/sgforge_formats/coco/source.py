"""The source `coco`: COCO instances, COCO panoptic and LVIS files into samples.

Reasons of failures: bad-image, duplicate-image, too-many-regions, bad-annotation, duplicate-annotation, unknown-image,
unknown-category, bad-label, bad-box, outside-image, bad-mask, mask-size, bad-segments-file, missing-segment,
unlisted-segment; the image files themselves are looked at by the engine. A failure of one annotation leaves that region
out and no more; one of an image leaves the image out. A box that reaches beyond its image is kept as it is; one wholly
outside is a failure. Annotation ids are not kept; a crowd becomes the attribute `crowd`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sgforge.errors import ImageError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import SourceFailure
from sgforge_formats.checks import Fault, join_uri, locate, locate_folder
from sgforge_formats.coco.document import MAX_REGIONS, Document, ImageEntry, Item, read_document
from sgforge_formats.coco.instances import Regions, instance_regions
from sgforge_formats.coco.panoptic import panoptic_regions
from sgforge_formats.config import CocoOptions

__all__ = ["CocoSource"]

_BATCH: Final = 100
"""Annotations converted together: more at once is no faster, since the arrays leave the caches."""


class CocoSource:
    """Reads a COCO file: one sample per image, in the file's order."""

    def __init__(self, options: CocoOptions) -> None:
        self._options = options

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the file and the folders that are named are there; the file is not read."""
        self._located(roots, name)
        if self._options.panoptic is not None:
            _segments_uri(self._options, roots, name)

    def _located(self, roots: Roots, name: str) -> tuple[Path, str | None]:
        """The file, and the uri of the folder of images."""
        options = self._options
        _, path = locate(roots, options.annotations, name, "annotations", root=f"{name}-annotations")
        return path, None if options.images is None else locate_folder(roots, options.images, name, "images")

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image with its regions, and every fault; a file that is no COCO file is a `ConfigError`."""
        options = self._options
        path, images = self._located(roots, name)
        document = read_document(path)
        segments = _segments_uri(options, roots, name) if document.kind == "panoptic" else None
        yield from document.failures
        for batch in _batches(document):
            good = []
            for entry in batch:
                fault = _count_fault(document, entry)
                if fault is None:
                    good.append(entry)
                else:
                    yield fault.of_image(entry.where, entry.image_id)
            for entry, found in zip(good, _regions(document, good, roots, segments), strict=True):
                yield from found.failures
                graph = SceneGraph(entry.width, entry.height, found.regions)
                uri = None if images is None else _image_uri(entry, images, roots)
                yield Sample(entry.image_id, graph, uri, split=options.split)


def _batches(document: Document) -> Iterator[list[ImageEntry]]:
    """Images in file order, some at a time: so many that their annotations are worth a batch."""
    batch: list[ImageEntry] = []
    count = 0
    for entry in document.images:
        batch.append(entry)
        count += 1 + len(document.items.get(entry.image_id, ()))
        if count >= _BATCH:
            yield batch
            batch, count = [], 0
    yield batch


def _segments_uri(options: CocoOptions, roots: Roots, name: str) -> str:
    folder = options.panoptic or options.annotations.removesuffix(".json")
    return locate(roots, folder, name, "panoptic", is_folder=True, root=f"{name}-panoptic")[0]


def _image_uri(entry: ImageEntry, folder_uri: str, roots: Roots) -> str:
    """The first of the names the file may have that exists, else the likeliest; the engine looks at what is there."""
    uris = [join_uri(folder_uri, name) for name in entry.file_names]
    for uri in uris[1:] and uris:
        try:
            if roots.resolve(uri).is_file():
                return uri
        except (ImageError, OSError):
            continue
    return uris[0]


def _count_fault(document: Document, entry: ImageEntry) -> Fault | None:
    items = document.items.get(entry.image_id, ())
    count = len(items)
    if document.kind == "panoptic":
        lists = (item.raw.get("segments_info") for item in items)
        count = sum(len(segments) for segments in lists if isinstance(segments, list))
    if count > MAX_REGIONS:
        return Fault("too-many-regions", f"{count} regions in one image: at most {MAX_REGIONS} are read")
    return None


def _regions(
    document: Document, entries: Sequence[ImageEntry], roots: Roots, segments_uri: str | None
) -> Iterable[Regions]:
    items = [document.items.get(entry.image_id, ()) for entry in entries]
    if segments_uri is None:
        return instance_regions(list(zip(entries, items, strict=True)), document.categories)
    return (
        _segments(entry, own, document.categories, roots, segments_uri)
        for entry, own in zip(entries, items, strict=True)
    )


def _segments(
    entry: ImageEntry, items: Sequence[Item], categories: Mapping[int, str], roots: Roots, folder_uri: str
) -> Regions:
    parts = [panoptic_regions(entry, item, categories, roots, folder_uri) for item in items]
    return Regions(
        tuple(region for part in parts for region in part.regions),
        tuple(failure for part in parts for failure in part.failures),
    )
