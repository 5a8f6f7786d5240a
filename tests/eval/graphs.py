"""Small graph JSONL files for the tests of the command and of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def region(label: str | None, box: list[float] | None, **more: Any) -> dict[str, Any]:
    """A region row."""
    return {"label": label, "box": box, **more}


def relation(subject: int, predicate: str, target: int, **more: Any) -> dict[str, Any]:
    """A relation row."""
    return {"subject": subject, "predicate": predicate, "object": target, **more}


CUP, TABLE, FAR = [0, 0, 10, 10], [0, 10, 60, 60], [80, 80, 90, 90]


def line(image_id: str, regions: list | None = None, relations: list | None = None, **more: Any) -> dict[str, Any]:
    """One image: a cup, a table and a chair unless other regions are given."""
    if regions is None:
        regions = [region("cup", CUP), region("table", TABLE), region("chair", FAR)]
    return {"image_id": image_id, "width": 100, "height": 100, "regions": regions, "relations": relations or [], **more}


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    """A JSONL file; a text stands as it is (NaN and broken lines)."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in lines))
    return path
