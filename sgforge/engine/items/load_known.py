"""Recalling what is known of images that still have steps to take, a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sgforge.engine.items.stream import Recalled
from sgforge.engine.planning.known_work import StepWork

if TYPE_CHECKING:
    from sgforge.dataset import Journal, JournalRow, StateIndex, StateRef
    from sgforge.images import Roots

__all__ = ["recall"]


def recall(
    works: Sequence[StepWork], rows: Sequence[int], states: StateIndex, journal: Journal, roots: Roots | None = None
) -> dict[int, dict[int, Recalled]]:
    """What is known of these images, by row and number of the step.

    A state is loaded only where the image's next step starts from it: where that step's own state is known too, the
    earlier one is told without its graph.
    """
    # From the last step to the first: a state holds all that came before it, so that of a row of known steps in a row
    # only the last graph has to be read. `covered` says of each image that a later step gives its graph.
    found: dict[int, dict[int, Recalled]] = {row: {} for row in rows}
    wanted: list[tuple[int, int, StateRef]] = []
    covered = dict.fromkeys(rows, False)
    answers = journal.get(_journalled(works, rows))
    for number, work in reversed(list(enumerate(works))):
        for row in rows:
            known = work.known[row]
            if known is None:
                # A step that has to run needs the graph before it, though a later one be known; one that passes the
                # image by needs none.
                covered[row] = covered[row] and not work.applies[row]
            elif covered[row]:
                found[row][number] = Recalled()
            elif known.state is not None:
                wanted.append((row, number, known.state))
                covered[row] = True
            else:
                # An answer alone is no state: it is applied to the graph of the step before, which is read or made.
                found[row][number] = _from_answer(answers[work.keys[row]])
    loaded = _load([ref for _, _, ref in wanted], states, roots)
    for row, number, ref in wanted:
        found[row][number] = loaded[ref]
    return found


def _journalled(works: Sequence[StepWork], rows: Sequence[int]) -> list[bytes]:
    return [
        work.keys[row]
        for work in works
        for row in rows
        if (known := work.known[row]) is not None and known.state is None
    ]


def _from_answer(answer: JournalRow) -> Recalled:
    from sgforge.packed import unpack_edit

    edit = unpack_edit(answer.edit)
    return Recalled(None, edit, edit.dropped is not None)


def _load(refs: Sequence[StateRef], states: StateIndex, roots: Roots | None) -> Mapping[StateRef, Recalled]:
    """These states."""
    by_snapshot: dict[str, list[StateRef]] = {}
    for ref in refs:
        by_snapshot.setdefault(ref.snapshot_id, []).append(ref)
    loaded: dict[StateRef, Recalled] = {}
    for snapshot_id, members in by_snapshot.items():
        snapshot = states.snapshot(snapshot_id)
        of_rows = snapshot.samples_of([ref.row for ref in members], roots, state_only=True)
        for ref, (state, dropped) in zip(members, of_rows, strict=True):
            loaded[ref] = Recalled(state, None, dropped)
    return loaded
