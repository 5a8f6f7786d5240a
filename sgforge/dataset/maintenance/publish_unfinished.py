"""Sealing an unfinished run: what the journal has, published step by step as partial snapshots."""

from __future__ import annotations

import numpy as np

from sgforge.dataset.snapshot import Snapshot
from sgforge.dataset.writer import DatasetWriter
from sgforge.errors import DatasetError

__all__ = ["seal"]


def seal(writer: DatasetWriter, branch: str = "main") -> list[Snapshot]:
    """Publish every answer that no snapshot holds yet, one partial snapshot per step, and move `branch` to the last.

    Each answer names the state it was made from, so the chain is followed from the snapshot that the last run began
    to answer. Images without an answer keep the state they have. Empty if there is nothing to seal.
    """
    rows = writer.journal.unpublished()
    known = writer.states().find([key for _, key, _, _ in rows])
    waiting = [row for row, ref in zip(rows, known, strict=True) if ref is None]
    if not waiting:
        return []
    # Of two answers to one state the later one counts: it is that of the last run.
    children = {parent_key: (key, step) for parent_key, key, _, step in waiting}
    order = list(dict.fromkeys(step for _, _, _, step in waiting))
    snapshot, keys = _start(writer, children, branch)
    sealed: list[Snapshot] = []
    while True:
        next_of = [children.get(key) for key in keys]
        present = {answer[1] for answer in next_of if answer is not None}
        if not present:
            break
        step = min(present, key=order.index)
        keys = [
            answer[0] if answer is not None and answer[1] == step else key
            for key, answer in zip(keys, next_of, strict=True)
        ]
        snapshot = writer.publish(writer.journal.step(step), snapshot, keys, partial=True)
        sealed.append(snapshot)
    if sealed:
        writer.move_branch(branch, snapshot)
    return sealed


def _start(
    writer: DatasetWriter, children: dict[bytes, tuple[bytes, str]], branch: str
) -> tuple[Snapshot, list[bytes]]:
    """The snapshot to seal on, and its keys: of those whose images have answers the last that a run began to answer.

    Most answers alone do not tell it: what a selection left as it was stands in the version before it too. They do for
    a journal from before beginnings were kept; then, of equals, the branch's own counts.
    """
    best: tuple[int, int, str, Snapshot, list[bytes]] | None = None
    heads = writer.branches()
    begun = {snapshot_id: number for number, snapshot_id in enumerate(writer.journal.starts(), 1)}
    for snapshot_id in writer.snapshot_ids():
        if snapshot_id not in writer.states():  # damaged, and left out
            continue
        snapshot = writer.states().snapshot(snapshot_id)
        keys = [key.tobytes() for key in np.asarray(snapshot.keys)]
        count = sum(key in children for key in keys)
        created = "~" if heads.get(branch) == snapshot_id else snapshot.meta.created
        rank = (begun.get(snapshot_id, 0) if count else -1, count, created)
        if best is None or rank > best[:3]:
            best = (*rank, snapshot, keys)
    if best is None or best[1] == 0:
        raise DatasetError(f"{writer.path}: the journal's answers belong to no snapshot here; run the pipeline again")
    return best[3], best[4]
