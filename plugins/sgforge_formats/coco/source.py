"""The source `coco`: COCO instances, COCO panoptic and LVIS files into samples.

Reasons of failures: bad-image, duplicate-image, too-many-regions, bad-annotation, duplicate-annotation, unknown-image,
unknown-category, bad-label, bad-box, outside-image, bad-mask, mask-size, bad-segments-file, missing-segment,
unlisted-segment; the image files themselves are looked at by the engine. A failure of one annotation leaves that region
out and no more; one of an image leaves the image out. A box that reaches beyond its image is kept as it is; one wholly
outside is a failure. Annotation ids are not kept; a crowd becomes the attribute `crowd`.
"""

from __future__ import annotations

from collections.abc import Iterator

from sgforge.errors import ConfigError, ImageError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import SourceFailure
from sgforge_formats.checks import Fault, join_uri
from sgforge_formats.coco.document import MAX_REGIONS, Document, ImageEntry, read_document
from sgforge_formats.coco.instances import Regions, instance_regions
from sgforge_formats.coco.panoptic import panoptic_regions
from sgforge_formats.config import CocoOptions

__all__ = ["CocoSource"]


class CocoSource:
    """Reads a COCO file: one sample per image, in the file's order."""

    def __init__(self, options: CocoOptions) -> None:
        self._options = options

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image with its regions, and every fault; a file that is no COCO file is a `ConfigError`."""
        options = self._options
        _, path = roots.locate(options.annotations, f"{name}-annotations")
        document = read_document(path)
        images = None if options.images is None else roots.locate(options.images, name)[0]
        segments = _segments_uri(options, roots, name) if document.kind == "panoptic" else None
        yield from document.failures
        for entry in document.images:
            fault = _count_fault(document, entry)
            if fault is not None:
                yield fault.of(entry.where, entry.image_id)
                continue
            found = _regions(document, entry, roots, segments)
            yield from found.failures
            graph = SceneGraph(entry.width, entry.height, found.regions)
            uri = None if images is None else _image_uri(entry, images, roots)
            yield Sample(entry.image_id, graph, uri, split=options.split)


def _segments_uri(options: CocoOptions, roots: Roots, name: str) -> str:
    folder = options.panoptic or options.annotations.removesuffix(".json")
    uri, path = roots.locate(folder, f"{name}-panoptic")
    if not path.is_dir():
        raise ConfigError(f"{folder} is no folder: name the folder of the id PNGs with the option panoptic")
    return uri


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


def _regions(document: Document, entry: ImageEntry, roots: Roots, segments_uri: str | None) -> Regions:
    items = document.items.get(entry.image_id, ())
    if segments_uri is None:
        return instance_regions(entry, items, document.categories)
    parts = [panoptic_regions(entry, item, document.categories, roots, segments_uri) for item in items]
    return Regions(
        tuple(region for part in parts for region in part.regions),
        tuple(failure for part in parts for failure in part.failures),
    )
