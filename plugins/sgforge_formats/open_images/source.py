"""The source `open-images`: boxes and visual relationships in CSV (Kuznetsova et al. 2020) into samples.

Boxes are shares of 1, in relationships the two x before the two y. An object has no id there: a class with a box is
one. A row whose RelationshipLabel is `is` gives its object an attribute, the second label; it is no relation. Failures
of rows: those of `GraphBuilder`, bad-row; of an image: bad-image (its picture cannot be read).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from operator import itemgetter
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from sgforge.errors import ConfigError, ImageError
from sgforge.graph import Sample
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.open_images.tables import CsvTable, read_names
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.checks import is_plain
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.reading.json_rows import opened
from sgforge_formats.reading.numbers import read_number

__all__ = ["BOX_COLUMNS", "IS", "VRD_COLUMNS", "OpenImagesSource"]

VRD_COLUMNS: Final = (
    *("ImageID", "LabelName1", "LabelName2", "XMin1", "XMax1", "YMin1", "YMax1"),
    *("XMin2", "XMax2", "YMin2", "YMax2", "RelationshipLabel"),
)
BOX_COLUMNS: Final = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
IS: Final = "is"
"""The relationship that gives an object an attribute."""
_SHARES: Final = "images whose boxes stay shares of 1, as no folder of pictures is named"
_MARKS: Final = {"IsGroupOf": "group", "IsDepiction": "depiction", "IsOccluded": "occluded", "IsTruncated": "truncated"}
_SIDES: Final = {
    which: itemgetter(*(f"{side}{which}" for side in ("XMin", "YMin", "XMax", "YMax"))) for which in ("", "1", "2")
}
Raw: TypeAlias = Mapping[str, str]
_Box: TypeAlias = tuple[float, float, float, float]


class OpenImagesSource(AnnotatedSource):
    """Reads Open Images: one sample an image, in the order of the first file that is named."""

    files: ClassVar[tuple[str, ...]] = ("relationships", "boxes", "classes", "attributes")

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every image of either file."""
        names: dict[str, str] = {}
        for option in ("attributes", "classes"):
            if option in reading.files:
                names |= read_names(reading.files[option])
        with ExitStack() as stack:
            tables = {}
            for option, columns in (("relationships", VRD_COLUMNS), ("boxes", BOX_COLUMNS)):
                if option in reading.files:
                    path = reading.files[option]
                    tables[option] = CsvTable.of(stack.enter_context(opened(path)), path.name, columns)
            if not tables:
                raise ConfigError("names of classes alone have no annotations: name relationships or boxes too")
            images = dict.fromkeys(image_id for table in tables.values() for image_id in table.images)
            for image_id in images:
                yield from _image(image_id, tables, names, reading)


def _image(
    image_id: str, tables: Mapping[str, CsvTable], names: Mapping[str, str], reading: Reading
) -> Iterator[Sample | SourceFailure]:
    where = f"{next(iter(tables.values())).name}: image {image_id}"
    if not is_plain(image_id):
        yield SourceFailure(where, "bad-image", f"image id {image_id!r} holds characters that no id may have")
        return
    uri = reading.uri(f"{image_id}.jpg", f"{image_id}.png", f"{image_id}.jpeg")
    width, height = 0, 0
    if uri is None:
        reading.tally.add(_SHARES)
    else:
        try:
            width, height = reading.roots.image(uri).size()
        except (ImageError, OSError) as error:
            yield SourceFailure(where, "bad-image", str(error), image_id)
            return
    builder = GraphBuilder(where=where, image_id=image_id, width=width, height=height, tally=reading.tally)
    image = _Image(builder, names)
    for option in ("boxes", "relationships"):
        if option in tables:
            for number, row in tables[option].rows(image_id):
                getattr(image, option)(row, f"{tables[option].name}:{number}")
    sample = builder.sample(uri, reading.split)
    yield from builder.faults
    yield sample


@attrs.frozen
class _Image:
    """One image while its rows are read; `known`: regions by class and box, as a row of either file names them; `read`:
    boxes by their texts, as rows that speak of one region say them again.
    """

    builder: GraphBuilder
    names: Mapping[str, str]
    known: dict[tuple[str, _Box], int] = attrs.field(factory=dict)
    read: dict[tuple[str, str, str, str], _Box] = attrs.field(factory=dict)

    def boxes(self, row: Raw, item: str) -> None:
        """A row of boxes: each is a region, however often it stands there."""
        box = self._corners(row, "", item)
        if box is None:
            return
        index = self._add(row["LabelName"], box, item, _score(row.get("Confidence")))
        self.known.setdefault((row["LabelName"], box), index)
        marks = [mark for column, mark in _MARKS.items() if row.get(column) == "1"]
        self.builder.attributes(index, marks, item)

    def relationships(self, row: Raw, item: str) -> None:
        """A row of relationships."""
        first = self._corners(row, "1", item)
        if first is None:
            return
        subject = self._region(row["LabelName1"], first, item)
        if row["RelationshipLabel"] == IS:
            name = self.names.get(row["LabelName2"], row["LabelName2"])
            self.builder.attributes(subject, [name] if name else [], item)
            return
        second = self._corners(row, "2", item)
        if second is not None:
            self.builder.relate(subject, row["RelationshipLabel"], self._region(row["LabelName2"], second, item), item)

    def _corners(self, row: Raw, which: str, item: str) -> _Box | None:
        given = _SIDES[which](row)
        found = self.read.get(given)
        if found is None:
            x0, y0, x1, y1 = map(read_number, given)
            if x0 is None or y0 is None or x1 is None or y1 is None:
                self.builder.fault("bad-row", f"box {shortened(list(given))} must be four numbers", item)
                return None
            found = self.read[given] = x0, y0, x1, y1
        return found

    def _region(self, label: str, box: _Box, item: str) -> int:
        index = self.known.get((label, box))
        if index is None:
            index = self.known[(label, box)] = self._add(label, box, item)
        return index

    def _add(self, label: str, box: _Box, item: str, score: float | None = None) -> int:
        sides = (self.builder.width or 1, self.builder.height or 1) * 2
        scaled = [number * side for number, side in zip(box, sides, strict=True)]
        name = self.names.get(label, label)
        more = {"mid": label} if name != label else None
        return self.builder.region(None, name, scaled, item, score=score, more=more)


def _score(given: Any) -> float | None:
    """A confidence; those of people are 1, which says no more than none."""
    number = read_number(given)
    return None if number == 1 else number
