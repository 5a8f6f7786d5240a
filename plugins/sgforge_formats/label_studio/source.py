"""The source `label-studio`: tasks with boxes, polygons and relations into samples.

Of a task the last annotation that was not cancelled is read, without one its first prediction. Boxes and points are in
hundredths of the picture, whose size each result says. A relation names two results by id; its labels are predicates,
one of two directions makes two relations. Choices and texts of a region become its attributes and descriptions.
Failures of rows: those of `GraphBuilder`, bad-row, bad-result (turned boxes, ellipses, brushes: another kind of
result); of an image: bad-image, duplicate-image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.graph import Mask, Sample
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.coco.images import MAX_SIDE, image_id_of
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.reading.json_rows import JsonRow, json_rows, opened
from sgforge_formats.reading.numbers import read_number, read_whole

__all__ = ["NO_PREDICATE", "LabelStudioSource"]

NO_PREDICATE: Final = "related to"
"""The predicate of a relation without labels, and what the exporter would write for none."""
_BOXES: Final = ("rectanglelabels", "rectangle")
_POLYGONS: Final = ("polygonlabels", "polygon")
_ARROWS: Final[Mapping[str, tuple[bool, bool]]] = {"right": (True, False), "left": (False, True), "bi": (True, True)}


class LabelStudioSource(AnnotatedSource):
    """Reads Label Studio's tasks, one sample a task."""

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every task."""
        path = reading.files["annotations"]
        seen: set[str] = set()
        with opened(path) as stream:
            for row in json_rows(stream, path.name, "Label Studio"):
                if isinstance(row, SourceFailure):
                    yield row
                else:
                    yield from self._task(row, path.name, seen, reading)

    def _task(self, row: JsonRow, name: str, seen: set[str], reading: Reading) -> Iterator[Sample | SourceFailure]:
        where = f"{name}: {row.where}"
        task = row.value if isinstance(row.value, dict) else {}
        image_id = image_id_of(task.get("id"))
        if image_id is None:
            yield SourceFailure(where, "bad-image", f"a task needs an id, not {shortened(row.value)}")
            return
        if image_id in seen:
            yield SourceFailure(where, "duplicate-image", f"task {image_id} was given before", image_id)
            return
        seen.add(image_id)
        results = _results(task)
        width, height = _size(results)
        builder = GraphBuilder(where=where, image_id=image_id, width=width, height=height, tally=reading.tally)
        for position, result in enumerate(results):
            _region(builder, result, f"result[{position}]")
        for position, result in enumerate(results):
            _relation(builder, result, f"result[{position}]")
        data = task.get("data")
        address = data.get(self.options.data_field) if isinstance(data, dict) else None
        more = {"file_name": address} if isinstance(address, str) else None
        sample = builder.sample(reading.uri(*_file_names(address)), reading.split, more=more)
        yield from builder.faults
        yield sample


def _results(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    whole = [one for one in _listed(task, "annotations", "completions") if not one.get("was_cancelled")]
    chosen = whole[-1:] or _listed(task, "predictions")[:1]
    rows = chosen[0].get("result") if chosen else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _listed(task: Mapping[str, Any], *names: str) -> list[Mapping[str, Any]]:
    """The objects in the first of these lists that is one and not empty."""
    given = next((task[name] for name in names if task.get(name)), None)
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _size(results: list[Mapping[str, Any]]) -> tuple[int, int]:
    for result in results:
        sides = [read_whole(result.get(f"original_{side}")) for side in ("width", "height")]
        if all(side is not None and 0 < side <= MAX_SIDE for side in sides):
            return sides[0] or 0, sides[1] or 0
    return 0, 0


def _file_names(address: Any) -> Iterator[str]:
    """Where the picture of an address may be: its path, what a local file's address names, its end without a prefix."""
    if not isinstance(address, str) or not address:
        return
    parts = urlsplit(address)
    path = unquote(parse_qs(parts.query).get("d", [parts.path])[0]).lstrip("/")
    name = path.rpartition("/")[2]
    yield path
    yield name
    if "-" in name:  # an uploaded file has eight digits before its name
        yield name.partition("-")[2]


def _region(builder: GraphBuilder, result: Mapping[str, Any], item: str) -> None:
    kind, value = result.get("type"), result.get("value")
    value = value if isinstance(value, dict) else {}
    key = result.get("id") if isinstance(result.get("id"), str) else None
    known = None if key is None else builder.index_of(key)
    if kind in ("relation", None):
        return
    if kind in ("choices", "textarea") and known is not None:
        say = builder.attributes if kind == "choices" else builder.describe
        say(known, value.get("choices", value.get("text")), item)
        return
    if kind not in (*_BOXES, *_POLYGONS) or read_number(value.get("rotation") or 0) != 0:
        builder.fault("bad-result", f"a result of type {shortened(kind)}, or a turned box, is not read", item)
        return
    if known is not None:  # the same region again: labels of it, beside its shape
        return
    found = next((value[name] for name in (*_BOXES, *_POLYGONS) if isinstance(value.get(name), list)), [])
    label = found[0] if found else None
    box, mask = _box(builder, value) if kind in _BOXES else _polygon(builder, value, item)
    builder.region(key, label, box, item, mask=mask, score=result.get("score"))
    if len(found) > 1:
        builder.attributes(len(builder.drawn) - 1, found[1:], item)


def _box(builder: GraphBuilder, value: Mapping[str, Any]) -> tuple[Any, None]:
    numbers = [read_number(value.get(name)) for name in ("x", "y", "width", "height")]
    if None in numbers:
        return numbers, None
    x, y, width, height = numbers
    shares = (x, y, x + width, y + height)  # type: ignore[operator]
    sides = (builder.width or 100, builder.height or 100) * 2
    return [round(one * side / 100, 6) for one, side in zip(shares, sides, strict=True)], None  # type: ignore[operator]


def _polygon(builder: GraphBuilder, value: Mapping[str, Any], item: str) -> tuple[Any, Mask | None]:
    try:
        points = [(float(x) * builder.width / 100, float(y) * builder.height / 100) for x, y in value["points"]]
        mask = masks.from_polygons([[number for point in points for number in point]], builder.height, builder.width)
    except (GraphError, KeyError, OverflowError, TypeError, ValueError) as error:
        builder.fault("bad-mask", f"its points: {error}", item)
        return None, None
    return None, mask


def _relation(builder: GraphBuilder, result: Mapping[str, Any], item: str) -> None:
    if result.get("type") != "relation":
        return
    ends = [builder.index_of(result[key]) if isinstance(result.get(key), str) else None for key in ("from_id", "to_id")]
    names = result.get("labels") or [NO_PREDICATE]
    for is_asked, (subject, other) in zip(
        _ARROWS.get(str(result.get("direction") or "right"), (True, False)), (ends, ends[::-1]), strict=True
    ):
        for name in names if isinstance(names, list) and is_asked else ():
            builder.relate(subject, name, other, item)
