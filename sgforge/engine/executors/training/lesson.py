"""Lesson: what a training is asked, and what it answers, also as messages to another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgpack

from sgforge.engine.executors.answering import Outcome
from sgforge.engine.executors.error_messages import error_fields, error_of
from sgforge.errors import SgforgeError
from sgforge.stages import Checkpoint, Selection

__all__ = [
    "Lesson",
    "checkpoint_fields",
    "checkpoint_of",
    "pack_lesson",
    "pack_taught",
    "unpack_lesson",
    "unpack_taught",
]


@attrs.frozen(kw_only=True)
class Lesson:
    """What a training reads and where it writes: which images of a snapshot, and the folder of its step."""

    step: str
    snapshot: Path
    selection: Selection
    folder: Path

    @property
    def out(self) -> Path:
        """The folder that the component may write to, and resumes from."""
        return self.folder / "out"


def pack_lesson(lesson: Lesson) -> bytes:
    """A lesson for another process that sees the dataset's folder."""
    on = lesson.selection
    return _packed([lesson.step, str(lesson.snapshot.resolve()), on.sources, on.splits, str(lesson.folder.resolve())])


def unpack_lesson(message: bytes) -> Lesson:
    """The lesson that `pack_lesson` packed."""
    step, snapshot, sources, splits, folder = msgpack.unpackb(message)
    return Lesson(
        step=step,
        snapshot=Path(snapshot),
        selection=Selection(_names(sources), _names(splits)),
        folder=Path(folder),
    )


def checkpoint_fields(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as plain values; its folder by its path."""
    metrics = {name: float(value) for name, value in checkpoint.metrics.items()}
    return {"path": str(checkpoint.path.resolve()), "sha256": checkpoint.sha256, "metrics": metrics}


def checkpoint_of(fields: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of which `checkpoint_fields` gave these."""
    return Checkpoint(Path(fields["path"]), fields["sha256"], fields["metrics"])


def pack_taught(taught: Sequence[Outcome] | SgforgeError) -> bytes:
    """What a training came to: its checkpoint, nothing after a stop, or its error."""
    if isinstance(taught, SgforgeError):
        return _packed({"error": error_fields(taught)})
    return _packed({"checkpoints": [checkpoint_fields(outcome.answer) for outcome in taught]})


def unpack_taught(message: bytes) -> list[Outcome]:
    """What `pack_taught` packed; an error is raised."""
    given: Mapping[str, Any] = msgpack.unpackb(message)
    if "error" in given:
        raise error_of(given["error"])
    return [Outcome(checkpoint_of(fields)) for fields in given["checkpoints"]]


def _names(value: list[str] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed
