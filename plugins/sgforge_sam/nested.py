"""Regions of segmenters within a selection: found for its rules, and only those that stay are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

import attrs

from sgforge.edits import Edit, Value, apply_edit, joined_as_one
from sgforge.graph import REJECTED, Region, Sample
from sgforge.stages import Answer, Failure, Part, check_role

__all__ = ["Nested", "find_regions"]

_MADE_BY: Final = "by"


@attrs.frozen(eq=False)
class Nested:
    """A sample with the regions that nested segmenters found on it; `edit` is what they answered, as one."""

    sample: Sample
    edit: Edit
    given: int

    def selected(self, verdicts: Edit, columns: Collection[str]) -> Edit:
        """The edit that the selection answers with, given its verdicts on all regions.

        Regions that were found and stay are added, with their values in `columns`; those that go are counted by the
        reason. A parent that goes is replaced by its own.
        """
        rejected = {one.index: one.reason for one in verdicts.verdicts if one.status == REJECTED}
        gone = {index: reason for index, reason in rejected.items() if index >= self.given}
        stays = [place for place in range(len(self.edit.regions)) if self.given + place not in gone]
        now = {self.given + place: self.given + number for number, place in enumerate(stays)}
        faults = Counter({**self.edit.faults, **verdicts.faults})
        faults.update(Counter(reason or "rejected" for reason in gone.values()))
        return Edit(
            regions=[self._moved(self.edit.regions[place], now) for place in stays],
            verdicts=[one for one in (*self.edit.verdicts, *verdicts.verdicts) if one.index < self.given],
            sets=[one for one in self.edit.sets if one.index < self.given and one.field != "parent"],
            values=[
                attrs.evolve(one, index=one.index if one.index is None else now.get(one.index, one.index))
                for one in self.edit.values
                if one.column in columns and not self._is_gone(one, now)
            ],
            faults=dict(faults),
        )

    def _is_gone(self, value: Value, now: dict[int, int]) -> bool:
        return value.index is not None and value.index >= self.given and value.index not in now

    def _moved(self, region: Region, now: dict[int, int]) -> Region:
        parent = region.parent
        while parent is not None and parent >= self.given and parent not in now:
            parent = self.edit.regions[parent - self.given].parent
        return attrs.evolve(region, parent=parent if parent is None else now.get(parent, parent))


def find_regions(parts: Sequence[Part], samples: Sequence[Sample]) -> list[Nested | Failure]:
    """What all of these segmenters find on each sample; one that fails for an image fails it."""
    answers = [list(part.component.segment(samples)) for part in parts]
    return [_joined(parts, sample, [found[place] for found in answers]) for place, sample in enumerate(samples)]


def _joined(parts: Sequence[Part], sample: Sample, answers: Sequence[Answer]) -> Nested | Failure:
    edits = []
    for part, answer in zip(parts, answers, strict=True):
        if isinstance(answer, Failure):
            return Failure(answer.reason, f"{part.name}: {answer.detail or answer.reason}")
        wrong = check_role("segment", attrs.evolve(answer, values=()), sample.graph)
        if wrong is not None:
            return Failure("role", f"{part.name}: {wrong}")
        edits.append(answer)
    rows = sample.graph.all
    edit = joined_as_one(Edit.sum(edits), len(rows.regions), len(rows.relations))
    # Their values are for the engine to check, once it is known which regions stay.
    graph = apply_edit(sample.graph, attrs.evolve(edit, values=()), _MADE_BY).graph
    return Nested(attrs.evolve(sample, graph=graph), edit, len(rows.regions))
