"""The small values that the engine hands to the dataset and gets back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import google_crc32c

from sgforge.edits import Value

__all__ = [
    "ANSWER_COLUMNS",
    "RECORD_COLUMNS",
    "SOURCE_STEP",
    "USE_COLUMNS",
    "FolderUse",
    "JournalRow",
    "ReadingRecord",
    "RunRecord",
    "Selected",
    "StateRef",
    "StepRecord",
    "answer_crc",
    "is_record",
    "is_sound",
    "record_crc",
    "use_of",
]

ANSWER_COLUMNS: Final = "key, image_id, step, edit, calls, run, counts, parent_key"
"""The columns of an answer in the journal; `crc` is over these."""
USE_COLUMNS: Final = "folder, step, run, branch, snapshot, used, is_final"
"""The columns of a use of a step's folder in the journal."""
RECORD_COLUMNS: Final = {
    "run": "run_id, config, versions, started",
    "step": "name, verb, component, fingerprint, options",
    "start": "snapshot",
    "open_answer": "key",
    "file_hash": "uri, size, mtime_ns, sha256",
    "reading": "identity, stamp, snapshot, told",
    "folder_use": USE_COLUMNS,
}
"""The columns of other tables of the journal; `crc` is over these."""


SOURCE_STEP: Final = "source"
"""The name of the step whose snapshot holds what sources gave; its rows have no `made_by`."""


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


def _versions(value: Mapping[str, str]) -> dict[str, str]:
    return dict(value)


def _counts(value: Mapping[str, int]) -> dict[str, int]:
    return dict(value)


@attrs.frozen
class JournalRow:
    """One finished answer.

    `key`: the state that the edit makes. `edit`: packed, as it took effect. `calls`: ids of the model calls used.
    `run`: the run's id. `counts`: parts of the answer left out, by reason. `parent_key`: the state that the edit was
    applied to; with it `sgforge publish` can seal an unfinished step.
    """

    key: bytes
    image_id: str
    step: str
    edit: bytes
    calls: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    run: str = ""
    counts: Mapping[str, int] = attrs.field(factory=dict, converter=_counts, hash=False)
    parent_key: bytes = b""


def answer_crc(values: Sequence[Any]) -> int:
    """crc32c over an answer as the journal stores it, its values in the order of `ANSWER_COLUMNS`."""
    key, image_id, step, edit, calls, run, counts, parent_key = values
    texts = "\0".join((image_id, step, calls, run, counts)).encode()
    crc: int = google_crc32c.value(b"\0".join((key, texts, parent_key, edit)))
    return crc


def is_sound(stored: Sequence[Any]) -> bool:
    """Whether an answer and its crc, which stands behind it, are what was kept; before there was one it is None."""
    *values, crc = stored
    try:
        return crc is None or crc == answer_crc(values)
    except (TypeError, ValueError):  # a text that is none any more
        return False


def record_crc(values: Sequence[Any]) -> int:
    """crc32c over a row of one of the tables of `RECORD_COLUMNS`."""
    crc: int = google_crc32c.value("\0".join(map(str, values)).encode())
    return crc


def is_record(row: Sequence[Any]) -> bool:
    """Whether a row, its crc before its values, is what was kept; before there was one it is None."""
    crc, *values = row
    try:
        return crc is None or crc == record_crc(values)
    except (TypeError, ValueError):  # a text that is none any more
        return False


@attrs.frozen
class Selected:
    """What a selector answered, besides leaving images as they are.

    `dropped`: the answers that take images out, by the key of the state that each makes. `chosen`: what belongs to the
    version that is published, by row of its parent.
    """

    dropped: Mapping[bytes, JournalRow] = attrs.field(factory=dict)
    chosen: Mapping[int, Value] = attrs.field(factory=dict)


@attrs.frozen
class RunRecord:
    """One run: its id, its config as JSON, the versions of everything it used, and when it started (ISO 8601)."""

    run_id: str
    config_json: str = "{}"
    versions: Mapping[str, str] = attrs.field(factory=dict, converter=_versions, hash=False)
    started: str = ""


@attrs.frozen
class StepRecord:
    """The step that made a snapshot; `counts` are those of the run that published it."""

    name: str
    verb: str
    component: str
    fingerprint: str
    options_json: str = "{}"
    counts: Mapping[str, int] = attrs.field(factory=dict, converter=_counts, hash=False)


@attrs.frozen
class ReadingRecord:
    """The last reading of a source: under which options (`identity`), from which files (`stamp`, a digest), in which
    snapshot its images stand, and what was told of the others (JSON)."""

    identity: str
    stamp: str
    snapshot_id: str
    told: str


@attrs.frozen(kw_only=True)
class FolderUse:
    """That a run used or made the folder of a barrier's step.

    `snapshot_id`: the version that the run ended with, and before it has ended (`is_final` is False) the one that the
    step read. `branch`: the one that the run moves. `used`: when, ISO 8601.
    """

    folder: str
    step: str
    run_id: str
    branch: str
    snapshot_id: str
    used: str
    is_final: bool = False


def use_of(stored: Sequence[Any]) -> FolderUse:
    """A use as the journal stores it, its values in the order of `USE_COLUMNS`."""
    folder, step, run, branch, snapshot, used, is_final = stored
    return FolderUse(
        folder=str(folder),
        step=str(step),
        run_id=str(run),
        branch=str(branch),
        snapshot_id=str(snapshot),
        used=str(used),
        is_final=bool(is_final),
    )


@attrs.frozen
class StateRef:
    """Where the state of one image stands: a snapshot and the image's row in it."""

    snapshot_id: str
    row: int
