"""Edit: what a step answers for one image, and how an answer changes a graph (a pure function)."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Literal, SupportsIndex, TypeVar

import attrs

from sgforge.errors import GraphError
from sgforge.graph import KEPT, REJECTED, Region, Relation, SceneGraph, Status
from sgforge.graph.checks import to_rows
from sgforge.text.wording import shortened

__all__ = ["REGION_FIELDS", "RELATION_FIELDS", "Applied", "Edit", "FieldSet", "Verdict", "apply_edit", "joined_as_one"]

Target = Literal["region", "relation"]
REGION_FIELDS: Final = frozenset({"label", "box", "mask", "descriptions", "attributes", "score", "depth"})
# A field that holds an index, such as `parent`, may come here only with sums that move it (`_renumbered`).
RELATION_FIELDS: Final = frozenset({"predicate", "category", "score"})


@attrs.frozen
class Verdict:
    """A judgement on one row: `degree` is what was measured (an overlap, a judge's P(yes)), `reason` a short code."""

    target: Target
    index: int
    status: Status
    reason: str | None = None
    degree: float | None = None

    def __attrs_post_init__(self) -> None:
        _check_place(self)


@attrs.frozen
class FieldSet:
    """A new value for one field of one row; fields as in `REGION_FIELDS` and `RELATION_FIELDS`."""

    target: Target
    index: int
    field: str
    value: Any

    def __attrs_post_init__(self) -> None:
        _check_place(self)
        allowed = REGION_FIELDS if self.target == "region" else RELATION_FIELDS
        if self.field not in allowed:
            raise GraphError(
                f"field {self.field!r} of a {self.target} cannot be set; these can: {', '.join(sorted(allowed))}"
            )


def _check_place(item: Verdict | FieldSet) -> None:
    """Refuse what names no row; numpy's whole numbers become ints, which journal and graph expect."""
    if item.target not in ("region", "relation"):
        raise GraphError(f"{item.target!r} is neither 'region' nor 'relation'")
    if type(item.index) is int:
        return
    if isinstance(item.index, bool) or not isinstance(item.index, SupportsIndex):
        raise GraphError(f"{item.target} {item.index!r}: an index must be an int, not {type(item.index).__name__}")
    object.__setattr__(item, "index", int(operator.index(item.index)))


def _counts(value: Mapping[str, int]) -> dict[str, int]:
    counts = dict(value)
    for reason, count in counts.items():
        if not isinstance(reason, str) or type(count) is not int:
            raise GraphError(f"fault {reason!r}: {count!r} must be a reason code with a whole number")
    return counts


@attrs.frozen
class _Part:
    """How many of a sum's rows, verdicts and sets one of its edits brought."""

    regions: int
    relations: int
    verdicts: int
    sets: int

    @property
    def adds(self) -> bool:
        return bool(self.regions or self.relations)

    def __add__(self, other: _Part) -> _Part:
        return _Part(
            regions=self.regions + other.regions,
            relations=self.relations + other.relations,
            verdicts=self.verdicts + other.verdicts,
            sets=self.sets + other.sets,
        )


_NO_PART: Final = _Part(regions=0, relations=0, verdicts=0, sets=0)


def _told_apart(parts: tuple[_Part, ...]) -> tuple[_Part, ...]:
    """What of its parts makes an edit another one: nothing while one of them alone adds regions."""
    return parts if sum(part.regions > 0 for part in parts) > 1 else ()


@attrs.frozen
class Edit:
    """What one step answers for one image; the empty Edit changes nothing.

    An edit names rows that it adds by their future index: the number of all rows of that kind before, then counting on
    (added relations and parents of added regions name regions, sets and verdicts both kinds). `dropped` takes the image
    out of all later steps, with this reason. `faults` counts, by reason code, what of an answer could not be used.

    Edits that were made for the same graph add up with `+`, and each goes on naming its own rows: `parts`, which `+`
    fills, says where one ends. All rows are added first, then fields are set, then rows judged, each in the order of
    the edits. An edit that names a row to come without adding it means the one that another adds; where several add
    rows, it cannot be known which, and applying the sum is a `GraphError`.
    """

    regions: tuple[Region, ...] = attrs.field(default=(), converter=to_rows)
    relations: tuple[Relation, ...] = attrs.field(default=(), converter=to_rows)
    verdicts: tuple[Verdict, ...] = attrs.field(default=(), converter=to_rows)
    sets: tuple[FieldSet, ...] = attrs.field(default=(), converter=to_rows)
    dropped: str | None = None
    faults: Mapping[str, int] = attrs.field(factory=dict, converter=_counts, hash=False)
    parts: tuple[_Part, ...] = attrs.field(default=(), kw_only=True, repr=False, eq=_told_apart)

    def __attrs_post_init__(self) -> None:
        if self.dropped is not None and not (isinstance(self.dropped, str) and self.dropped):
            raise GraphError(f"an image is dropped for a reason code, not {self.dropped!r}")
        if self.parts and sum(self.parts, _NO_PART) != self._whole:
            raise GraphError("rows of a sum of edits were changed: change them in the edits before they are added up")

    @property
    def _whole(self) -> _Part:
        """This edit as a part of a sum."""
        return _Part(
            regions=len(self.regions),
            relations=len(self.relations),
            verdicts=len(self.verdicts),
            sets=len(self.sets),
        )

    @property
    def is_empty(self) -> bool:
        """Whether applying this edit leaves every row as it is and keeps the image."""
        return not (self.regions or self.relations or self.verdicts or self.sets or self.dropped is not None)

    @classmethod
    def reject(cls, index: int, reason: str, degree: float | None = None, *, target: Target = "relation") -> Edit:
        """Reject relation `index` (or, with `target="region"`, that region)."""
        return cls(verdicts=(Verdict(target=target, index=index, status=REJECTED, reason=reason, degree=degree),))

    @classmethod
    def keep(
        cls, index: int, reason: str | None = None, degree: float | None = None, *, target: Target = "relation"
    ) -> Edit:
        """Keep row `index`: records the degree of a passed test; from an editor it restores a rejected row."""
        return cls(verdicts=(Verdict(target=target, index=index, status=KEPT, reason=reason, degree=degree),))

    @classmethod
    def add(cls, *rows: Region | Relation) -> Edit:
        """Add regions and relations, each kind in the order given; anything else is a `GraphError`."""
        for row in rows:
            if not isinstance(row, (Region, Relation)):
                raise GraphError(f"an edit adds regions and relations, not {shortened(row)}")
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
        if reason is None:
            raise GraphError("an image is dropped for a reason: give its code, such as 'blurred'")
        return cls(dropped=reason)

    def __add__(self, other: Edit) -> Edit:
        return Edit.sum((self, other)) if isinstance(other, Edit) else NotImplemented

    @classmethod
    def sum(cls, edits: Iterable[Edit]) -> Edit:
        """All edits in one, in order, as `+` adds them; of several reasons to drop the image the first stands."""
        edits = tuple(edits)
        for edit in edits:
            if not isinstance(edit, Edit):
                raise GraphError(f"a sum of edits has {type(edit).__name__} among them: {shortened(edit)}")
        faults: dict[str, int] = {}
        for edit in edits:
            for reason, count in edit.faults.items():
                faults[reason] = faults.get(reason, 0) + count
        return cls(
            regions=[region for edit in edits for region in edit.regions],
            relations=[relation for edit in edits for relation in edit.relations],
            verdicts=[verdict for edit in edits for verdict in edit.verdicts],
            sets=[item for edit in edits for item in edit.sets],
            dropped=next((edit.dropped for edit in edits if edit.dropped is not None), None),
            faults=faults,
            parts=_parts_of(edits),
        )


def _parts_of(edits: Iterable[Edit]) -> tuple[_Part, ...]:
    """The parts of a sum, flat, so that `+` is associative; neighbours that add no row are one."""
    parts: list[_Part] = []
    for edit in edits:
        for part in edit.parts or (edit._whole,):
            if part == _NO_PART:
                continue
            if parts and not part.adds and not parts[-1].adds:
                parts[-1] = parts[-1] + part
            else:
                parts.append(part)
    return tuple(parts) if len(parts) > 1 else ()


def joined_as_one(edit: Edit, regions: int, relations: int) -> Edit:
    """A sum of edits as one edit without parts, for a graph of this many rows before it (rejected ones included).

    What an edit of the sum names among its own rows is counted on behind the rows that earlier edits add. A name of
    which it cannot be known whose row it is, is a `GraphError`.
    """
    if not edit.parts:
        return edit
    by_region = _Places(edit.parts, "region", regions)
    by_relation = _Places(edit.parts, "relation", relations)
    if by_region.are_one and by_relation.are_one:
        return attrs.evolve(edit, parts=())
    places = {"region": by_region, "relation": by_relation}
    region_parts, relation_parts = _owners(edit.parts, "regions"), _owners(edit.parts, "relations")
    verdict_parts, set_parts = _owners(edit.parts, "verdicts"), _owners(edit.parts, "sets")
    return attrs.evolve(
        edit,
        regions=[by_region.of_parent(*pair) for pair in zip(edit.regions, region_parts, strict=True)],
        relations=[by_region.of_ends(*pair) for pair in zip(edit.relations, relation_parts, strict=True)],
        verdicts=[_renumbered(item, places, part) for item, part in zip(edit.verdicts, verdict_parts, strict=True)],
        sets=[_renumbered(item, places, part) for item, part in zip(edit.sets, set_parts, strict=True)],
        parts=(),
    )


def _owners(parts: tuple[_Part, ...], what: str) -> list[int]:
    """The number of the part of each row, verdict or set of a sum."""
    return [number for number, part in enumerate(parts) for _ in range(getattr(part, what))]


_Named = TypeVar("_Named", Verdict, FieldSet)


def _renumbered(item: _Named, places: Mapping[str, _Places], part: int) -> _Named:
    index = places[item.target].of(item.index, part)
    return item if index == item.index else attrs.evolve(item, index=index)


class _Places:
    """Where the rows of one kind that each part of a sum adds come to stand."""

    def __init__(self, parts: tuple[_Part, ...], kind: Target, before: int) -> None:
        self._kind = kind
        self._before = before
        self._added = [part.regions if kind == "region" else part.relations for part in parts]
        self._first = list(accumulate(self._added, initial=0))
        self.are_one = sum(count > 0 for count in self._added) < 2
        """Whether one part at most adds rows: then every index is right as it stands."""

    def of(self, index: int, part: int) -> int:
        """The index in the sum of what the part calls `index`."""
        if self.are_one or index < self._before:
            return index
        if index >= self._before + self._added[part]:
            raise GraphError(
                f"an edit of a sum names {self._kind} {index}, which it does not add: the graph has {self._before} and "
                f"the edit adds {self._added[part]}; add a row and what names it in one edit"
            )
        return index + self._first[part]

    def of_parent(self, region: Region, part: int) -> Region:
        parent = region.parent
        if parent is None or self.of(parent, part) == parent:
            return region
        return attrs.evolve(region, parent=self.of(parent, part))

    def of_ends(self, relation: Relation, part: int) -> Relation:
        subject, target = self.of(relation.subject, part), self.of(relation.object, part)
        if (subject, target) == (relation.subject, relation.object):
            return relation
        return attrs.evolve(relation, subject=subject, object=target)


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
    `duplicate` if its row is kept, as `stays-rejected` if not, unless `may_restore` (an editor), which keeps it again;
    what the edit sets or judges of it is then set or judged in that row. A verdict that keeps a rejected row needs
    `may_restore` too. Bad indices are a `GraphError`.
    """
    if not isinstance(graph, SceneGraph):
        raise GraphError(f"an edit is applied to a graph, such as sample.graph, not to {shortened(graph)}")
    if not isinstance(edit, Edit):
        raise GraphError(f"an Edit is applied (several: Edit.sum), not {shortened(edit)}")
    if edit.is_empty:
        return Applied(graph, edit, {})
    regions = list(graph.all.regions)
    relations = list(graph.all.relations)
    edit = joined_as_one(edit, len(regions), len(relations))
    new_regions = [attrs.evolve(region, made_by=step) for region in edit.regions]
    regions.extend(new_regions)
    added = _Additions(relations, step, may_restore)
    for relation in edit.relations:
        added.add(relation)
    relations.extend(added.fresh)
    sets = tuple(added.as_it_stands(item) for item in edit.sets)
    for item in sets:
        _set_field(regions if item.target == "region" else relations, item)
    verdicts = tuple(
        verdict
        for verdict in (*added.restored, *map(added.as_it_stands, edit.verdicts))
        if _judge(regions if verdict.target == "region" else relations, verdict, step, may_restore, added.counts)
    )
    after = SceneGraph(
        width=graph.width, height=graph.height, regions=regions, relations=relations, attributes=graph.attributes
    )
    done = attrs.evolve(edit, regions=new_regions, relations=added.fresh, verdicts=verdicts, sets=sets)
    return Applied(after, done, added.counts)


def _count(counts: dict[str, int], reason: str) -> None:
    counts[reason] = counts.get(reason, 0) + 1


class _Additions:
    """The added relations that are new, and verdicts that restore rejected rows which were added again."""

    def __init__(self, existing: Sequence[Relation], step: str, may_restore: bool) -> None:
        self.fresh: list[Relation] = []
        self.restored: list[Verdict] = []
        self.counts: dict[str, int] = {}
        self._existing = existing
        self._before = len(existing)
        self._step = step
        self._may_restore = may_restore
        self._rows: list[int] = []  # of each added relation the row that it is, or meets
        self._row_of: dict[tuple[int, str, int], int] | None = None

    def add(self, relation: Relation) -> None:
        """Take one relation."""
        if self._row_of is None:
            self._row_of = _rows_by_triplet(self._existing)
        row = self._row_of.get(relation.triplet)
        if row is None:
            row = self._row_of[relation.triplet] = self._before + len(self.fresh)
            self.fresh.append(attrs.evolve(relation, made_by=self._step))
        elif row >= self._before or self._existing[row].kept:
            _count(self.counts, "duplicate")
        elif self._may_restore:
            self.restored.append(Verdict("relation", row, KEPT))
        else:
            _count(self.counts, "stays-rejected")
        self._rows.append(row)

    def as_it_stands(self, item: _Named) -> _Named:
        """A set or verdict under the index that its relation got: duplicates made no row, so later ones moved up."""
        if item.target == "region" or item.index < self._before:
            return item
        place = item.index - self._before
        if place >= len(self._rows) or self._rows[place] == item.index:
            return item
        return attrs.evolve(item, index=self._rows[place])


def _rows_by_triplet(relations: Sequence[Relation]) -> dict[tuple[int, str, int], int]:
    """Of equal source rows a kept one wins: adding its triplet again is then a plain duplicate."""
    row_of: dict[tuple[int, str, int], int] = {}
    for index, relation in enumerate(relations):
        if relation.triplet not in row_of or relation.kept:
            row_of[relation.triplet] = index
    return row_of


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


def _check_row(rows: Sequence[Any], target: str, index: int) -> None:
    if not 0 <= index < len(rows):
        raise GraphError(f"{target} {index} does not exist: the graph has {len(rows)}")
