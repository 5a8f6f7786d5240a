"""New columns from old ones and packed edits: rows appended, verdicts and sets scattered, no object built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
import numpy as np

from sgforge.columns import GraphColumns, ImageColumns, Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.building import with_image_frames
from sgforge.columns.ragged import ends_of, expand
from sgforge.columns.schema import Table
from sgforge.columns.words import merged
from sgforge.errors import DatasetError
from sgforge.graph import ImageRef
from sgforge.packed import REGION_FIELD_NAMES, RELATION_FIELD_NAMES, EditColumns, edit_columns

__all__ = ["apply_columns", "apply_packed", "index_faults"]

_T = TypeVar("_T", bound=Table)
_REGION_COLUMNS: Final = {
    "mask": ("has_mask", "mask_crop", "mask_frame", "mask"),
    "descriptions": ("description",),
    "attributes": ("attribute",),
}
"""The columns behind a field, where they are not the one of its name."""


def apply_packed(base: GraphColumns, rows: np.ndarray, packed: Sequence[bytes], steps: Sequence[str]) -> GraphColumns:
    """The images of `base` with packed edit i applied to image `rows[i]` in the name of `steps[i]`.

    Each image has at most one edit, as `apply_edit` returned it. A row that an edit names and the image has not is a
    `DatasetError`. Images keep their order; vocabularies may be larger than needed.
    """
    return apply_columns(base, rows, edit_columns(packed), steps) if len(rows) else base


def apply_columns(base: GraphColumns, rows: np.ndarray, edits: EditColumns, steps: Sequence[str]) -> GraphColumns:
    """As `apply_packed`, of edits that are columns already; their values of further columns are for others to take."""
    words = merged([base.vocabularies, edits.vocabularies, Vocabularies(step=tuple(steps))])
    base, edits = base.over(words), edits.over(words)
    step_ids = {text: index for index, text in enumerate(words.step)}
    steps_by_edit = np.asarray([step_ids[step] for step in steps], np.int32)
    images = np.asarray(rows, np.int64)
    for number, what in index_faults(edits, base.image.region_count[images], base.image.relation_count[images]).items():
        image_id = base.image.id.text_at(int(images[number]))
        raise DatasetError(f"an edit of image {image_id!r} names {what}; it does not belong to this parent")
    grown = _append_rows(base, images, edits)
    dropped = grown.image.dropped.copy()
    dropped[images] = np.where(edits.dropped >= 0, edits.dropped, dropped[images])
    grown = attrs.evolve(grown, image=attrs.evolve(_with_made(grown.image, images, edits.images), dropped=dropped))
    return _judge(_set_fields(grown, images, edits), images, edits, steps_by_edit)


def index_faults(edits: EditColumns, regions: np.ndarray, relations: np.ndarray) -> dict[int, str]:
    """What edits name that is not there, by the number of the edit; each is for a graph of so many rows, (E,) both."""
    every = np.arange(len(regions))
    regions, relations = regions + edits.regions_added, relations + edits.relations_added
    of_region, of_relation = np.repeat(every, edits.regions_added), np.repeat(every, edits.relations_added)
    is_parent = (edits.set_target == 0) & (edits.set_field == REGION_FIELD_NAMES.index("parent"))
    named = [
        (of_relation, edits.relation.subject, regions, "region"),
        (of_relation, edits.relation.object, regions, "region"),
        # -1 stands for no parent.
        (of_region, np.where(edits.region.parent == -1, 0, edits.region.parent), regions, "region"),
        (edits.set_edit[is_parent], _new_parents(edits, is_parent), regions, "region"),
        *_judged_and_set(edits, regions, relations),
    ]
    found: dict[int, str] = {}
    for owner, index, counts, kind in named:
        for at in np.flatnonzero((index < 0) | (index >= counts[owner])).tolist():
            found.setdefault(int(owner[at]), f"{kind} {index[at]} of {counts[owner[at]]}")
    return found


def _new_parents(edits: EditColumns, is_parent: np.ndarray) -> np.ndarray:
    parents: np.ndarray = edits.region_values.parent[edits.set_value[is_parent]]
    return np.where(parents == -1, 0, parents)


def _judged_and_set(
    edits: EditColumns, regions: np.ndarray, relations: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, str]]:
    for target, counts, kind in ((0, regions, "region"), (1, relations, "relation")):
        judged, given = edits.verdict_target == target, edits.set_target == target
        yield edits.verdict_edit[judged], edits.verdict_row[judged], counts, kind
        yield edits.set_edit[given], edits.set_row[given], counts, kind


def _with_made(image: ImageColumns, images: np.ndarray, made: Mapping[int, ImageRef]) -> ImageColumns:
    """The images with the pictures that edits made of them, by number of the edit."""
    if not made:
        return image
    width, height, digests = image.width.copy(), image.height.copy(), image.sha256.copy()
    uris = image.uri.byte_rows()
    for number, picture in made.items():
        row = int(images[number])
        width[row], height[row], uris[row] = picture.width, picture.height, picture.uri.encode()
        digests[row] = np.frombuffer(bytes.fromhex(picture.sha256), np.uint8)
    return attrs.evolve(image, width=width, height=height, sha256=digests, uri=Ragged.of_bytes(uris))


def _append_rows(base: GraphColumns, images: np.ndarray, edits: EditColumns) -> GraphColumns:
    image = base.image
    region, region_count = _grow(base.region, image.region_count, images, edits.region, edits.regions_added)
    relation, relation_count = _grow(base.relation, image.relation_count, images, edits.relation, edits.relations_added)
    image = attrs.evolve(image, region_count=region_count, relation_count=relation_count)
    if region is not base.region:
        region = with_image_frames(image, region)
    return attrs.evolve(base, image=image, region=region, relation=relation)


def _grow(
    table: _T, counts: np.ndarray, images: np.ndarray, added: _T, added_counts: np.ndarray
) -> tuple[_T, np.ndarray]:
    """`table` with the added rows behind the rows of their images, and the new counts."""
    if not added_counts.any():
        return table, counts
    grown = counts.copy()
    grown[images] += added_counts.astype(np.uint32)
    if not len(counts) or (not counts.any() and (np.diff(images) > 0).all()):
        # The first rows of all: they stand in the right order as they came.
        return added, grown
    starts, old_starts = ends_of(grown)[:-1], ends_of(counts)[:-1]
    old_rows = int(counts.sum())
    order = np.empty(old_rows + int(added_counts.sum()), np.int64)
    order[expand(starts, counts)] = expand(old_starts, counts)
    order[expand(starts[images] + counts[images], added_counts)] = np.arange(old_rows, len(order))
    return type(table).concat([table, added]).take(order), grown


def _last_of_each(rows: np.ndarray) -> np.ndarray:
    """Positions of the last entry for each row: a later verdict or set of the same row wins."""
    _, from_end = np.unique(rows[::-1], return_index=True)
    return len(rows) - 1 - from_end


def _table_rows(columns: GraphColumns, images: np.ndarray, is_relation: bool, local: np.ndarray) -> np.ndarray:
    """Rows in the table of image-local rows; one outside its image is a `DatasetError`."""
    image = columns.image
    counts = (image.relation_count if is_relation else image.region_count)[images]
    wrong = np.flatnonzero((local < 0) | (local >= counts))
    if len(wrong):
        at = int(wrong[0])
        what = "relation" if is_relation else "region"
        raise DatasetError(
            f"an edit of image {image.id.text_at(int(images[at]))!r} names {what} {local[at]} of {counts[at]}; "
            "it does not belong to this parent"
        )
    rows: np.ndarray = (image.relation_offsets if is_relation else image.region_offsets)[images] + local
    return rows


def _set_fields(columns: GraphColumns, images: np.ndarray, edits: EditColumns) -> GraphColumns:
    if not len(edits.set_edit):
        return columns
    changed: dict[str, Any] = {}
    for is_relation, names in ((False, REGION_FIELD_NAMES), (True, RELATION_FIELD_NAMES)):
        name = "relation" if is_relation else "region"
        table: Table = getattr(columns, name)
        values: Table = edits.relation_values if is_relation else edits.region_values
        for field, field_name in enumerate(names):
            chosen = np.flatnonzero((edits.set_target == is_relation) & (edits.set_field == field))
            if not len(chosen):
                continue
            rows = _table_rows(columns, images[edits.set_edit[chosen]], is_relation, edits.set_row[chosen])
            last = _last_of_each(rows)
            columns_of_field = (field_name,) if is_relation else _REGION_COLUMNS.get(field_name, (field_name,))
            table = _replace(table, columns_of_field, rows[last], values, edits.set_value[chosen[last]])
        changed[name] = table
    region: RegionColumns = changed["region"]
    if region is not columns.region:
        region = with_image_frames(columns.image, region)
    relation: RelationColumns = changed["relation"]
    return attrs.evolve(columns, region=region, relation=relation)


def _replace(table: _T, names: tuple[str, ...], rows: np.ndarray, values: Table, value_rows: np.ndarray) -> _T:
    """`table` with the named columns of `rows` taken from `value_rows` of `values`."""
    fresh: dict[str, Any] = {}
    for name in names:
        old, new = getattr(table, name), getattr(values, name)
        if isinstance(old, Ragged):
            order = np.arange(len(old), dtype=np.int64)
            order[rows] = len(old) + value_rows
            fresh[name] = Ragged.concat([old, new]).take(order)
        else:
            fresh[name] = old.copy()
            fresh[name][rows] = new[value_rows]
    changed: Any = table
    result: _T = attrs.evolve(changed, **fresh)
    return result


def _judge(columns: GraphColumns, images: np.ndarray, edits: EditColumns, steps: np.ndarray) -> GraphColumns:
    region = _judged(columns, images, edits, steps, False)
    relation = _judged(columns, images, edits, steps, True)
    return attrs.evolve(columns, region=region, relation=relation)


def _judged(columns: GraphColumns, images: np.ndarray, edits: EditColumns, steps: np.ndarray, is_relation: bool) -> Any:
    table: Any = columns.relation if is_relation else columns.region
    chosen = np.flatnonzero(edits.verdict_target == is_relation)
    if not len(chosen):
        return table
    owners = edits.verdict_edit[chosen]
    rows = _table_rows(columns, images[owners], is_relation, edits.verdict_row[chosen])
    last = _last_of_each(rows)
    at, chosen = rows[last], chosen[last]
    values = {
        "status": edits.verdict_status,
        "reason": edits.verdict_reason,
        "degree": edits.verdict_degree,
        "judged_by": steps[edits.verdict_edit],
    }
    fresh: dict[str, np.ndarray] = {}
    for name, column in values.items():
        fresh[name] = getattr(table, name).copy()
        fresh[name][at] = column[chosen]
    return attrs.evolve(table, **fresh)
