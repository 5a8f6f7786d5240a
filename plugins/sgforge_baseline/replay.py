"""Editor `replay`: edits that were written as lines of text, done again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from sgforge.columns.declared import CORE_COLUMNS, Column, column_of
from sgforge.edits import Edit, apply_edit
from sgforge.graph import Sample
from sgforge.jsonl import EditLine, Stale, load_edits, rebase
from sgforge.stages import Answer
from sgforge.text.wording import counted
from sgforge_baseline.config import ReplayOptions

__all__ = ["ReplayEditor"]

_STALE = "stale"


class ReplayEditor:
    """Applies the lines of each image in order, every one to what those before it have made."""

    def __init__(self, options: ReplayOptions) -> None:
        self.options = options
        self._lines: dict[str, list[EditLine]] = {}
        for line in load_edits(options.edits):
            self._lines.setdefault(line.image_id, []).append(line)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The further columns that the file fills."""
        lines = (line for lines in self._lines.values() for line in lines)
        found = dict.fromkeys(column_of(value) for line in lines for value in line.edit.values)
        return tuple(column for column in found if column.key not in CORE_COLUMNS)

    def key_of(self, image_id: str) -> bytes | None:
        """A digest of the lines about one image; None if there is none."""
        lines = self._lines.get(image_id)
        return None if lines is None else hashlib.sha256(b"".join(line.text.strip() + b"\n" for line in lines)).digest()

    @staticmethod
    def notes(counts: Mapping[str, int]) -> Sequence[str]:
        """How to see which lines did not fit."""
        stale = counts.get(_STALE, 0)
        told = f"{counted(stale, 'line')} did not fit any more: sgforge edits FILE DATASET says what has changed"
        return (told,) if stale else ()

    def edit(self, samples: Sequence[Sample]) -> Sequence[Answer]:
        """The lines of each image as one edit."""
        return [self._replay(sample) for sample in samples]

    def _replay(self, sample: Sample) -> Edit:
        graph, done, stale = sample.graph, [], 0
        for line in self._lines.get(sample.image_id, ()):
            rebased = rebase(line, graph)
            if isinstance(rebased, Stale):
                stale += 1
                continue
            applied = apply_edit(graph, rebased, "replay", may_restore=True)
            graph = applied.graph
            done.append(applied.edit)
        # Not `Edit.sum`: these were made one after another, so that each knows the rows of those before it already.
        return Edit(
            regions=[row for edit in done for row in edit.regions],
            relations=[row for edit in done for row in edit.relations],
            verdicts=[verdict for edit in done for verdict in edit.verdicts],
            sets=[item for edit in done for item in edit.sets],
            values=[item for edit in done for item in edit.values],
            image=next((edit.image for edit in done if edit.image is not None), None),
            dropped=next((edit.dropped for edit in done if edit.dropped is not None), None),
            faults={_STALE: stale} if stale else {},
        )
