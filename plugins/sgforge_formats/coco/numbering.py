"""Which categories an exported COCO file has, and which of them a region is of."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from sgforge.errors import ConfigError
from sgforge_formats.coco.categories import CategoryId, read_categories_file
from sgforge_formats.coco.extras import category_records

__all__ = ["Numbering", "numbering_from_file", "numbering_of"]

Row: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Numbering:
    """`rows` of categories as they are written; `by_name`: the ids that a name has, more than one if it is shared.

    `is_anew`: ids that were read contradicted each other, so that all labels are numbered from 1.
    """

    rows: tuple[Row, ...]
    by_name: Mapping[str, tuple[CategoryId, ...]]
    is_anew: bool = False

    @classmethod
    def of(cls, rows: Iterable[Row], *, is_anew: bool = False) -> Numbering:
        """The numbering of some categories."""
        rows = tuple(rows)
        by_name: dict[str, list[CategoryId]] = defaultdict(list)
        for row in rows:
            by_name[row["name"]].append(row["id"])
        return cls(rows, {name: tuple(ids) for name, ids in by_name.items()}, is_anew)

    def id_of(self, label: str, given: CategoryId | None) -> CategoryId | None:
        """The id of a region's category, `given` being the one it was read with; None if it cannot be told."""
        ids = self.by_name.get(label, ())
        if given in ids:
            return given
        return ids[0] if len(ids) == 1 else None


def numbering_from_file(path: Path) -> Numbering:
    """The categories of a file; an id that stands twice is a `ConfigError`."""
    rows = read_categories_file(path)
    ids = [row["id"] for row in rows]
    for number in ids:
        if ids.count(number) > 1:
            raise ConfigError(
                f"{path}: category id {number!r} stands twice: which of them a region is of cannot be told"
            )
    return Numbering.of(rows)


def numbering_of(attributes: Iterable[str], labels: Iterable[str]) -> Numbering:
    """The categories that the images were read with, then the other labels in sorted order.

    `attributes` are those of the images' graphs, as JSON text. Where two images give one id two names, or one name
    different ids beside others that it shares, all labels are numbered anew.
    """
    given: dict[CategoryId, Row] = {}
    for record in _records(attributes):
        if given.setdefault(record["id"], record)["name"] != record["name"]:
            return Numbering.of(_numbered(sorted(set(labels)), set()), is_anew=True)
    names = {row["name"] for row in given.values()}
    more = _numbered(sorted(set(labels) - names), set(given))
    used = set(labels)
    rows = [row for _, row in sorted(given.items(), key=_by_id) if row["name"] in used]
    return Numbering.of([*rows, *more])


def _records(attributes: Iterable[str]) -> Iterable[Row]:
    """The categories named in the attributes of graphs, each kind of text looked at once."""
    for text in dict.fromkeys(attributes):
        if text:
            yield from category_records(json.loads(text))


def _numbered(labels: Iterable[str], taken: set[CategoryId]) -> Iterable[Row]:
    first = max((number for number in taken if isinstance(number, int)), default=0) + 1
    return [{"id": number, "name": label} for number, label in zip(count(max(first, 1)), labels, strict=False)]


def _by_id(pair: tuple[CategoryId, Row]) -> tuple[bool, int, str]:
    number = pair[0]
    return isinstance(number, str), 0 if isinstance(number, str) else number, str(number)
