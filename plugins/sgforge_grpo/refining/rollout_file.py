"""`rollouts.jsonl.zst`: every answer of a refinement with what each reward gave it, one JSON line each.

A step is one zstd frame; frames stand behind each other, which every zstd reader takes for one file. A run that goes on
cuts off what came after the state that it goes on from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from numcodecs import zstd

from sgforge.graph import SceneGraph
from sgforge.stages import Credit
from sgforge_grpo.refining.drawing import Group

__all__ = ["NAME", "RolloutFile", "read_rollouts", "rows_of"]

NAME: Final = "rollouts.jsonl.zst"
_LEVEL: Final = 3


def rows_of(step: int, groups: Sequence[Group], lessons: dict[int, float]) -> list[dict[str, Any]]:
    """The answers of a step as JSON; `lessons`: the advantage by the id of a rollout that was learnt from."""
    found = []
    for number, group in enumerate(groups):
        for one in group.answers:
            rollout, outcome = one.rollout, one.rollout.outcome
            row: dict[str, Any] = {
                "step": step,
                "image_id": rollout.sample.image_id,
                "part": rollout.part,
                "group": number,
                "text": outcome.text,
                "tokens": len(rollout.tokens),
                "logprob": sum(rollout.logprobs),
                "relations": _triplets(outcome.graph),
                "faults": list(outcome.faults),
                "total": one.total,
                "advantage": lessons.get(id(rollout)),
            }
            if isinstance(one.credit, Credit):
                row["parts"] = dict(one.credit.parts)
            else:
                row["failed"] = [one.credit.reason, one.credit.detail]
            found.append(row)
    return found


def _triplets(graph: SceneGraph | None) -> list[list[Any]] | None:
    """What was said: indices of regions, and predicates."""
    return None if graph is None else [[row.subject, row.predicate, row.object] for row in graph.relations.values()]


class RolloutFile:
    """Rows go to its end; rank 0 alone has one."""

    def __init__(self, folder: Path, begin: int) -> None:
        self._path = folder / NAME
        self._path.touch()
        with self._path.open("r+b") as file:
            file.truncate(begin)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._path.stat().st_size

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write the rows of a step as a frame."""
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        frame: bytes = zstd.compress(text.encode("utf-8", "replace"), _LEVEL)
        with self._path.open("ab") as file:
            file.write(frame)


def read_rollouts(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, in order."""
    data = path.read_bytes()
    for line in zstd.decompress(data).splitlines() if data else ():
        yield json.loads(line)
