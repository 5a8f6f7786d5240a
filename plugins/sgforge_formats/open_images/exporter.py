"""The exporter `open-images`: a folder of annotations-vrd.csv, annotations-bbox.csv and class-descriptions.csv.

Relationships stand in the first, an attribute of an object as relationship `is`; every region stands in the second.
Boxes are shares of 1 with as many decimals as tell their pixels apart. Left out and counted: images without a size that
were not read as shares, masks, descriptions, scores of relations, depth, rejected rows, regions without label or box.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sgforge.graph import Sample
from sgforge_formats.open_images.options import OpenImagesExportOptions
from sgforge_formats.open_images.source import BOX_COLUMNS, IS, VRD_COLUMNS
from sgforge_formats.open_images.tables import read_names
from sgforge_formats.origin import Origin
from sgforge_formats.writing.exports import exported, whole_folder, without_collection
from sgforge_formats.writing.holding import Held, held, plain_number

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["OpenImagesExporter"]

_HOLDS: Final = ("attributes",)
_DIGITS: Final = 9


class OpenImagesExporter:
    """Writes Open Images' CSV files into a folder, which appears when it is whole."""

    def __init__(self, options: OpenImagesExportOptions) -> None:
        self._options = options

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the folder `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        mids: dict[str, str] = {}
        if self._options.classes is not None:
            mids = {name: mid for mid, name in read_names(Path(self._options.classes)).items()}
        used: dict[str, str] = {}
        with without_collection(), whole_folder(output) as folder, ExitStack() as stack:
            files = [("annotations-vrd.csv", VRD_COLUMNS), ("annotations-bbox.csv", BOX_COLUMNS)]
            tables = []
            for name, columns in files:
                text = io.TextIOWrapper(stack.enter_context((folder / name).open("wb")), "utf-8", newline="")
                tables.append(csv.writer(stack.enter_context(text), lineterminator="\n"))
                tables[-1].writerow(columns)
            for samples in exported(snapshot, counts):
                for sample in samples:
                    for table, rows in zip(tables, _rows(sample, mids, used, counts), strict=True):
                        table.writerows(rows)
            with (folder / "class-descriptions.csv").open("w", encoding="utf-8", newline="") as names:
                csv.writer(names, lineterminator="\n").writerows(sorted(used.items()))
        return counts


def _rows(
    sample: Sample, mids: Mapping[str, str], used: dict[str, str], counts: Counter[str]
) -> tuple[list[Sequence[Any]], list[Sequence[Any]]]:
    """The rows of one image, of relationships and of boxes."""
    rows, origin = held(sample, counts, _HOLDS), Origin.of(sample)
    names = {index: _mid(region.label or "", origin, index, mids) for index, region in rows.regions.items()}
    for index, region in rows.regions.items():
        used[names[index]] = region.label or ""
    boxes = {index: _shares(sample, rows, index) for index in rows.regions}
    related: list[Sequence[Any]] = []
    for index, region in rows.regions.items():
        for text in region.attributes:
            mid = mids.get(text, text)
            used[mid] = text
            related.append((sample.image_id, names[index], mid, *boxes[index], *boxes[index], IS))
    for relation in rows.relations.values():
        ends = (relation.subject, relation.object)
        cells = (*(names[end] for end in ends), *boxes[ends[0]], *boxes[ends[1]], relation.predicate)
        related.append((sample.image_id, *cells))
    return related, [(sample.image_id, names[index], *boxes[index]) for index in rows.regions]


def _mid(label: str, origin: Origin, index: int, mids: Mapping[str, str]) -> str:
    given = origin.regions.get(index, {}).get("mid")
    return mids.get(label) or (given if isinstance(given, str) and given else label)


def _shares(sample: Sample, rows: Held, index: int) -> tuple[float | int, ...]:
    """XMin, XMax, YMin, YMax."""
    x0, y0, x1, y1 = rows.boxes[index]
    width, height = sample.graph.width or 1, sample.graph.height or 1
    return tuple(plain_number(round(number, _DIGITS)) for number in (x0 / width, x1 / width, y0 / height, y1 / height))
