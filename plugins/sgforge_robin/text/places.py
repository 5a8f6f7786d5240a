"""Boxes and points as text, in thousandths of the image's sides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

__all__ = ["BOX_END", "BOX_START", "Thousandths", "box_text", "parse_boxes", "point_text", "thousandths"]

Thousandths = tuple[int, int, int, int]
Box = Sequence[float]

BOX_START: Final = "<|box_start|>"
BOX_END: Final = "<|box_end|>"
_BOX: Final = re.compile(r"<\|box_start\|>\((\d{1,4}),(\d{1,4})\),\((\d{1,4}),(\d{1,4})\)<\|box_end\|>")
_PLAIN_BOX: Final = re.compile(r"\[(\d{1,4}),(\d{1,4}),(\d{1,4}),(\d{1,4})\]")


def box_text(
    boxes: Sequence[Box],
    width: float,
    height: float,
    qwen: bool = True,
    parity: bool = False,
    aspect: Literal["pad", "square", "stretch"] = "stretch",
) -> str:
    """Boxes (xyxy, pixels) of an image as text: `<|box_start|>(x0,y0),(x1,y1)<|box_end|>` each, nothing between.

    Without `qwen`, `<box>[[x0,y0,x1,y1],...]</box>`. Coordinates are clipped to the image and rounded to thousandths of
    its sides, 0 to 1000. `parity` truncates instead, as the released code does, and with aspect "square" also lets the
    shorter side grow right or down to the longer, past the image if need be.
    """
    places = [thousandths(box, width, height, parity, aspect) for box in boxes]
    if not qwen:
        return f"<box>[{','.join(f'[{x0},{y0},{x1},{y1}]' for x0, y0, x1, y1 in places)}]</box>"
    return "".join(f"{BOX_START}({x0},{y0}),({x1},{y1}){BOX_END}" for x0, y0, x1, y1 in places)


def point_text(x: float, y: float, width: float, height: float, parity: bool = False) -> str:
    """A point, in pixels, as text: `<point>[[x,y]]</point>` in thousandths."""
    across, down = (_whole(_share(value, side), parity) for value, side in ((x, width), (y, height)))
    return f"<point>[[{across},{down}]]</point>"


def thousandths(
    box: Box, width: float, height: float, parity: bool = False, aspect: Literal["pad", "square", "stretch"] = "stretch"
) -> Thousandths:
    """A box (xyxy, pixels) in thousandths of the image's sides."""
    x0, y0, x1, y1 = (_share(value, side) for value, side in zip(box, (width, height, width, height), strict=True))
    if parity and aspect == "square":
        side = max(x1 - x0, y1 - y0)
        x1, y1 = x0 + side, y0 + side
    return _whole(x0, parity), _whole(y0, parity), _whole(x1, parity), _whole(y1, parity)


def parse_boxes(text: str) -> tuple[Thousandths, ...]:
    """All boxes in a text, in either form; coordinates over 1000 and boxes turned over are passed over."""
    found = [*_BOX.findall(text), *_PLAIN_BOX.findall(text)]
    boxes = [tuple(int(value) for value in groups) for groups in found]
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in boxes if x0 <= x1 <= 1000 and y0 <= y1 <= 1000)


def _share(value: float, side: float) -> float:
    return min(max(value / side, 0.0), 1.0)


def _whole(share: float, parity: bool) -> int:
    return int(share * 1000) if parity else round(share * 1000)
