"""Graph JSONL as columns: many lines checked at once by the rules of `sgforge.jsonl.rules`, without an object per row.

A column that finds a row it cannot take only marks the line. A marked line is then read by itself: that names the fault
(strict), or reports and leaves out what is wrong (lenient). So there is one place that words the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.columns import NO_LEVEL, GraphColumns, ImageColumns, Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.building import attributes_text
from sgforge.edits import Value
from sgforge.errors import GraphError
from sgforge.graph import CATEGORIES
from sgforge.jsonl.files import duplicate_text, numbered_lines
from sgforge.jsonl.further import values_of_line
from sgforge.jsonl.lenient import LineFault, clean_line, decode_leniently, id_of
from sgforge.jsonl.objects import decode_line, decode_masks, parse_graph_line
from sgforge.jsonl.pair_tables import PairTable, pair_table
from sgforge.jsonl.rules import REGION_KEYS, RELATION_KEYS, RELATION_REQUIRED, STATUSES, image_flaws
from sgforge.jsonl.table import RowTable, Words

__all__ = ["Further", "Tables", "read_columns"]

_CHUNK_IMAGES: Final = 512  # more do not fit in cache: 4096 take half as long again

Report = Callable[[LineFault], None]
Further = Callable[[int, Value], None]
Tables = Callable[[int, PairTable], None]


@attrs.frozen
class _Unreadable:
    """A line that is no JSON; `image_id` if a reader that is not strict can still tell it."""

    image_id: str | None


def read_columns(
    path: Path | str,
    *,
    strict: bool = True,
    chunk_images: int = _CHUNK_IMAGES,
    report: Report | None = None,
    further: Further | None = None,
    tables: Tables | None = None,
) -> Iterator[GraphColumns]:
    """The lines of a graph JSONL file as columns, at most `chunk_images` images at a time, in order.

    Strict: the first broken rule is a `GraphError`, word for word that of `read_jsonl`. Not strict (for evaluation):
    boxes without area, relations of a region to itself and repeated rows are kept as they are; anything else that
    breaks a rule goes to `report`, one `LineFault` each, and is left out: a relation, a field of a region (its row
    stays, since rows are numbered), or the line if the image's own fields are wrong or its id came before. A
    prediction's `failed` becomes `image/failed_reason`. Ids of a text stay the same from chunk to chunk. `further` gets
    the values of further columns, under the number of their image in the whole file; without it they are not read.
    `tables` gets the relations of images that are a table (`PairTable`), under the same number and before their columns
    are given; they are then no rows of the columns.
    """
    if not strict and report is None:
        raise GraphError("reading that is not strict needs `report`, so that nothing is left out silently")
    reader = _Reader(Path(path).name, None if strict else report, further, tables)
    lines = numbered_lines(path)
    while chunk := list(islice(lines, chunk_images)):
        yield reader.columns(chunk)


class _Reader:
    """Chunks of lines to columns, with what must be remembered between them: texts, and where each id was seen."""

    def __init__(self, name: str, report: Report | None, further: Further | None, tables: Tables | None) -> None:
        self._name = name
        self._report = report
        self._words = {vocabulary: Words() for vocabulary in Vocabularies.names()}
        self._seen: dict[str, int] = {}
        self._further, self._tables = further, tables
        self._before = 0

    def columns(self, lines: Sequence[tuple[int, bytes]]) -> GraphColumns:
        """The columns of some lines, given with their numbers."""
        numbers = [number for number, _ in lines]
        taken: dict[int, PairTable] = {}
        data = [self._decode(line, row, taken) for row, (_, line) in enumerate(lines)]
        columns, suspect = self._extract(data)
        repeated = self._repeated(data, numbers)
        doubtful = np.flatnonzero(suspect | repeated)
        if not len(doubtful):
            self._tell_values(data, taken)
            return columns
        if self._report is None:
            self._raise_first([lines[row] for row in doubtful.tolist()])
        for row in doubtful.tolist():
            taken.pop(row, None)
            data[row] = self._clean(lines[row][1], numbers[row], bool(repeated[row]))
        kept = [row for row, item in enumerate(data) if item is not None]
        data = [data[row] for row in kept]
        columns, suspect = self._extract(data)
        self._tell_values(data, {place: taken[row] for place, row in enumerate(kept) if row in taken})
        assert not suspect.any(), "a cleaned line is still refused"
        return columns

    def _tell_values(self, data: Sequence[dict[str, Any]], taken: Mapping[int, PairTable]) -> None:
        """What is told beside the columns, under the numbers of images in the whole file."""
        if self._tables is not None:
            for row, table in taken.items():
                self._tables(self._before + row, table)
        if self._further is not None:
            for number, item in enumerate(data, self._before):
                for value in values_of_line(item):
                    self._further(number, value)
        self._before += len(data)

    def _decode(self, line: bytes, row: int, taken: dict[int, PairTable]) -> Any:
        """The value of a line; relations that are a table are put into `taken`, where tables are asked for."""
        try:
            data = decode_line(line, "")
        except GraphError:
            return _Unreadable(None if self._report is None else _id_in(line))
        table = None if self._tables is None else pair_table(data)
        if table is not None and (self._report is not None or (table.pairs[:, 0] != table.pairs[:, 1]).all()):
            taken[row] = table
            del data["relations"]
        return data

    def _repeated(self, data: Sequence[Any], numbers: Sequence[int]) -> NDArray[np.bool_]:
        """Which lines repeat an image id, here or in an earlier chunk."""
        repeated = np.zeros(len(data), np.bool_)
        for row, (item, number) in enumerate(zip(data, numbers, strict=True)):
            image_id = item.image_id if isinstance(item, _Unreadable) else id_of(item)
            if image_id is not None:
                repeated[row] = self._seen.setdefault(image_id, number) != number
        return repeated

    def _raise_first(self, lines: Sequence[tuple[int, bytes]]) -> None:
        for number, line in lines:
            where = f"{self._name}:{number}"
            image_id = parse_graph_line(line, where).sample.image_id
            if self._seen[image_id] != number:
                raise GraphError(f"{where}: {duplicate_text(image_id, self._seen[image_id])}")
        raise AssertionError(f"{self._name}: columns refuse line {lines[0][0]}, which follows the rules")

    def _clean(self, line: bytes, number: int, repeated: bool) -> Any:
        assert self._report is not None
        if repeated:
            image_id = decode_leniently(line)["image_id"]
            message = duplicate_text(image_id, self._seen[image_id])
            self._report(
                LineFault(line=number, image_id=image_id, path="image_id", reason="duplicate-id", message=message)
            )
            return None
        cleaned = clean_line(line, number)
        for fault in cleaned.faults:
            self._report(fault)
        return cleaned.data

    def _extract(self, data: Sequence[Any]) -> tuple[GraphColumns, NDArray[np.bool_]]:
        """Columns of all lines, and which lines are suspect; the columns of these mean nothing."""
        suspect = np.fromiter((next(image_flaws(item), None) is not None for item in data), np.bool_, len(data))
        usable = [{} if bad else item for item, bad in zip(data, suspect.tolist(), strict=True)]
        region_rows = [item.get("regions") or () for item in usable]
        relation_rows = [item.get("relations") or () for item in usable]
        image = self._images(usable, region_rows, relation_rows)
        region, bad_regions = self._regions(list(chain.from_iterable(region_rows)), image)
        relation, bad_relations = self._relations(list(chain.from_iterable(relation_rows)), image)
        suspect |= np.bincount(bad_regions, minlength=len(data)).astype(np.bool_)
        suspect |= np.bincount(bad_relations, minlength=len(data)).astype(np.bool_)
        vocabularies = Vocabularies(**{name: words.texts() for name, words in self._words.items()})
        return GraphColumns(image, region, relation, vocabularies), suspect

    def _images(
        self, data: Sequence[dict[str, Any]], regions: Sequence[Sequence[Any]], relations: Sequence[Sequence[Any]]
    ) -> ImageColumns:
        words, digests = self._words, b"".join(bytes.fromhex(item.get("sha256") or "00" * 32) for item in data)
        return attrs.evolve(
            ImageColumns.blank(len(data)),
            id=Ragged.of_texts(item.get("image_id", "") for item in data),
            width=np.array([item.get("width", 0) for item in data], np.int32),
            height=np.array([item.get("height", 0) for item in data], np.int32),
            uri=Ragged.of_texts(item.get("uri") or "" for item in data),
            split=words["split"].ids([item.get("split") for item in data]),
            source=words["source"].ids([item.get("source") for item in data]),
            sha256=np.frombuffer(digests, np.uint8).reshape(-1, 32),
            region_count=np.array([len(rows) for rows in regions], np.uint32),
            relation_count=np.array([len(rows) for rows in relations], np.uint32),
            attributes=Ragged.of_texts(attributes_text(item.get("attributes")) for item in data),
            failed_reason=words["reason"].ids([item.get("failed") for item in data]),
        )

    def _regions(self, rows: Sequence[Any], image: ImageColumns) -> tuple[RegionColumns, NDArray[np.int64]]:
        """Region columns, and the image row of each region that they cannot take."""
        words, table = self._words, RowTable(rows, tuple(REGION_KEYS))
        owner = np.repeat(np.arange(len(image.width)), image.region_count)
        level = table.integers("level", NO_LEVEL)
        table.refuse((level <= NO_LEVEL) & _given(table, "level") | (level > -NO_LEVEL - 1))
        parent = table.integers("parent", -1)
        own = np.arange(len(rows)) - image.region_offsets[owner]
        outside = (parent < 0) | (parent >= image.region_count[owner]) | (parent == own)
        table.refuse(outside & _given(table, "parent"))
        table.checked("x", dict, lambda value: REGION_KEYS["x"](value) is None)
        attribute_count, attributes = table.texts("attributes")
        description_count, descriptions = table.texts("descriptions")
        columns = attrs.evolve(
            _with_masks(table, image, owner),
            label=table.ids("label", words["label"]),
            box=table.boxes("box", flat=self._report is not None),
            score=table.numbers("score", 0, 1),
            depth=table.numbers("depth"),
            degree=table.numbers("degree"),
            parent=parent.astype(np.int32),
            level=level.astype(np.int16),
            source=table.ids("source", words["source"]),
            status=table.codes("status", STATUSES),
            reason=table.ids("reason", words["reason"]),
            made_by=table.ids("made_by", words["step"]),
            judged_by=table.ids("judged_by", words["step"]),
            description=Ragged(description_count, Ragged.of_texts(descriptions)),
            attribute=Ragged(attribute_count, words["attribute"].ids(attributes)),
        )
        return columns, owner[table.suspect]

    def _relations(self, rows: Sequence[Any], image: ImageColumns) -> tuple[RelationColumns, NDArray[np.int64]]:
        """Relation columns, and the image row of each relation that they cannot take."""
        words, table = self._words, RowTable(rows, tuple(RELATION_KEYS), RELATION_REQUIRED)
        owner = np.repeat(np.arange(len(image.width)), image.relation_count)
        count = image.region_count[owner]
        subject, other = table.integers("subject", -1), table.integers("object", -1)
        table.refuse((subject < 0) | (subject >= count) | (other < 0) | (other >= count))
        if self._report is None:
            table.refuse(subject == other)
        table.checked("x", dict, lambda value: RELATION_KEYS["x"](value) is None)
        columns = RelationColumns(
            subject=subject.astype(np.int32),
            predicate=table.ids("predicate", words["predicate"], filled=True),
            object=other.astype(np.int32),
            category=table.codes("category", CATEGORIES),
            score=table.numbers("score", 0, 1),
            status=table.codes("status", STATUSES),
            reason=table.ids("reason", words["reason"]),
            degree=table.numbers("degree"),
            made_by=table.ids("made_by", words["step"]),
            judged_by=table.ids("judged_by", words["step"]),
        )
        return columns, owner[table.suspect]


def _id_in(line: bytes) -> str | None:
    try:
        return id_of(decode_leniently(line))
    except GraphError:
        return None


def _given(table: RowTable, key: str) -> NDArray[np.bool_]:
    """Rows in which a key has a value."""
    if not table.has(key):
        return np.zeros(len(table.suspect), np.bool_)
    return np.array([value is not None for value in table.values(key)], np.bool_)


def _with_masks(table: RowTable, image: ImageColumns, owner: NDArray[np.int64]) -> RegionColumns:
    """Blank region columns with the masks filled in."""
    blank = RegionColumns.blank(len(owner))
    check = REGION_KEYS["mask"]
    found = table.checked("mask", dict, lambda value: check(value) is None)
    if not found:
        return blank
    rows = np.array([row for row, _ in found], np.int64)
    masks, faults = decode_masks([value for _, value in found])
    size = np.stack([image.height, image.width], axis=1)[owner[rows]]
    alien = (size != 0).all(axis=1) & (masks.frame != size).any(axis=1)
    refused = np.zeros(len(owner), np.bool_)
    refused[rows] = alien | (faults != 0)
    table.refuse(refused)
    has_mask, crop, frame = blank.has_mask.copy(), blank.mask_crop.copy(), blank.mask_frame.copy()
    lengths = np.zeros(len(owner), np.uint32)
    has_mask[rows], crop[rows], lengths[rows] = 1, masks.crop, masks.lengths
    frame[rows] = np.where((masks.frame == size).all(axis=1)[:, None], 0, masks.frame)
    return attrs.evolve(blank, has_mask=has_mask, mask_crop=crop, mask_frame=frame, mask=Ragged(lengths, masks.data))
