"""What is left of a line that breaks rules, and the report of what was taken out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from sgforge.errors import GraphError
from sgforge.jsonl.keys import doubled_key
from sgforge.jsonl.objects import decode_line, decode_masks, mask_flaw
from sgforge.jsonl.rules import IMAGE_REQUIRED, Flaw, Reason, image_flaws, region_flaws, relation_flaws

__all__ = ["CleanedLine", "LineFault", "clean_line", "decode_leniently", "id_of"]


@attrs.frozen
class LineFault:
    """Something that was left out of a file: line from 1, image id if it has one, JSON path, reason code, sentence."""

    line: int
    image_id: str | None
    path: str
    reason: Reason
    message: str


@attrs.frozen
class CleanedLine:
    """`data`: the decoded line without what breaks the rules, None if nothing can be kept; `faults`: what went."""

    data: dict[str, Any] | None
    faults: tuple[LineFault, ...]


def clean_line(line: bytes, number: int) -> CleanedLine:
    """Take out of a line what breaks the rules; boxes without area and relations of a region to itself are kept.

    A relation goes as a whole, of a region only the field: regions are known by their number.
    """
    try:
        data = decode_leniently(line)
    except GraphError as error:
        return CleanedLine(
            None,
            (LineFault(line=number, image_id=None, path="", reason="json", message=str(error).removeprefix(": ")),),
        )
    image_id = id_of(data)
    flaws = list(image_flaws(data))
    if any(not flaw.key or flaw.key in IMAGE_REQUIRED for flaw in flaws):
        return CleanedLine(None, _faults(flaws, number, image_id))
    for flaw in flaws:
        data.pop(flaw.key)
    flaws.extend(_clean_regions(data))
    flaws.extend(_clean_relations(data))
    return CleanedLine(data, _faults(flaws, number, image_id))


def decode_leniently(line: bytes) -> Any:
    """The JSON value of a line; NaN and Infinity, which no JSON has but many writers write, are faults of a field."""
    try:
        return decode_line(line, "")
    except GraphError:
        try:
            data = json.loads(line.decode())  # of bytes it would guess the encoding, and pass over a mark
            json.dumps(data, ensure_ascii=False).encode()  # fails on half a surrogate pair, which json.loads lets by
        except (ValueError, RecursionError):
            pass
        else:
            if doubled_key(line, data) is None:
                return data
        raise


def id_of(data: Any) -> str | None:
    """The image id of a decoded line, None if it has none that is a text."""
    image_id = data.get("image_id") if isinstance(data, dict) else None
    return image_id if isinstance(image_id, str) else None


def _faults(flaws: list[Flaw], number: int, image_id: str | None) -> tuple[LineFault, ...]:
    return tuple(
        LineFault(line=number, image_id=image_id, path=flaw.path, reason=flaw.reason, message=flaw.message)
        for flaw in flaws
    )


def _clean_regions(data: dict[str, Any]) -> Iterator[Flaw]:
    regions = data["regions"]
    for index, row in enumerate(regions):
        flaws = list(region_flaws(row, index, data, lenient=True))
        yield from flaws
        bad = {flaw.key for flaw in flaws}
        regions[index] = {} if "" in bad else {key: value for key, value in row.items() if key not in bad}
    masked = [(index, row) for index, row in enumerate(regions) if row.get("mask") is not None]
    _, faults = decode_masks([row["mask"] for _, row in masked])
    for (index, row), fault in zip(masked, faults.tolist(), strict=True):
        if fault:
            yield mask_flaw(index, fault, row.pop("mask"))


def _clean_relations(data: dict[str, Any]) -> Iterator[Flaw]:
    count, kept = len(data["regions"]), []
    for index, row in enumerate(data.get("relations") or ()):
        flaws = list(relation_flaws(row, index, count, lenient=True))
        yield from flaws
        if not flaws:
            kept.append(row)
    data["relations"] = kept
