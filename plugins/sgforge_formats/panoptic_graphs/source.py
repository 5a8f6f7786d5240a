"""The source `psg`: psg.json of Panoptic Scene Graph Generation (Yang et al. 2022) into samples.

`annotations[i]` and `segments_info[i]` of an image are one region: box (x0, y0, x1, y1; x, y, width, height where
`bbox_mode` is 1) and segment. Categories count from 0 over things, then stuff; relations are [subject, object,
predicate], predicates from 0. `test_image_ids` are split test, the others train. The same photo may stand under two
ids. Failures of rows: those of `GraphBuilder`, bad-annotation, unknown-category, unknown-predicate, bad-relation,
bad-segments-file, mask-size, missing-segment; of an image: bad-image, duplicate-image; of a file: cut-off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np

from sgforge.errors import ConfigError, ImageError
from sgforge.graph import Mask, Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge.text.wording import shortened
from sgforge_formats.coco.images import MAX_SIDE, image_id_of
from sgforge_formats.panoptic_graphs.classes import Classes
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.checks import join_uri, locate
from sgforge_formats.reading.graph_builder import XYXY, GraphBuilder
from sgforge_formats.reading.json_rows import JsonRow, json_rows, opened
from sgforge_formats.reading.jsonlists import parse_row, read_bytes_at
from sgforge_formats.reading.listing import stamps_digest
from sgforge_formats.reading.numbers import read_number, read_whole, to_whole
from sgforge_formats.reading.segment_png import segment_ids, segment_masks

__all__ = ["CROWD", "STUFF", "PsgSource"]

_WHAT: Final = "PSG"
_CLASSES: Final = ("thing_classes", "stuff_classes", "predicate_classes")
_TESTED: Final = "test_image_ids"
_XYWH: Final = 1
CROWD: Final = "crowd"
"""The attribute of a region that is marked with iscrowd, as the source `coco` has it."""
STUFF: Final = "isthing"
"""What the origin of a region of stuff says, as 0."""


class PsgSource(AnnotatedSource):
    """Reads psg.json: one sample an entry of `data`, in its order."""

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the file and the folders that are named are there."""
        super().check(roots, name)
        self._panoptic(roots, name)

    def _panoptic(self, roots: Roots, name: str) -> str | None:
        given = self.options.panoptic
        return given and locate(roots, given, name, "panoptic", is_folder=True, root=f"{name}-panoptic")[0]

    def stamp(self, roots: Roots, name: str) -> Stamp | None:
        """The file decides, the names in the folder of pictures, and what lies in that of the segments."""
        stamp = super().stamp(roots, name)
        folder = self._panoptic(roots, name)
        if stamp is None or folder is None:
            return stamp
        digest = stamps_digest(roots.resolve(folder))
        return None if digest is None else attrs.evolve(stamp, facts=f"{stamp.facts} {digest}")

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image with its graph, and every fault."""
        self._segments_uri = self._panoptic(roots, name)
        yield from super().samples(roots, name)

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every entry; looked through once before, as the lists of classes may stand behind the data."""
        path = reading.files["annotations"]
        with opened(path) as stream:
            found = _Found()
            for row in json_rows(stream, path.name, _WHAT, ("data", _TESTED, *_CLASSES)):
                if isinstance(row, SourceFailure):
                    yield row
                else:
                    found.add(row)
            classes = found.classes(path.name)
            images = _Images(
                reading=reading, name=path.name, classes=classes, tested=found.tested, segments_uri=self._segments_uri
            )
            seen: set[str] = set()
            for position, start, stop in found.places:
                value = parse_row(read_bytes_at(stream, start, stop))
                yield from images.read(position, value if isinstance(value, dict) else {}, seen)


class _Found:
    """What is found while the file is looked through."""

    def __init__(self) -> None:
        self.places: list[tuple[int, int, int]] = []
        self.tested: set[str] = set()
        self._names: dict[str, list[Any]] = {key: [] for key in _CLASSES}

    def add(self, row: JsonRow) -> None:
        """One row of one of the lists."""
        if row.key == "data":
            self.places.append((row.position, row.start, row.stop))
        elif row.key == _TESTED:
            self.tested.add(image_id_of(row.value) or "")
        else:
            self._names[row.key or ""].append(row.value)

    def classes(self, name: str) -> Classes:
        """The names; a list that holds others than texts is a `ConfigError`."""
        for key, names in self._names.items():
            bad = [one for one in names if not isinstance(one, str)]
            if bad:
                raise ConfigError(f"{name}: {key} must be texts, not {shortened(bad[0])}")
        if self.places and not (self._names["thing_classes"] or self._names["stuff_classes"]):
            raise ConfigError(f"{name} is no file of {_WHAT}: it has neither thing_classes nor stuff_classes")
        return Classes(*map(tuple, self._names.values()))


@attrs.frozen
class _Images:
    """Makes samples of the entries of `data`."""

    reading: Reading
    name: str
    classes: Classes
    tested: set[str]
    segments_uri: str | None

    def read(self, position: int, value: Mapping[str, Any], seen: set[str]) -> Iterator[Sample | SourceFailure]:
        where = f"{self.name}: data[{position}]"
        image_id = image_id_of(value.get("image_id"))
        sides = [read_whole(value.get(side)) for side in ("width", "height")]
        if image_id is None or not all(side is not None and 0 < side <= MAX_SIDE for side in sides):
            yield SourceFailure(where, "bad-image", "an image needs image_id, width and height in pixels", image_id)
            return
        if image_id in seen:
            yield SourceFailure(where, "duplicate-image", f"image {image_id} was given before", image_id)
            return
        seen.add(image_id)
        builder = GraphBuilder(
            where=where, image_id=image_id, width=sides[0] or 0, height=sides[1] or 0, tally=self.reading.tally
        )
        numbers = self._regions(builder, value)
        self._relations(builder, value.get("relations"), numbers)
        given = value.get("file_name")
        uri = self.reading.uri(given) if isinstance(given, str) and given else None
        split = self.reading.split or ("test" if image_id in self.tested else "train")
        kept = ("file_name", "pan_seg_file_name", "coco_image_id")
        sample = builder.sample(uri, split, more={name: value[name] for name in kept if value.get(name) is not None})
        yield from builder.faults
        yield sample

    def _regions(self, builder: GraphBuilder, value: Mapping[str, Any]) -> dict[int, int]:
        """Adds the regions; their indices by place in `annotations`, which relations name."""
        rows, segments = (_list(builder, value, key) for key in ("annotations", "segments_info"))
        masks = self._masks(builder, value, segments)
        numbers: dict[int, int] = {}
        for position in range(max(len(rows), len(segments))):
            item = f"annotations[{position}]"
            row = rows[position] if position < len(rows) else {}
            segment = segments[position] if position < len(segments) else {}
            if not isinstance(row, dict) or not isinstance(segment, dict):
                builder.fault("bad-annotation", "an annotation and its segment must be objects", item)
                continue
            category = read_whole(row.get("category_id", segment.get("category_id")))
            label = self.classes.label(category)
            if label is None:
                builder.fault("unknown-category", f"there is no category {shortened(category)}", item)
                continue
            key = to_whole(segment.get("id"))
            mask = None if key is None else masks.get(key)
            more = {STUFF: 0} if self.classes.is_stuff(label, category) else None
            numbers[position] = builder.region(key, label, _box(row), item, mask=mask, more=more)
            if row.get("iscrowd", segment.get("iscrowd")):
                builder.attributes(numbers[position], CROWD, item)
        return numbers

    def _masks(self, builder: GraphBuilder, value: Mapping[str, Any], segments: Sequence[Any]) -> Mapping[int, Mask]:
        given = value.get("pan_seg_file_name")
        if self.segments_uri is None or not isinstance(given, str) or not given:
            return {}
        try:
            rgb = self.reading.roots.image(join_uri(self.segments_uri, given)).array()
        except (ImageError, OSError) as error:
            builder.fault("bad-segments-file", str(error))
            return {}
        if rgb.shape[:2] != (builder.height, builder.width):
            size = f"{rgb.shape[1]}x{rgb.shape[0]}"
            builder.fault("mask-size", f"id PNG {given} is {size}, its image {builder.width}x{builder.height}")
            return {}
        ids = segment_ids(rgb)
        present = set(np.unique(ids).tolist())
        numbers = []
        for position, segment in enumerate(segments):
            number = to_whole(segment.get("id")) if isinstance(segment, dict) else None
            if number in present and number not in numbers:
                numbers.append(number)
            else:
                detail = f"no pixel of the PNG belongs to segment {shortened(number)}, or it is listed before"
                builder.fault("missing-segment", detail, f"segments_info[{position}]")
        return dict(zip(numbers, segment_masks(ids, numbers), strict=True))

    def _relations(self, builder: GraphBuilder, rows: Any, numbers: Mapping[int, int]) -> None:
        if not isinstance(rows, list):
            if rows is not None:
                builder.fault("bad-relation", f"relations must be a list, not {shortened(rows)}")
            return
        for position, row in enumerate(rows):
            item = f"relations[{position}]"
            whole = [read_whole(one) for one in row] if isinstance(row, list) else []
            if len(whole) != len("sop") or None in whole:
                detail = f"{shortened(row)} must be three whole numbers, [subject, object, predicate]"
                builder.fault("bad-relation", detail, item)
                continue
            subject, other, predicate = whole
            name = self.classes.predicate(predicate)
            if name is None:
                builder.fault("unknown-predicate", f"there is no predicate {predicate}", item)
                continue
            builder.relate(numbers.get(subject), name, numbers.get(other), item)  # type: ignore[arg-type]


def _list(builder: GraphBuilder, value: Mapping[str, Any], key: str) -> list[Any]:
    rows = value.get(key)
    if rows is not None and not isinstance(rows, list):
        builder.fault("bad-annotation", f"{key} must be a list, not {shortened(rows)}")
    return rows if isinstance(rows, list) else []


def _box(row: Mapping[str, Any]) -> XYXY | None:
    box = row.get("bbox")
    if not isinstance(box, list):
        return None if box is None else [box]
    numbers = [read_number(one) for one in box]
    if row.get("bbox_mode") == _XYWH and len(numbers) == len("xywh") and None not in numbers:
        x, y, width, height = numbers
        return x, y, x + width, y + height  # type: ignore[operator]
    return box if None in numbers else numbers
