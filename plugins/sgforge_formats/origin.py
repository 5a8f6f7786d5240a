"""Where the rows of an image come from: their ids in the file, and what the file says of them beside the graph.

One value of the column `formats.origin` an image, which exporters write back: {"regions": [id, ...], "relations":
[id, ...], "more": {"image": {...}, "regions": {INDEX: {...}}, "relations": {INDEX: {...}}}}. Rows of a graph are only
appended, so an index stays right; rows that later steps made have no id here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, TypeAlias

import attrs
import orjson

from sgforge.graph import Sample, Values
from sgforge.graph.values import HeldValues, kind_of
from sgforge_formats.columns import ORIGIN

__all__ = ["DeferredOrigin", "Origin", "RowId", "fresh_ids"]

RowId: TypeAlias = int | str
_LARGEST: Final = 900_000
"""Bytes of a value that are certainly taken; a JSON value has at most 1 MiB."""


@attrs.frozen
class Origin:
    """Ids of regions and relations by index, None where a row has none, and what else the file says of each."""

    region_ids: Sequence[RowId | None] = ()
    relation_ids: Sequence[RowId | None] = ()
    image: Mapping[str, Any] = attrs.field(factory=dict)
    regions: Mapping[int, Mapping[str, Any]] = attrs.field(factory=dict)
    relations: Mapping[int, Mapping[str, Any]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, sample: Sample) -> Origin:
        """That of a sample; what is not of our making there is passed over."""
        value = sample.values.get(ORIGIN.name)
        if not isinstance(value, dict):
            return cls()
        more = value.get("more")
        more = more if isinstance(more, dict) else {}
        image = more.get("image")
        return cls(
            region_ids=_ids(value.get("regions")),
            relation_ids=_ids(value.get("relations")),
            image=image if isinstance(image, dict) else {},
            regions=_by_index(more.get("regions")),
            relations=_by_index(more.get("relations")),
        )

    def region_id(self, index: int) -> RowId | None:
        """The id of a region in the file."""
        return self.region_ids[index] if index < len(self.region_ids) else None

    def relation_id(self, index: int) -> RowId | None:
        """The id of a relation in the file."""
        return self.relation_ids[index] if index < len(self.relation_ids) else None

    def values(self) -> dict[str, Any]:
        """The value by its column; without the extras of rows where they are too many, none where nothing is known."""
        found: dict[str, Any] = {}
        for name, ids in (("regions", self.region_ids), ("relations", self.relation_ids)):
            if any(one is not None for one in ids):
                found[name] = list(ids)
        rows = {"regions": _as_texts(self.regions), "relations": _as_texts(self.relations)}
        more = {name: said for name, said in ({"image": dict(self.image)} | rows).items() if said}
        for value in ({**found, "more": more} if more else found, found):
            plain = _as_json(value)
            if plain:
                return {ORIGIN.name: plain}
        return {}


class DeferredOrigin(Values):
    """The value of the column, made when it is asked for."""

    __slots__ = ("_found", "_origin")

    def __init__(self, origin: Callable[[], Origin]) -> None:
        self._origin = origin
        self._found: dict[str, Any] | None = None

    def _made(self) -> dict[str, Any]:
        if self._found is None:
            self._found = self._origin().values()
        return self._found

    def __getitem__(self, name: str) -> Any:
        return self._made()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made())

    def __len__(self) -> int:
        return len(self._made())

    def kind(self, name: str) -> str:
        return kind_of(self._made()[name])

    def __reduce__(self) -> Any:
        return HeldValues, (self._made(),)


def _as_json(value: dict[str, Any]) -> dict[str, Any] | None:
    """The value as JSON reads it again, NaN and infinities as null; None for one that is too long or no JSON."""
    try:
        text, reads = orjson.dumps(value), orjson.loads
    except TypeError:  # numbers beyond 64 bits
        try:
            text, reads = json.dumps(value, allow_nan=False).encode(), json.loads
        except (TypeError, ValueError):
            return None
    if len(text) > _LARGEST:
        return None
    found: dict[str, Any] = reads(text)
    return found


def _as_texts(rows: Mapping[int, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {str(index): row for index, row in rows.items()}


def _ids(value: Any) -> Sequence[RowId | None]:
    if not isinstance(value, list):
        return ()
    return [one if isinstance(one, (int, str)) and not isinstance(one, bool) else None for one in value]


def _by_index(value: Any) -> Mapping[int, Mapping[str, Any]]:
    if not isinstance(value, dict):
        return {}
    return {int(index): row for index, row in value.items() if index.isdecimal() and isinstance(row, dict)}


def fresh_ids(taken: Iterable[RowId | None]) -> Iterator[int]:
    """Whole numbers for rows that have no id: above all those that are taken."""
    return count(max((one for one in taken if isinstance(one, int)), default=0) + 1)
