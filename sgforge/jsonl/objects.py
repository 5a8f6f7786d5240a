"""One line of graph JSONL as a `Sample`, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import attrs
import numpy as np
import orjson

from sgforge import masks as masks_
from sgforge.edits import with_values
from sgforge.errors import GraphError
from sgforge.graph import Box, Mask, Region, Relation, Sample, SceneGraph
from sgforge.jsonl.further import add_values, values_of_line
from sgforge.jsonl.keys import doubled_key_of_graph
from sgforge.jsonl.numbers import shortest, shortest_or_none
from sgforge.jsonl.rules import Flaw, line_flaws

__all__ = [
    "GraphLine",
    "decode_line",
    "decode_masks",
    "dump_lines",
    "dump_sample",
    "mask_flaw",
    "parse_graph_line",
    "parse_line",
    "region_rows",
    "relation_rows",
    "shown_json",
]

_NUMBERS: Final = ("score", "depth", "degree")
_TEXTS: Final = ("source", "reason", "made_by", "judged_by")
_MORE_OF_REGION: Final = (*_NUMBERS, "parent", "level", *_TEXTS)
_MORE_OF_RELATION: Final = ("score", "degree", "reason", "made_by", "judged_by")
_NOTHING_OF_REGION: Final = (None,) * len(_MORE_OF_REGION)
_NOTHING_OF_RELATION: Final = (None,) * len(_MORE_OF_RELATION)
_texts_of_region: Final = attrgetter(*_TEXTS)

_OBEYED: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""UTF-8 of U+007F to U+009F, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069; JSON escapes those below itself."""


@attrs.frozen
class GraphLine:
    """One line: the sample, and for a prediction that could not be made the reason why (else None)."""

    sample: Sample
    failed: str | None = None


def decode_line(line: bytes | str, where: str) -> Any:
    """The JSON value of a line; anything else, or an object with a key twice, is a `GraphError` naming `where`."""
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise GraphError(f"{where}: not valid JSON: {error.msg} (character {error.pos})") from None
    twice = doubled_key_of_graph(line if isinstance(line, bytes) else line.encode(), data)
    if twice is not None:
        raise GraphError(f"{where}: the key {twice!r} stands twice in one object")
    return data


def decode_masks(rows: Sequence[Mapping[str, Any]]) -> tuple[masks_.MaskTable, np.ndarray]:
    """Masks of `{"size": [h, w], "counts": "..."}` rows whose fields are right, and a fault code per mask."""
    counts = [row["counts"].encode("ascii") for row in rows]
    frame = np.array([row["size"] for row in rows], np.int64).reshape(-1, 2)
    return masks_.from_coco_strings(masks_.CocoStrings.of(counts), frame)


def mask_flaw(region: int, fault: int, row: Mapping[str, Any]) -> Flaw:
    """The flaw of a mask whose run lengths are wrong."""
    message = masks_.fault_text(fault, *row["size"])
    return Flaw(f"regions[{region}].mask.counts", "mask", "mask", message)


def parse_line(line: bytes | str, where: str) -> Sample:
    """The sample of one line, as `parse_graph_line`, without a prediction's `failed`."""
    return parse_graph_line(line, where).sample


def parse_graph_line(line: bytes | str, where: str) -> GraphLine:
    """One line of graph JSONL; the first broken rule is a `GraphError`: "`where`: JSON path: what is wrong"."""
    data = decode_line(line, where)
    for flaw in line_flaws(data):
        raise _error(flaw, where)
    found = _masks_by_region(data["regions"], where)
    try:
        return _build(data, found)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from None


def _masks_by_region(regions: Sequence[Mapping[str, Any]], where: str) -> dict[int, Mask]:
    rows = [(index, row["mask"]) for index, row in enumerate(regions) if row.get("mask") is not None]
    if not rows:
        return {}
    table, faults = decode_masks([row for _, row in rows])
    for (index, row), fault in zip(rows, faults.tolist(), strict=True):
        if fault:
            raise _error(mask_flaw(index, fault, row), where)
    return dict(zip((index for index, _ in rows), table.masks(), strict=True))


def _error(flaw: Flaw, where: str) -> GraphError:
    return GraphError(f"{where}: {flaw.path}: {flaw.message}" if flaw.path else f"{where}: {flaw.message}")


def _build(data: Mapping[str, Any], found: Mapping[int, Mask]) -> GraphLine:
    graph = SceneGraph(
        width=data["width"],
        height=data["height"],
        regions=[_region(row, found.get(index)) for index, row in enumerate(data["regions"])],
        relations=[Relation(**_own(row)) for row in data.get("relations") or ()],
        attributes=data.get("attributes") or {},
    )
    sample = Sample(
        image_id=data["image_id"],
        graph=graph,
        uri=data.get("uri"),
        split=data.get("split"),
        source=data.get("source"),
        sha256=data.get("sha256"),
    )
    return GraphLine(with_values(sample, values_of_line(data)), data.get("failed"))


def _given(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {key: value for key, value in row.items() if value is not None}


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row of the graph that have a value, without those of further columns."""
    return {key: value for key, value in row.items() if value is not None and key != "x"}


def _region(row: Mapping[str, Any], mask: Mask | None) -> Region:
    return Region(**{**_own(row), "mask": mask})


def shown_json(text: bytes) -> bytes:
    """The same JSON with every sign escaped that a terminal obeys or that breaks or turns lines of text."""
    if text.isascii() and b"\x7f" not in text:  # nearly all of it, and told in a tenth of the time
        return text
    return _OBEYED.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), text)


def dump_sample(sample: Sample, failed: str | None = None) -> bytes:
    """One line of graph JSONL, UTF-8, with the line break; see `dump_lines`."""
    return dump_lines([GraphLine(sample, failed)])[0]


def dump_lines(lines: Sequence[GraphLine]) -> list[bytes]:
    """Lines of graph JSONL, UTF-8, each with its line break; fields without a value are left out.

    Numbers are written as short as float32 allows. Texts and JSON of further columns come under `x`; their numbers and
    files have no text form. A text that is no valid Unicode is a `GraphError`. Many lines at once take a fraction of
    the time of one by one.
    """
    regions = iter(region_rows([region for line in lines for region in line.sample.graph.all.regions]))
    relations = iter(relation_rows([row for line in lines for row in line.sample.graph.all.relations]))
    return [_dumped(line, regions, relations) for line in lines]


def _dumped(line: GraphLine, regions: Iterator[dict[str, Any]], relations: Iterator[dict[str, Any]]) -> bytes:
    sample, graph = line.sample, line.sample.graph
    data: dict[str, Any] = {"image_id": sample.image_id, "width": graph.width, "height": graph.height}
    given = {"uri": sample.uri, "split": sample.split, "source": sample.source, "sha256": sample.sha256}
    data.update(_given({**given, "failed": line.failed}))
    if graph.attributes:
        data["attributes"] = dict(graph.attributes)
    data["regions"] = list(islice(regions, len(graph.all.regions)))
    data["relations"] = list(islice(relations, len(graph.all.relations)))
    if sample.has_values:
        add_values(data, sample)
    try:
        return shown_json(orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise GraphError(f"image {sample.image_id!r} cannot be written as JSON: {error}") from None


def region_rows(regions: Sequence[Region]) -> Iterator[dict[str, Any]]:
    """Regions as their JSON objects, masks as compressed run lengths of the full frame."""
    counts = iter(masks_.to_coco_batch([region.mask for region in regions if region.mask is not None]))
    boxes = iter(_short_boxes([region.box for region in regions if region.box is not None]))
    numbers = zip(*(shortest_or_none(getattr(region, name) for region in regions) for name in _NUMBERS), strict=True)
    for region, (score, depth, degree) in zip(regions, numbers, strict=True):
        row: dict[str, Any] = {"label": region.label, "box": None if region.box is None else next(boxes)}
        if region.mask is not None:
            row["mask"] = {"size": [region.mask.height, region.mask.width], "counts": next(counts).decode("ascii")}
        if region.descriptions:
            row["descriptions"] = list(region.descriptions)
        if region.attributes:
            row["attributes"] = list(region.attributes)
        row["status"] = region.status
        more = (score, depth, degree, region.parent, region.level, *_texts_of_region(region))
        if more != _NOTHING_OF_REGION:
            row.update((name, value) for name, value in zip(_MORE_OF_REGION, more, strict=True) if value is not None)
        yield row


def _short_boxes(boxes: Sequence[Box]) -> list[list[float]]:
    rows: list[list[float]] = shortest(np.array(boxes, np.float32).reshape(-1)).reshape(-1, 4).tolist()
    return rows


def relation_rows(relations: Sequence[Relation]) -> Iterator[dict[str, Any]]:
    """Relations as their JSON objects."""
    numbers = zip(
        *(shortest_or_none(getattr(relation, name) for relation in relations) for name in ("score", "degree")),
        strict=True,
    )
    for relation, (score, degree) in zip(relations, numbers, strict=True):
        row = {
            "subject": relation.subject,
            "predicate": relation.predicate,
            "object": relation.object,
            "category": relation.category,
            "status": relation.status,
        }
        more = (score, degree, relation.reason, relation.made_by, relation.judged_by)
        if more != _NOTHING_OF_RELATION:
            row.update((name, value) for name, value in zip(_MORE_OF_RELATION, more, strict=True) if value is not None)
        yield row
