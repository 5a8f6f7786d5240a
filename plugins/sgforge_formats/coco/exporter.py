"""The exporter `coco`: a COCO instances file, images in id order.

What COCO has no place for stands in fields that start with `sgforge_`, which other readers pass over: on annotations
sgforge_attributes, sgforge_descriptions, sgforge_depth, sgforge_parent (an annotation id), sgforge_level,
sgforge_region (the index in the graph) and sgforge_made_by; at the top sgforge_rejected_annotations (rejected regions,
with status, reason and degree) and sgforge_relations (subject and object are annotation ids). Left out and counted:
regions without a label, without a place (neither box nor mask pixels), or with a label that `categories` does not
name, and relations of these.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs
import orjson

from sgforge import masks
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation, Sample
from sgforge.jsonl import shown_json
from sgforge_formats.coco.document import read_json
from sgforge_formats.coco.rows import Outline, annotation_row, image_row, relation_row
from sgforge_formats.config import CocoExportOptions
from sgforge_formats.exports import exported, whole_file

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["CocoExporter"]


@attrs.frozen
class _Categories:
    """`rows` as they are written, `ids` by name."""

    rows: tuple[Mapping[str, Any], ...]
    ids: Mapping[str, int]


class CocoExporter:
    """Writes COCO instances JSON; the file appears when it is whole."""

    def __init__(self, options: CocoExportOptions) -> None:
        self._options = options

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the file `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        categories = _categories(self._options.categories, snapshot)
        # Rows stream through temporary files: COCO's lists stand one after the other, images come one by one.
        with (
            tempfile.TemporaryDirectory(prefix="sgforge-coco-") as scratch,
            closing(_Lists(Path(scratch))) as lists,
            whole_file(output) as stream,
        ):
            for sample in exported(snapshot, counts):
                _write_sample(sample, categories.ids, lists, counts)
            stream.write(b'{"info":{"description":"exported by sgforge"},"categories":')
            stream.write(shown_json(orjson.dumps(categories.rows)))
            lists.write_to(stream)
            stream.write(b"}\n")
        return counts


class _Lists:
    """The lists of a COCO file that grow while images come in, each in a file of its own."""

    NAMES = ("images", "annotations", "sgforge_rejected_annotations", "sgforge_relations")

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, IO[bytes]] = {name: (folder / name).open("w+b") for name in self.NAMES}
        self.annotation_count = 0

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        file = self._files[name]
        file.write((b",\n" if file.tell() else b"\n") + shown_json(orjson.dumps(row)))

    def write_to(self, stream: IO[bytes]) -> None:
        for name, file in self._files.items():
            stream.write(b',"%s":[' % name.encode())
            file.seek(0, os.SEEK_SET)
            while block := file.read(1 << 20):
                stream.write(block)
            stream.write(b"]")

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def _write_sample(sample: Sample, ids: Mapping[str, int], lists: _Lists, counts: Counter[str]) -> None:
    rows = sample.graph.all
    lists.add("images", image_row(sample))
    numbers: dict[int, int] = {}
    for index, region in enumerate(rows.regions):
        if (reason := _unfit(region, ids)) is not None:
            counts[reason] += 1
            continue
        lists.annotation_count += 1
        numbers[index] = lists.annotation_count
    outlines = _outlines(rows.regions, numbers)
    for index in numbers:
        kept = rows.regions[index].kept
        row = annotation_row(sample, index, numbers, ids, outlines.get(index))
        lists.add("annotations" if kept else "sgforge_rejected_annotations", row)
        counts["regions" if kept else "regions rejected"] += 1
    _write_relations(sample, rows.relations, numbers, lists, counts)


def _unfit(region: Region, ids: Mapping[str, int]) -> str | None:
    if region.label is None:
        return "regions without a label left out"
    if region.box is None and (region.mask is None or region.mask.box is None):
        return "regions without a place left out"
    return None if region.label in ids else "regions of other categories left out"


def _outlines(regions: Sequence[Region], chosen: Iterable[int]) -> dict[int, Outline]:
    found = {index: mask for index in chosen if (mask := regions[index].mask) is not None}
    values = list(found.values())
    strings, areas = masks.to_coco_batch(values), masks.areas(values).tolist()
    return {index: Outline(text.decode("ascii"), area) for index, text, area in zip(found, strings, areas, strict=True)}


def _write_relations(
    sample: Sample, relations: Iterable[Relation], numbers: Mapping[int, int], lists: _Lists, counts: Counter[str]
) -> None:
    for relation in relations:
        if relation.subject not in numbers or relation.object not in numbers:
            counts["relations of regions left out"] += 1
            continue
        lists.add("sgforge_relations", relation_row(sample, relation, numbers))
        counts["relations" if relation.kept else "relations rejected"] += 1


def _categories(option: str | None, snapshot: Snapshot) -> _Categories:
    if option is None:
        labels = sorted(set(snapshot.vocabulary("label")))
        rows = tuple({"id": number, "name": label} for number, label in enumerate(labels, 1))
        return _Categories(rows, {str(row["name"]): number for number, row in enumerate(rows, 1)})
    content = read_json(Path(option))
    listed = content.get("categories") if isinstance(content, dict) else content
    if not isinstance(listed, list) or not all(_is_category(row) for row in listed):
        raise ConfigError(f"{option}: expected a COCO file or a list of categories, each with id and name")
    return _Categories(tuple(listed), {row["name"]: row["id"] for row in listed})


def _is_category(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), int) and isinstance(row.get("name"), str)
