"""The dataset: a journal of answers, immutable snapshots that plain zarr reads, and refs.

`Dataset` and `Snapshot` read (never writing a byte), `DatasetWriter` writes; names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgforge.lazy import names_from

__all__ = [
    "Dataset",
    "DatasetWriter",
    "FolderUse",
    "Journal",
    "JournalRow",
    "KnownWork",
    "ReadingRecord",
    "RunRecord",
    "Selected",
    "Snapshot",
    "StateIndex",
    "StateRef",
    "StepRecord",
]

_HOMES = {
    "Dataset": "sgforge.dataset.reader",
    "DatasetWriter": "sgforge.dataset.writer",
    "FolderUse": "sgforge.dataset.records",
    "Journal": "sgforge.dataset.journal",
    "JournalRow": "sgforge.dataset.records",
    "KnownWork": "sgforge.dataset.states.known_states",
    "ReadingRecord": "sgforge.dataset.records",
    "RunRecord": "sgforge.dataset.records",
    "Selected": "sgforge.dataset.records",
    "Snapshot": "sgforge.dataset.snapshot",
    "StateIndex": "sgforge.dataset.states.state_index",
    "StateRef": "sgforge.dataset.records",
    "StepRecord": "sgforge.dataset.records",
}


__getattr__ = names_from(__name__, _HOMES)


if TYPE_CHECKING:
    from sgforge.dataset.journal import Journal
    from sgforge.dataset.reader import Dataset
    from sgforge.dataset.records import (
        FolderUse,
        JournalRow,
        ReadingRecord,
        RunRecord,
        Selected,
        StateRef,
        StepRecord,
    )
    from sgforge.dataset.snapshot import Snapshot
    from sgforge.dataset.states.known_states import KnownWork
    from sgforge.dataset.states.state_index import StateIndex
    from sgforge.dataset.writer import DatasetWriter
