"""One line of graph JSONL as a `Sample`, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import numpy as np
import orjson

from sgforge import masks as masks_
from sgforge.errors import GraphError
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph, to_float32
from sgforge.jsonl.rules import Flaw, line_flaws

__all__ = [
    "GraphLine",
    "decode_line",
    "decode_masks",
    "dump_sample",
    "mask_flaw",
    "parse_graph_line",
    "parse_line",
    "region_row",
    "relation_row",
    "shown_json",
]

_REGION_TEXTS: Final = ("label", "source", "reason", "made_by", "judged_by")
_RELATION_TEXTS: Final = ("reason", "made_by", "judged_by")
_FEW: Final = 7  # decimal digits that most float32 values made from decimal text need; 9 always suffice

_OBEYED: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""UTF-8 of U+007F to U+009F, U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069; JSON escapes those below itself."""


@attrs.frozen
class GraphLine:
    """One line: the sample, and for a prediction that could not be made the reason why (else None)."""

    sample: Sample
    failed: str | None = None


def decode_line(line: bytes | str, where: str) -> Any:
    """The JSON value of a line; anything else is a `GraphError` naming `where`."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise GraphError(f"{where}: not valid JSON: {error.msg} (character {error.pos})") from None


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
        relations=[Relation(**_given(row)) for row in data.get("relations") or ()],
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
    return GraphLine(sample, data.get("failed"))


def _given(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {key: value for key, value in row.items() if value is not None}


def _region(row: Mapping[str, Any], mask: Mask | None) -> Region:
    return Region(**{**_given(row), "mask": mask})


def shown_json(text: bytes) -> bytes:
    """The same JSON with every sign escaped that a terminal obeys or that breaks or turns lines of text."""
    return _OBEYED.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), text)


def dump_sample(sample: Sample, failed: str | None = None) -> bytes:
    """One line of graph JSONL, UTF-8, with the line break; fields without a value are left out.

    Numbers are written as short as float32 allows. A text that is no valid Unicode is a `GraphError`.
    """
    graph, rows = sample.graph, sample.graph.all
    counts = iter(masks_.to_coco_batch([region.mask for region in rows.regions if region.mask is not None]))
    data: dict[str, Any] = {"image_id": sample.image_id, "width": graph.width, "height": graph.height}
    given = {"uri": sample.uri, "split": sample.split, "source": sample.source, "sha256": sample.sha256}
    data.update(_given({**given, "failed": failed}))
    if graph.attributes:
        data["attributes"] = dict(graph.attributes)
    data["regions"] = [region_row(region, next(counts) if region.mask is not None else None) for region in rows.regions]
    data["relations"] = [relation_row(relation) for relation in rows.relations]
    try:
        return shown_json(orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise GraphError(f"image {sample.image_id!r} cannot be written as JSON: {error}") from None


def region_row(region: Region, counts: bytes | None) -> dict[str, Any]:
    """A region as its JSON object; `counts`: its mask's compressed run lengths of the full frame, where it has one."""
    row: dict[str, Any] = {"label": region.label, "box": None}
    if region.box is not None:
        row["box"] = [_short(side) for side in region.box]
    if region.mask is not None and counts is not None:
        row["mask"] = {"size": [region.mask.height, region.mask.width], "counts": counts.decode("ascii")}
    if region.descriptions:
        row["descriptions"] = list(region.descriptions)
    if region.attributes:
        row["attributes"] = list(region.attributes)
    numbers = {"score": _short(region.score), "depth": _short(region.depth), "degree": _short(region.degree)}
    texts = {name: getattr(region, name) for name in _REGION_TEXTS if name != "label"}
    places = {"parent": region.parent, "level": region.level}
    return {**row, "status": region.status, **_given({**numbers, **places, **texts})}


def relation_row(relation: Relation) -> dict[str, Any]:
    """A relation as its JSON object."""
    row = {
        "subject": relation.subject,
        "predicate": relation.predicate,
        "object": relation.object,
        "category": relation.category,
        "status": relation.status,
    }
    numbers = {"score": _short(relation.score), "degree": _short(relation.degree)}
    return {**row, **_given({**numbers, **{name: getattr(relation, name) for name in _RELATION_TEXTS}})}


def _short(value: float | None) -> float | None:
    """The double with the fewest digits that rounds to the float32 `value`."""
    if value is None or value.is_integer():
        return value
    for digits in (_FEW, _FEW + 1):
        near = float(f"{value:.{digits}g}")
        if to_float32(near) == value:
            return near
    return value
