"""How an edit changes a graph, and the sample that holds it: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sgforge.edits.edit import Edit
from sgforge.edits.items import FieldSet, Value, Verdict
from sgforge.edits.sums import Named, joined_as_one
from sgforge.errors import GraphError
from sgforge.graph import KEPT, ImageRef, Relation, Sample, SceneGraph, Values
from sgforge.graph.values import ByIndex, HeldValues, LaidOver
from sgforge.text.wording import shortened

__all__ = ["Applied", "apply_edit", "with_edit", "with_values"]


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
    what the edit sets, fills or judges of it is then set, filled or judged in that row. A verdict that keeps a rejected
    row needs `may_restore` too. Bad indices are a `GraphError`.
    """
    if not isinstance(graph, SceneGraph):
        raise GraphError(f"an edit is applied to a graph, such as sample.graph, not to {shortened(graph)}")
    if not isinstance(edit, Edit):
        raise GraphError(f"an Edit is applied (several: Edit.sum), not {shortened(edit)}")
    if edit.is_empty:
        return Applied(graph, edit, {})
    if edit.is_of_values and {value.index for value in edit.values} == {None}:
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
    values = tuple(added.as_it_stands(item) for item in edit.values)
    for value in values:
        if value.index is not None:
            _check_row(regions if value.target == "region" else relations, value.target, value.index)
    for item in sets:
        _set_field(regions if item.target == "region" else relations, item)
    verdicts = tuple(
        verdict
        for verdict in (*added.restored, *map(added.as_it_stands, edit.verdicts))
        if _judge(regions if verdict.target == "region" else relations, verdict, step, may_restore, added.counts)
    )
    width, height = (graph.width, graph.height) if edit.image is None else _size_of(edit.image, graph)
    after = SceneGraph(width=width, height=height, regions=regions, relations=relations, attributes=graph.attributes)
    done = attrs.evolve(edit, regions=new_regions, relations=added.fresh, verdicts=verdicts, sets=sets, values=values)
    return Applied(after, done, added.counts)


def _size_of(image: ImageRef, graph: SceneGraph) -> tuple[int, int]:
    """The size of a made picture, which that of a graph with boxes must agree with."""
    size = image.width, image.height
    placed = any(row.box is not None or row.mask is not None for row in graph.all.regions)
    if placed and graph.width and size != (graph.width, graph.height):
        raise GraphError(
            f"the picture made is {size[0]}x{size[1]}, the graph whose boxes it shows {graph.width}x{graph.height}"
        )
    return size


def with_edit(sample: Sample, applied: Applied) -> Sample:
    """The sample whose graph an edit was applied to: the new graph, its values, its image (which is not opened)."""
    edit = applied.edit
    if edit.is_empty:
        return sample
    changed: dict[str, Any] = {} if applied.graph is sample.graph else {"graph": applied.graph}
    changed |= _filled(sample, edit.values)
    if edit.image is not None:
        changed |= {"uri": edit.image.uri, "sha256": edit.image.sha256, "image": None}
    return _changed(sample, changed)


def with_values(sample: Sample, values: Sequence[Value]) -> Sample:
    """The sample with these values over its own."""
    return _changed(sample, _filled(sample, values))


def _changed(sample: Sample, changed: Mapping[str, Any]) -> Sample:
    if len(changed) == 1 and "values" in changed:  # as most are, and there are millions
        return sample.with_image_values(changed["values"])
    return attrs.evolve(sample, **changed) if changed else sample


def _filled(sample: Sample, values: Sequence[Value]) -> dict[str, Values]:
    """The values of a sample with others laid over them, by field."""
    image = {item.column: item.value for item in values if item.index is None}
    found: dict[str, Values] = {"values": LaidOver(sample.values, HeldValues(image))} if image else {}
    if len(image) == len(values):
        return found
    for target in ("region", "relation"):
        columns: dict[str, dict[int, Any]] = {}
        for item in values:
            if item.target == target and item.index is not None:
                columns.setdefault(item.column, {})[item.index] = item.value
        if columns:
            rows = HeldValues({name: ByIndex(sorted(rows.items())) for name, rows in sorted(columns.items())})
            found[f"{target}_values"] = LaidOver(sample.values_of(target), rows)
    return found


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

    def as_it_stands(self, item: Named) -> Named:
        """A set, value or verdict under the index that its relation got: duplicates made no row, others moved up."""
        if item.target != "relation" or item.index is None or item.index < self._before:
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
