"""What sgforge writes into COCO files beside COCO's own fields, read back: verdicts, texts, parents and relations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

import attrs

from sgforge.errors import GraphError
from sgforge.graph import Region, Relation
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.coco.annotation import CROWD, OWN
from sgforge_formats.coco.categories import CategoryId, category_id_of
from sgforge_formats.coco.document import Item, Raw
from sgforge_formats.coco.instances import FoundRegion
from sgforge_formats.reading.checks import Fault, is_plain

__all__ = ["Related", "indices_of", "with_own_fields"]

_REGION: Final = f"{OWN}region"
_PARENT: Final = f"{OWN}parent"
_LISTS: Final = {OWN + name: name for name in ("attributes", "descriptions")}
_NAMES: Final = ("source", "made_by", "status", "reason", "judged_by")
_FIELDS: Final = {OWN + name: name for name in ("depth", "level", "degree", *_NAMES)}
_PLACES: Final = {field.name: place for place, field in enumerate(attrs.fields(Region))}
_fields_of: Final = attrgetter(*_PLACES)
_OF_RELATION: Final = frozenset(["category", "score", "made_by", "status", "reason", "degree", "judged_by"])


@attrs.frozen
class Related:
    """The regions of an image in the order of their graph, its relations, and what could not be used."""

    found: Sequence[FoundRegion]
    relations: Sequence[Relation]
    failures: Sequence[SourceFailure]


def with_own_fields(found: Sequence[FoundRegion], relations: Sequence[Item], where: str) -> Related:
    """The regions with what sgforge wrote of them, and their relations; `where` names the file.

    Regions come in the order that `sgforge_region` gives, those without it in the order of the file.
    """
    if not relations and not any(one.annotation.own for one in found):
        return Related(found, (), ())
    ordered = sorted(found, key=_order)
    indices = indices_of(ordered)
    failures: list[SourceFailure] = []
    regions = []
    for index, one in enumerate(ordered):
        try:
            regions.append(_with_fields(one, index, indices))
        except (GraphError, _UnknownRegionError) as error:
            regions.append(one)
            reason = "unknown-region" if isinstance(error, _UnknownRegionError) else "bad-own-field"
            failures.append(Fault(reason, f"{error}; its sgforge fields are left out").of(f"{where}: {one.item.where}"))
    made, faults = _relations(relations, indices, where)
    return Related(regions, made, [*failures, *faults])


class _UnknownRegionError(Exception):
    """An annotation id that names no region of its image, or several."""


def _order(one: FoundRegion) -> float:
    value = one.item.raw.get(_REGION)
    return value if isinstance(value, int) else float("inf")


def indices_of(found: Iterable[FoundRegion]) -> dict[CategoryId, int | None]:
    """The index of each region by its annotation id; None where several have it."""
    indices: dict[CategoryId, int | None] = {}
    for index, one in enumerate(found):
        number = category_id_of(one.item.raw.get("id"))
        if number is not None:
            indices[number] = None if number in indices else index
    return indices


def _index(value: Any, what: str, indices: Mapping[CategoryId, int | None]) -> int:
    number = category_id_of(value)
    index = None if number is None else indices.get(number)
    if index is None:
        raise _UnknownRegionError(
            f"{what} {shortened(value)} names no annotation of its image that is read, or several"
        )
    return index


def _with_fields(one: FoundRegion, own_index: int, indices: Mapping[CategoryId, int | None]) -> FoundRegion:
    raw, own = one.item.raw, one.annotation.own
    if len(own) == 1 and own[0] == _REGION:  # which gave it its place
        return one
    changes: dict[str, Any] = {_FIELDS[key]: raw[key] for key in own if key in _FIELDS and raw[key] is not None}
    _check_names(changes)
    for key in own:
        name = _LISTS.get(key)
        if name is not None and (texts := _texts(raw, key)):
            known = [text for text in getattr(one.region, name) if text != CROWD]
            crowd = [text for text in getattr(one.region, name) if text == CROWD]
            changes[name] = (*known, *texts, *crowd)
    if raw.get(_PARENT) is not None:
        changes["parent"] = _index(raw[_PARENT], _PARENT, indices)
        if changes["parent"] == own_index:
            raise GraphError(f"{_PARENT} {raw[_PARENT]!r} is the annotation itself")
    if not changes:
        return one
    fields = list(_fields_of(one.region))
    for name, value in changes.items():
        fields[_PLACES[name]] = value
    # By position: names take twice as long, and attrs.evolve four times.
    return FoundRegion(Region(*fields), one.annotation, one.item, one.polygons)


def _check_names(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name in _NAMES and not (isinstance(value, str) and value and is_plain(value)):
            raise GraphError(f"{name} {shortened(value)} must be a text without control characters")


def _texts(raw: Raw, key: str) -> list[str]:
    value = raw[key] or []
    if not isinstance(value, list) or not all(isinstance(text, str) and is_plain(text) for text in value):
        raise GraphError(f"{key} {shortened(value)} must be a list of texts without control characters")
    return value


def _relations(
    items: Sequence[Item], indices: Mapping[CategoryId, int | None], where: str
) -> tuple[list[Relation], list[SourceFailure]]:
    relations: list[Relation] = []
    failures: list[SourceFailure] = []
    for item in items:
        try:
            relations.append(_relation(item.raw, indices))
        except _UnknownRegionError as error:
            failures.append(Fault("unknown-region", str(error)).of(f"{where}: {item.where}"))
        except GraphError as error:
            failures.append(Fault("bad-relation", str(error)).of(f"{where}: {item.where}"))
    return relations, failures


def _relation(raw: Raw, indices: Mapping[CategoryId, int | None]) -> Relation:
    predicate = raw.get("predicate")
    if not isinstance(predicate, str) or not is_plain(predicate):
        raise GraphError(f"predicate {shortened(predicate)} must be a text without control characters")
    more = {name: value for name, value in raw.items() if name in _OF_RELATION and value is not None}
    _check_names(more)
    return Relation(
        subject=_index(raw.get("subject"), "subject", indices),
        predicate=predicate,
        object=_index(raw.get("object"), "object", indices),
        **more,
    )
