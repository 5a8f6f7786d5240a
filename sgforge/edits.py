"""Edit: what a step answers for one image, and how an answer changes a graph (a pure function)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import attrs

from sgforge.errors import GraphError
from sgforge.graph import KEPT, REJECTED, Region, Relation, SceneGraph, Status

__all__ = ["REGION_FIELDS", "RELATION_FIELDS", "Applied", "Edit", "FieldSet", "Provenance", "Verdict", "apply_edit"]

Target = Literal["region", "relation"]
REGION_FIELDS: Final = frozenset({"label", "box", "mask", "descriptions", "attributes", "score", "depth"})
RELATION_FIELDS: Final = frozenset({"predicate", "category", "score"})


@attrs.frozen
class Verdict:
    """A judgement on one row: `degree` is what was measured (an overlap, a judge's P(yes)), `reason` a short code."""

    target: Target
    index: int
    status: Status
    reason: str | None = None
    degree: float | None = None


@attrs.frozen
class FieldSet:
    """A new value for one field of one row; fields as in `REGION_FIELDS` and `RELATION_FIELDS`."""

    target: Target
    index: int
    field: str
    value: Any

    def __attrs_post_init__(self) -> None:
        allowed = REGION_FIELDS if self.target == "region" else RELATION_FIELDS
        if self.field not in allowed:
            raise GraphError(
                f"field {self.field!r} of a {self.target} cannot be set; these can: {', '.join(sorted(allowed))}"
            )


@attrs.frozen
class Provenance:
    """Where an answer came from: the step's name and the ids of the model calls it used."""

    step: str
    calls: tuple[str, ...] = ()


def _as_tuple(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value)


def _counts(value: Mapping[str, int]) -> dict[str, int]:
    counts = dict(value)
    for reason, count in counts.items():
        if not isinstance(reason, str) or type(count) is not int:
            raise GraphError(f"fault {reason!r}: {count!r} must be a reason code with a whole number")
    return counts


@attrs.frozen
class Edit:
    """What one step answers for one image; the empty Edit changes nothing.

    Added relations may name added regions by their future index (number of all regions before, then counting on).
    `dropped` takes the image out of all later steps, with this reason. `faults` counts, by reason code, the parts of an
    answer that could not be used. Edits add up with `+`.
    """

    regions: tuple[Region, ...] = attrs.field(default=(), converter=_as_tuple)
    relations: tuple[Relation, ...] = attrs.field(default=(), converter=_as_tuple)
    verdicts: tuple[Verdict, ...] = attrs.field(default=(), converter=_as_tuple)
    sets: tuple[FieldSet, ...] = attrs.field(default=(), converter=_as_tuple)
    dropped: str | None = None
    faults: Mapping[str, int] = attrs.field(factory=dict, converter=_counts, hash=False)
    provenance: Provenance | None = attrs.field(default=None, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.dropped is not None and not (isinstance(self.dropped, str) and self.dropped):
            raise GraphError(f"an image is dropped for a reason code, not {self.dropped!r}")

    @property
    def is_empty(self) -> bool:
        """Whether applying this edit leaves every row as it is and keeps the image."""
        return not (self.regions or self.relations or self.verdicts or self.sets or self.dropped is not None)

    @classmethod
    def reject(cls, index: int, reason: str, degree: float | None = None, *, target: Target = "relation") -> Edit:
        """Reject relation `index` (or, with `target="region"`, that region)."""
        return cls(verdicts=(Verdict(target, index, REJECTED, reason, degree),))

    @classmethod
    def keep(
        cls, index: int, reason: str | None = None, degree: float | None = None, *, target: Target = "relation"
    ) -> Edit:
        """Keep row `index`: records the degree of a passed test; from an editor it restores a rejected row."""
        return cls(verdicts=(Verdict(target, index, KEPT, reason, degree),))

    @classmethod
    def add(cls, *rows: Region | Relation) -> Edit:
        """Add regions and relations, each kind in the order given; anything else is a `GraphError`."""
        for row in rows:
            if not isinstance(row, (Region, Relation)):
                raise GraphError(f"an edit adds regions and relations, not {row!r}")
        return cls(
            regions=tuple(row for row in rows if isinstance(row, Region)),
            relations=tuple(row for row in rows if isinstance(row, Relation)),
        )

    @classmethod
    def set(cls, target: Target, index: int, **fields: Any) -> Edit:
        """Set fields of one row: `Edit.set("region", 3, depth=0.4)`."""
        return cls(sets=tuple(FieldSet(target, index, name, value) for name, value in fields.items()))

    @classmethod
    def drop(cls, reason: str) -> Edit:
        """Take the image out of all later steps."""
        return cls(dropped=reason)

    def __add__(self, other: Edit) -> Edit:
        faults = dict(self.faults)
        for reason, count in other.faults.items():
            faults[reason] = faults.get(reason, 0) + count
        return Edit(
            self.regions + other.regions,
            self.relations + other.relations,
            self.verdicts + other.verdicts,
            self.sets + other.sets,
            self.dropped if self.dropped is not None else other.dropped,
            faults,
            self.provenance or other.provenance,
        )

    @classmethod
    def sum(cls, edits: Iterable[Edit]) -> Edit:
        """All edits in one, in order."""
        total = cls()
        for edit in edits:
            total = total + edit
        return total


@attrs.frozen
class Applied:
    """A graph after an edit, and the edit as it took effect: rows stamped with the step, duplicates left out.

    `edit` applied to the same graph again needs no checks: its relations are all new, its verdicts all change a row.
    `counts` says what was left out, by reason: `duplicate`, `stays-rejected`.
    """

    graph: SceneGraph
    edit: Edit
    counts: Mapping[str, int]


def apply_edit(graph: SceneGraph, edit: Edit, step: str, *, may_restore: bool = False) -> Applied:
    """The graph after `edit` by `step`; a pure function.

    Added rows get `made_by=step`, judged rows `judged_by=step`. A triplet that exists makes no new row: counted as
    `duplicate` if its row is kept, as `stays-rejected` if not, unless `may_restore` (an editor), which keeps it again.
    A verdict that keeps a rejected row needs `may_restore` too. Bad indices are a `GraphError`.
    """
    if edit.is_empty:
        return Applied(graph, edit, {})
    regions = list(graph.all.regions)
    relations = list(graph.all.relations)
    new_regions = [attrs.evolve(region, made_by=step) for region in edit.regions]
    regions.extend(new_regions)
    counts: dict[str, int] = {}
    new_relations, restored = _new_relations(relations, edit.relations, step, may_restore, counts)
    relations.extend(new_relations)
    for item in edit.sets:
        _set_field(regions if item.target == "region" else relations, item)
    verdicts = tuple(
        verdict
        for verdict in (*restored, *edit.verdicts)
        if _judge(regions if verdict.target == "region" else relations, verdict, step, may_restore, counts)
    )
    after = SceneGraph(graph.width, graph.height, regions, relations, graph.attributes)
    done = Edit(new_regions, new_relations, verdicts, edit.sets, edit.dropped, edit.faults, edit.provenance)
    return Applied(after, done, counts)


def _count(counts: dict[str, int], reason: str) -> None:
    counts[reason] = counts.get(reason, 0) + 1


def _new_relations(
    existing: list[Relation], added: tuple[Relation, ...], step: str, may_restore: bool, counts: dict[str, int]
) -> tuple[list[Relation], list[Verdict]]:
    """The added relations that are new, and verdicts that restore rejected rows which were added again."""
    if not added:
        return [], []
    seen: dict[tuple[int, str, int], int] = {}
    for index, relation in enumerate(existing):
        # Of equal source rows a kept one wins: adding its triplet again is then a plain duplicate.
        if relation.triplet not in seen or relation.kept:
            seen[relation.triplet] = index
    fresh: list[Relation] = []
    restored: list[Verdict] = []
    for relation in added:
        row = seen.get(relation.triplet)
        if row is None:
            seen[relation.triplet] = len(existing) + len(fresh)
            fresh.append(attrs.evolve(relation, made_by=step))
        elif row >= len(existing) or existing[row].kept:
            _count(counts, "duplicate")
        elif may_restore:
            restored.append(Verdict("relation", row, KEPT))
        else:
            _count(counts, "stays-rejected")
    return fresh, restored


def _set_field(rows: list[Any], item: FieldSet) -> None:
    _check_row(rows, item.target, item.index)
    rows[item.index] = attrs.evolve(rows[item.index], **{item.field: item.value})


def _judge(rows: list[Any], verdict: Verdict, step: str, may_restore: bool, counts: dict[str, int]) -> bool:
    _check_row(rows, verdict.target, verdict.index)
    row = rows[verdict.index]
    if verdict.status == KEPT and not row.kept and not may_restore:
        _count(counts, "stays-rejected")
        return False
    rows[verdict.index] = attrs.evolve(
        row, status=verdict.status, reason=verdict.reason, degree=verdict.degree, judged_by=step
    )
    return True


def _check_row(rows: list[Any], target: str, index: int) -> None:
    if isinstance(index, (bool, float)):
        raise GraphError(f"{target} {index!r}: an index must be an int, not {type(index).__name__}")
    if not 0 <= index < len(rows):
        raise GraphError(f"{target} {index} does not exist: the graph has {len(rows)}")
