"""The source `refcoco`: phrases that refer to objects (Yu et al. 2016; Mao et al. 2016) into samples.

A region is an object that is referred to, with its box and mask from instances.json; the sentences are its
descriptions. A picture is named by instances.json, as names in the references carry the number of their annotation.
Failures of rows: those of `GraphBuilder`, bad-reference, unknown-object (a reference to no object of instances.json),
bad-mask; of an image: bad-image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Mask, Sample
from sgforge.plain_pickle import read_plain_pickle
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.coco.annotation import CROWD
from sgforge_formats.coco.images import MAX_SIDE, image_id_of
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.reading.json_rows import json_rows, opened
from sgforge_formats.reading.numbers import read_number, read_whole

__all__ = ["RefcocoSource"]

_LISTS: Final = ("images", "annotations", "categories")


class RefcocoSource(AnnotatedSource):
    """Reads RefCOCO: one sample an image that is referred to, in the order of the references."""

    files: ClassVar[tuple[str, ...]] = ("refs", "instances")

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every image that is referred to."""
        path = reading.files["refs"]
        by_image, faults = _by_image(path)
        yield from faults
        wanted = {one.annotation for refs in by_image.values() for one in refs}
        objects = _Objects.of(reading.files["instances"], set(by_image), wanted)
        yield from objects.failures
        for image_id, refs in by_image.items():
            yield from _image(image_id, refs, objects, reading, path.name)


@attrs.frozen
class _Reference:
    """One reference: its place, its id, the annotation it means, its split and sentences."""

    position: int
    number: int | None
    annotation: int
    split: str | None
    sentences: Sequence[Any]


def _by_image(path: Path) -> tuple[dict[str, list[_Reference]], list[SourceFailure]]:
    rows = read_plain_pickle(path, "references")
    found: dict[str, list[_Reference]] = {}
    faults: list[SourceFailure] = []
    for position, given in enumerate(rows if isinstance(rows, list) else [rows]):
        row = given if isinstance(given, dict) else {}
        image_id, annotation = image_id_of(row.get("image_id")), read_whole(row.get("ann_id"))
        sentences = row.get("sentences")
        if image_id is None or annotation is None or not isinstance(sentences, list):
            detail = f"a reference needs image_id, ann_id and sentences, not {shortened(row)}"
            where = f"{path.name}: [{position}]"
            faults.append(SourceFailure(where, "bad-reference", detail, loses="annotation"))
            continue
        split = row.get("split")
        one = _Reference(
            position=position,
            number=read_whole(row.get("ref_id")),
            annotation=annotation,
            split=split if isinstance(split, str) and split else None,
            sentences=sentences,
        )
        found.setdefault(image_id, []).append(one)
    return found, faults


@attrs.frozen
class _Objects:
    """What instances.json says of the images and annotations that are referred to."""

    images: Mapping[str, Mapping[str, Any]]
    annotations: Mapping[int, Mapping[str, Any]]
    names: Mapping[int, str]
    failures: Sequence[SourceFailure]

    @classmethod
    def of(cls, path: Path, images: set[str], annotations: set[int]) -> _Objects:
        """Read row by row; what nobody refers to is passed over."""
        found: dict[str, dict[Any, Any]] = {key: {} for key in _LISTS}
        failures = []
        with opened(path) as stream:
            for row in json_rows(stream, path.name, "COCO", _LISTS):
                if isinstance(row, SourceFailure):
                    failures.append(attrs.evolve(row, loses="annotation"))
                    continue
                value = row.value if isinstance(row.value, dict) else {}
                number = read_whole(value.get("id"))
                if row.key == "categories":
                    found["categories"][number] = value.get("name")
                elif row.key == "images" and image_id_of(value.get("id")) in images:
                    found["images"][image_id_of(value.get("id"))] = value
                elif row.key == "annotations" and number in annotations:
                    found["annotations"][number] = value
        return cls(found["images"], found["annotations"], found["categories"], failures)


def _image(
    image_id: str, refs: Sequence[_Reference], objects: _Objects, reading: Reading, name: str
) -> Iterator[Sample | SourceFailure]:
    where = f"{name}: image {image_id}"
    image = objects.images.get(image_id, {})
    sides = [read_whole(image.get(side) or 0) for side in ("width", "height")]
    if not image or not all(side is not None and 0 <= side <= MAX_SIDE for side in sides):
        detail = f"instances.json has no image {image_id}, or none with a size in pixels"
        yield SourceFailure(where, "bad-image", detail, image_id)
        return
    builder = GraphBuilder(
        where=where, image_id=image_id, width=sides[0] or 0, height=sides[1] or 0, tally=reading.tally
    )
    for one in refs:
        _refer(builder, one, objects)
    splits = {one.split for one in refs}
    if len(splits) > 1:
        reading.tally.add("images whose references are of several splits; they have that of the first")
    given = image.get("file_name")
    names = (given, given.rpartition("_")[2]) if isinstance(given, str) and given else ()
    sample = builder.sample(reading.uri(*names), reading.split or refs[0].split)
    yield from builder.faults
    yield sample


def _refer(builder: GraphBuilder, one: _Reference, objects: _Objects) -> None:
    item = f"[{one.position}]"
    row = objects.annotations.get(one.annotation)
    if row is None:
        builder.fault("unknown-object", f"instances.json has no annotation {one.annotation}", item)
        return
    index = builder.index_of(one.annotation)
    if index is None:
        box = row.get("bbox")
        numbers = [read_number(number) for number in box] if isinstance(box, list) else []
        corners: Any = None if box is None else [box]
        if len(numbers) == len("xywh") and None not in numbers:
            x, y, width, height = numbers
            corners = (x, y, x + width, y + height)  # type: ignore[operator]
        label = objects.names.get(read_whole(row.get("category_id")) or 0)
        mask = _mask(builder, row.get("segmentation"), item)
        more = None if one.number is None else {"ref_id": one.number}
        index = builder.region(one.annotation, label, corners, item, mask=mask, more=more)
        if row.get("iscrowd"):
            builder.attributes(index, CROWD, item)
    for sentence in one.sentences:
        text = sentence.get("raw") or sentence.get("sent") if isinstance(sentence, dict) else sentence
        builder.describe(index, text, item)


def _mask(builder: GraphBuilder, outline: Any, item: str) -> Mask | None:
    if not outline or not builder.width:
        return None
    try:
        if isinstance(outline, dict):
            return masks.from_coco(outline["counts"], builder.height, builder.width)
        return masks.from_polygons(outline, builder.height, builder.width)
    except (GraphError, KeyError, TypeError, ValueError) as error:
        builder.fault("bad-mask", f"its segmentation: {error}", item)
        return None
