"""What changed between two versions: images, regions and relations added or gone, rows that changed in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final, Literal

import attrs
import numpy as np

from sgforge.columns.declared import OF_VERSION
from sgforge.dataset.queries.value_diff import Fields, differing_columns, value_changes
from sgforge.dataset.snapshot import Snapshot
from sgforge.graph import KEPT, REJECTED, Region, Relation

__all__ = ["Diff", "ImageDiff", "RowChange", "diff_snapshots"]


_ROWS: Final = ("region", "relation")
_VALUES: Final = ("image values", "region values", "relation values")


@attrs.frozen
class RowChange:
    """What differs in a row that both versions have, or in the marks of an image: (before, now) by field.

    `table`: image, region or relation; with " values" behind it for those of further columns, by name.
    """

    table: str
    index: int
    text: str
    fields: dict[str, tuple[Any, Any]]

    @property
    def turned(self) -> Literal["+", "-", "~"]:
        """- if the row was rejected, + if it was restored, ~ if it stands or stays out as before."""
        after = self.fields.get("status", (None, None))[1]
        return "-" if after == REJECTED else "+" if after == KEPT else "~"


@attrs.frozen
class ImageDiff:
    """What changed in one image; relations read "subject predicate object" with indices behind the labels."""

    image_id: str
    status: str
    regions_added: tuple[str, ...] = ()
    regions_removed: tuple[str, ...] = ()
    relations_added: tuple[str, ...] = ()
    relations_removed: tuple[str, ...] = ()
    changed: tuple[RowChange, ...] = ()


@attrs.frozen
class Diff:
    """All images that differ, in id order. `status` of an image is added, removed or changed."""

    before: str
    after: str
    images: tuple[ImageDiff, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Totals over all images."""
        names = ("regions_added", "regions_removed", "relations_added", "relations_removed")
        totals = {f"images_{status}": 0 for status in ("added", "removed", "changed")}
        for image in self.images:
            totals[f"images_{image.status}"] += 1
        changes = [change for image in self.images for change in image.changed if change.table in _ROWS]
        values = sum(len(change.fields) for image in self.images for change in image.changed if change.table in _VALUES)
        relations = [change for change in changes if change.table == "relation"]
        return {
            **totals,
            **{name: sum(len(getattr(image, name)) for image in self.images) for name in names},
            "regions_changed": sum(change.table == "region" for change in changes),
            "relations_changed": len(relations),
            "relations_rejected": sum(change.turned == "-" for change in relations),
            "relations_restored": sum(change.turned == "+" for change in relations),
            **({"values_changed": values} if values else {}),
        }


def diff_snapshots(before: Snapshot, after: Snapshot) -> Diff:
    """What is different in `after`; the graphs of images with equal keys are equal and are not read."""
    return Diff(before.id, after.id, tuple(_image_diffs(before, after)))


class _Marks:
    """The failure and the drop of each image, as texts."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._words = snapshot.vocabularies
        self._columns = [
            np.asarray(snapshot.column(f"image/{name}")) for name in ("failed_step", "failed_reason", "dropped")
        ]

    def of(self, row: int) -> dict[str, str | None]:
        step, reason, dropped = (int(column[row]) for column in self._columns)
        failed = f"{self._words.reason[reason]} at {self._words.step[step]}" if step >= 0 else None
        return {"failed": failed, "dropped": self._words.reason[dropped] if dropped >= 0 else None}


def _image_diffs(before: Snapshot, after: Snapshot) -> Iterator[ImageDiff]:
    further = differing_columns(before, after)
    of_version = [column for column in further if column.key in OF_VERSION]
    old = {image_id: row for row, image_id in enumerate(before.image_ids)}
    new = {image_id: row for row, image_id in enumerate(after.image_ids)}
    marks, new_marks = _Marks(before), _Marks(after)
    for image_id in sorted({*old, *new}, key=str.encode):
        if image_id not in old:
            yield _whole(after, new[image_id], image_id, "added")
        elif image_id not in new:
            yield _whole(before, old[image_id], image_id, "removed")
        else:
            first, second = old[image_id], new[image_id]
            changes = _mark_changes(image_id, marks.of(first), new_marks.of(second))
            if not np.array_equal(before.keys[first], after.keys[second]):
                found = _changed(before, first, after, second)
                values = value_changes((before, first), (after, second), further)
                found = attrs.evolve(found, changed=(*changes, *found.changed, *_changed_values(image_id, values)))
            else:
                # Of an equal state only what belongs to the version can differ.
                values = value_changes((before, first), (after, second), of_version)
                found = ImageDiff(image_id, "changed", changed=(*changes, *_changed_values(image_id, values)))
            if found != ImageDiff(image_id, "changed"):
                yield found


def _changed_values(image_id: str, values: Mapping[tuple[str, int], Fields]) -> Iterator[RowChange]:
    for (target, index), fields in sorted(values.items()):
        text = f"image {image_id}" if target == "image" else f"{target}({index})"
        yield RowChange(f"{target} values", index, text, fields)


def _mark_changes(image_id: str, old: dict[str, str | None], new: dict[str, str | None]) -> tuple[RowChange, ...]:
    fields = {name: (old[name], new[name]) for name in old if old[name] != new[name]}
    return (RowChange("image", 0, f"image {image_id}", fields),) if fields else ()


def _whole(snapshot: Snapshot, row: int, image_id: str, status: str) -> ImageDiff:
    rows = snapshot.graph(row).all
    regions = tuple(_region_text(index, region) for index, region in enumerate(rows.regions))
    relations = tuple(_relation_text(relation, rows.regions) for relation in rows.relations)
    if status == "added":
        return ImageDiff(image_id, status, regions_added=regions, relations_added=relations)
    return ImageDiff(image_id, status, regions_removed=regions, relations_removed=relations)


def _changed(before: Snapshot, old: int, after: Snapshot, new: int) -> ImageDiff:
    first, second = before.graph(old).all, after.graph(new).all
    added_regions, removed_regions, changes = _compare("region", first.regions, second.regions, first, second)
    added, removed, relation_changes = _compare("relation", first.relations, second.relations, first, second)
    return ImageDiff(
        image_id=before.image_ids[old],
        status="changed",
        regions_added=added_regions,
        regions_removed=removed_regions,
        relations_added=added,
        relations_removed=removed,
        changed=(*changes, *relation_changes),
    )


def _compare(table: str, old: Any, new: Any, first: Any, second: Any) -> tuple[Any, Any, tuple[RowChange, ...]]:
    """(added, removed, changed); an index is an identity within a lineage, so rows are compared by index."""
    added, removed, changes = [], [], []
    for index, (left, right) in enumerate(zip_longest(old, new)):
        if left == right:
            continue
        if left is None:
            added.append(_text(index, right, second.regions))
        elif right is None:
            removed.append(_text(index, left, first.regions))
        elif table == "relation" and left.triplet[::2] != right.triplet[::2]:
            # Another pair of regions is another relation: the two versions are of different lineages.
            removed.append(_text(index, left, first.regions))
            added.append(_text(index, right, second.regions))
        else:
            changes.append(RowChange(table, index, _text(index, right, second.regions), _fields(left, right)))
    return tuple(added), tuple(removed), tuple(changes)


def _fields(left: Any, right: Any) -> dict[str, tuple[Any, Any]]:
    names = [field.name for field in attrs.fields(type(left))]
    return {
        name: (getattr(left, name), getattr(right, name))
        for name in names
        if getattr(left, name) != getattr(right, name)
    }


def _text(index: int, row: Region | Relation, regions: tuple[Region, ...]) -> str:
    return _region_text(index, row) if isinstance(row, Region) else _relation_text(row, regions)


def _region_text(index: int, region: Region) -> str:
    return f"{region.label or 'region'}({index})"


def _relation_text(relation: Relation, regions: tuple[Region, ...]) -> str:
    subject, other = regions[relation.subject], regions[relation.object]
    return f"{_region_text(relation.subject, subject)} {relation.predicate} {_region_text(relation.object, other)}"
