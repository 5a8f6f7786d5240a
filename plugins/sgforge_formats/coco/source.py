"""The source `coco`: COCO instances, COCO panoptic, LVIS, captions and result lists into samples.

Every row is kept whatever its id; only a row equal to another of its image in all fields is read once. Of an annotation
what is good is kept: well-formed polygons make the mask without the others, without a usable outline there is the box,
without a usable box the outline gives it. Failures that leave out no more than they name: bad-polygon, bad-mask,
mask-size, bad-score, bad-attribute, bad-caption, bad-keypoints, bad-own-field, unknown-region and bad-relation (of
what sgforge or SGG-Annotate wrote), bad-part (of PACO), bad-list, bad-category, duplicate-category; cut-off: the file
ends in the middle. Failures of a whole annotation: bad-annotation, unknown-image, unknown-category, bad-label, bad-box,
outside-image; of a panoptic one bad-segments-file, missing-segment, unlisted-segment, duplicate-annotation too.
Failures of an image: bad-image, duplicate-image, too-many-regions; the image files themselves are looked at by the
engine. A box that reaches beyond its image is kept as it is and counted in a remark. A crowd becomes the attribute
`crowd`; what else a file says beside the graph becomes attributes of the graph (`extras`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge_formats.coco.document import Document, open_document
from sgforge_formats.coco.findings import Findings
from sgforge_formats.coco.panoptic import Segments
from sgforge_formats.coco.reading import ImageReader
from sgforge_formats.config import CocoOptions
from sgforge_formats.reading.checks import locate, locate_folder
from sgforge_formats.reading.listing import names_digest, stamps_digest
from sgforge_formats.reading.pictures import PictureFolder, Turner

__all__ = ["CocoSource"]

_BATCH: Final = 600
"""Annotations converted together; more at once is no faster."""


class CocoSource:
    """Reads a COCO file: one sample per image, in the file's order."""

    def __init__(self, options: CocoOptions) -> None:
        self._options = options
        self._findings = Findings()
        self._turner: Turner | None = None

    def remarks(self) -> Sequence[str]:
        """What the last reading came across and kept."""
        turned = () if self._turner is None else self._turner.remarks()
        return (*self._findings.remarks(), *turned)

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the files and the folders that are named are there; no file is read."""
        self._file(roots, name, "annotations")
        if self._options.results is not None:
            self._file(roots, name, "results")
        if self._options.images is not None:
            locate_folder(roots, self._options.images, name, "images")
        if self._options.panoptic is not None:
            self._segments_uri(roots, name)

    def _file(self, roots: Roots, name: str, option: str) -> Path:
        return locate(roots, getattr(self._options, option), name, option, root=f"{name}-{option}")[1]

    def _segments_uri(self, roots: Roots, name: str) -> str:
        folder = self._options.panoptic or self._options.annotations.removesuffix(".gz").removesuffix(".json")
        return locate(roots, folder, name, "panoptic", is_folder=True, root=f"{name}-panoptic")[0]

    def stamp(self, roots: Roots, name: str) -> Stamp | None:
        """The files decide, the names in the folder of images, as a picture may be found under another spelling, and
        what the folder of segments holds, if there is one; None while that is being written."""
        options = self._options
        files = [self._file(roots, name, "annotations")]
        if options.results is not None:
            files.append(self._file(roots, name, "results"))
        facts = []
        if options.images is not None:
            facts.append(names_digest(roots.resolve(locate_folder(roots, options.images, name, "images"))))
        segments = self._segments_folder(roots, name)
        if segments is not None:
            stamps = stamps_digest(segments)
            if stamps is None:
                return None
            facts.append(stamps)
        return Stamp(tuple(files), " ".join(facts))

    def _segments_folder(self, roots: Roots, name: str) -> Path | None:
        """Where the segments of a panoptic file lie; most files are none, and have no such folder beside them."""
        apart = roots.copy()
        try:
            return apart.resolve(self._segments_uri(apart, name))
        except ConfigError:
            return None

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image with its regions, and every fault; a file that is no COCO file is a `ConfigError`."""
        options = self._options
        self._findings, self._turner = Findings(), Turner(roots, options.orientation)
        path = self._file(roots, name, "annotations")
        results = None if options.results is None else self._file(roots, name, "results")
        pictures = None
        if options.images is not None:
            pictures = PictureFolder(roots, locate_folder(roots, options.images, name, "images"))
        with open_document(path, results, may_measure=pictures is not None) as document:
            yield from document.failures
            segments = None
            if document.kind == "panoptic":
                uri = self._segments_uri(roots, name)
                segments = Segments(document.name, document.categories, roots, uri)
            reader = ImageReader(
                document=document,
                roots=roots,
                pictures=pictures,
                turner=self._turner,
                segments=segments,
                split=options.split,
                keeps_polygons=options.polygons == "keep",
                findings=self._findings,
            )
            for batch in _batches(document):
                yield from reader.read(batch)


def _batches(document: Document) -> Iterator[list[int]]:
    """Numbers of images in file order, some at a time: so many that their annotations are worth a batch."""
    batch: list[int] = []
    count = 0
    for number in range(len(document.images)):
        batch.append(number)
        count += 1 + document.count(number)
        if count >= _BATCH:
            yield batch
            batch, count = [], 0
    yield batch
