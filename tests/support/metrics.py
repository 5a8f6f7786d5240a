"""What the trainings and refinements of a dataset told of their figures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

__all__ = ["is_at", "told"]


def told(data: Path, metric: str) -> dict[int, set[float]]:
    """All that was told of a figure, by step; of one that was done twice there may be two."""
    found: dict[int, set[float]] = {}
    for path in (data / "steps").glob("*/metrics.jsonl"):
        for row in map(json.loads, path.read_text().splitlines()[:-1]):
            if row["metric"] == metric:
                found.setdefault(row["step"], set()).add(row["value"])
    return found


def is_at(data: Path, metric: str, step: int, child: subprocess.Popen[bytes]) -> bool:
    """Whether a child told the figure of that step, or ended."""
    return max(told(data, metric), default=0) >= step or child.poll() is not None
