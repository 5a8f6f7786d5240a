"""The rules of `sgforge.graph`, checked column-wise: millions of rows without one object."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from sgforge.columns.schema import NO_LEVEL, ImageColumns, RegionColumns, RelationColumns, Vocabularies, specs_of
from sgforge.graph import CATEGORIES
from sgforge.text.wording import counted

__all__ = ["Fault", "find_faults"]


@attrs.frozen(order=True)
class Fault:
    """One broken rule: the image's row, the table and row within the image, where it stands, and what is wrong."""

    image: int
    table: str
    row: int
    where: str
    message: str


class _Finder:
    """Collects the faults of one table from boolean columns."""

    def __init__(self, table: str, offsets: np.ndarray) -> None:
        self._table = table
        self._offsets = offsets
        self.faults: list[Fault] = []

    def report(self, bad: np.ndarray, field: str, message: Callable[[int], str]) -> None:
        """A fault for every true row; `message` gets the row number within the table."""
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        images = np.searchsorted(self._offsets, rows, side="right") - 1
        local = rows - self._offsets[images]
        for row, image, index in zip(rows.tolist(), images.tolist(), local.tolist(), strict=True):
            where = f"{self._table}[{index}].{field}" if self._table else field
            self.faults.append(Fault(image=image, table=self._table, row=index, where=where, message=message(row)))


def find_faults(
    image: ImageColumns, region: RegionColumns, relation: RelationColumns, vocabularies: Vocabularies
) -> list[Fault]:
    """All faults, in order of image, table and row. Counts that do not add up are a fault of the first image."""
    totals = int(image.region_offsets[-1]), int(image.relation_offsets[-1])
    if totals != (len(region.label), len(relation.subject)):
        message = f"the counts say {counted(totals[0], 'region')} and {counted(totals[1], 'relation')}, "
        message += f"the columns hold {len(region.label)} and {len(relation.subject)}"
        return [Fault(image=0, table="", row=0, where="counts", message=message)]
    faults = [
        *_image_faults(image, vocabularies),
        *_region_faults(image, region, vocabularies),
        *_relation_faults(image, relation, vocabularies),
    ]
    return sorted(faults)


def _image_faults(image: ImageColumns, vocabularies: Vocabularies) -> list[Fault]:
    find = _Finder("", np.arange(len(image.width) + 1))
    width, height = image.width, image.height
    find.report(
        (width < 0) | (height < 0) | ((width == 0) != (height == 0)),
        "width, height",
        lambda row: f"image size {width[row]}x{height[row]} must be positive, or 0x0 without an image",
    )
    find.report(image.id.counts == 0, "image_id", lambda row: "must be a non-empty text")
    _check_ids(find, image, vocabularies)
    return find.faults


def _region_faults(image: ImageColumns, region: RegionColumns, vocabularies: Vocabularies) -> list[Fault]:
    find = _Finder("regions", image.region_offsets)
    counts = np.repeat(image.region_count.astype(np.int64), image.region_count)
    own = np.arange(len(counts)) - np.repeat(image.region_offsets[:-1], image.region_count)
    box = region.box
    with np.errstate(invalid="ignore"):
        x0, y0, x1, y1 = box.T
        good = (x0 < x1) & (y0 < y1) & (x0 > -np.inf) & (y0 > -np.inf) & (x1 < np.inf) & (y1 < np.inf)
    find.report(
        ~good & ~(np.isnan(x0) & np.isnan(y0) & np.isnan(x1) & np.isnan(y1)),
        "box",
        lambda row: f"{box[row].tolist()} must be finite with x0 < x1 and y0 < y1",
    )
    _check_unit(find, region.score)
    for name in ("depth", "degree"):
        _check_finite(find, getattr(region, name), name)
    parent = region.parent
    find.report(
        (parent < -1) | (parent >= counts) | (parent == own),
        "parent",
        lambda row: f"{parent[row]} must be another region of the image, which has {counts[row]}",
    )
    find.report(region.level < NO_LEVEL, "level", lambda row: "must fit 16 bits")
    find.report(region.status > 1, "status", lambda row: "must be kept or rejected")
    _check_masks(find, image, region)
    _check_ids(find, region, vocabularies)
    return find.faults


def _check_masks(find: _Finder, image: ImageColumns, region: RegionColumns) -> None:
    if not region.has_mask.any() and not region.mask.counts.any():
        return
    crop = region.mask_crop.astype(np.int64)
    size = np.repeat(np.stack([image.height, image.width], axis=1), image.region_count, axis=0).astype(np.int64)
    stated = region.mask_frame.astype(np.int64)
    frame = np.where((stated == 0).all(axis=1)[:, None], size, stated)
    has = region.has_mask == 1
    inside = (crop >= 0).all(axis=1) & (crop[:, :2] + crop[:, 2:] <= frame[:, ::-1]).all(axis=1)
    find.report(
        has & ~inside,
        "mask",
        lambda row: (
            f"crop (x, y, width, height) {crop[row].tolist()} leaves its frame of {frame[row, 1]}x{frame[row, 0]}"
        ),
    )
    find.report(
        has & (size != 0).all(axis=1) & (frame != size).any(axis=1),
        "mask",
        lambda row: f"is {frame[row, 1]}x{frame[row, 0]}, the image {size[row, 1]}x{size[row, 0]}",
    )
    find.report(
        ~has & ((region.has_mask != 0) | (region.mask.counts != 0)), "mask", lambda row: "run lengths without a mask"
    )


def _relation_faults(image: ImageColumns, relation: RelationColumns, vocabularies: Vocabularies) -> list[Fault]:
    find = _Finder("relations", image.relation_offsets)
    counts = np.repeat(image.region_count.astype(np.int64), image.relation_count)
    for name in ("subject", "object"):
        index = getattr(relation, name)
        find.report(
            (index < 0) | (index >= counts),
            name,
            _out_of_range(index, counts),
        )
    find.report(
        relation.subject == relation.object,
        "object",
        lambda row: f"relates region {relation.subject[row]} to itself",
    )
    nameless = np.asarray([not text for text in vocabularies.predicate] + [True])
    known = np.where(relation.predicate < len(vocabularies.predicate), relation.predicate, -1)
    find.report(nameless[np.maximum(known, -1)], "predicate", lambda row: "must be a non-empty text")
    find.report(relation.category >= len(CATEGORIES), "category", lambda row: f"must be one of {', '.join(CATEGORIES)}")
    find.report(relation.status > 1, "status", lambda row: "must be kept or rejected")
    _check_unit(find, relation.score)
    _check_finite(find, relation.degree, "degree")
    _check_ids(find, relation, vocabularies)
    return find.faults


def _check_unit(find: _Finder, score: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        bad = (score < 0) | (score > 1)
    find.report(bad, "score", lambda row: f"{score[row]} must be a number in [0, 1]")


def _check_finite(find: _Finder, values: np.ndarray, name: str) -> None:
    find.report(np.isinf(values), name, lambda row: f"{values[row]} is not a finite float32 number")


def _check_ids(find: _Finder, table: ImageColumns | RegionColumns | RelationColumns, words: Vocabularies) -> None:
    for spec in specs_of(type(table)):
        if spec.vocabulary is None or spec.ragged:
            continue
        ids, count = getattr(table, spec.name), len(words.of(spec.vocabulary))
        find.report(
            (ids < -1) | (ids >= count),
            spec.name,
            _outside(ids, count),
        )
    if isinstance(table, RegionColumns):
        attribute = table.attribute
        values = attribute.values
        assert isinstance(values, np.ndarray)
        wrong = np.flatnonzero((values < 0) | (values >= len(words.attribute)))
        bad = np.zeros(len(attribute), bool)
        bad[np.searchsorted(attribute.offsets, wrong, side="right") - 1] = True
        find.report(bad, "attributes", lambda row: f"an id points outside its vocabulary of {len(words.attribute)}")


def _out_of_range(index: np.ndarray, counts: np.ndarray) -> Callable[[int], str]:
    return lambda row: f"{index[row]} is out of range: the graph has {counted(counts[row], 'region')}"


def _outside(ids: np.ndarray, count: int) -> Callable[[int], str]:
    return lambda row: f"id {ids[row]} points outside its vocabulary of {count}"
