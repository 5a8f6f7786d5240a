"""What others write into COCO files beside its own fields: parts and attributes (PACO), relations (SGG-Annotate)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from sgforge.text.wording import shortened
from sgforge_formats.coco.annotation import CROWD
from sgforge_formats.coco.categories import CategoryId, category_id_of
from sgforge_formats.coco.document import RELATED, Item
from sgforge_formats.coco.instances import FoundRegion, Regions
from sgforge_formats.coco.own import indices_of
from sgforge_formats.reading.checks import Fault, is_plain

__all__ = ["in_own_form", "with_parts"]

_WHOLE: Final = "obj_ann_id"
_ATTRIBUTES: Final = ("attribute_ids", "dom_color_ids")


def in_own_form(item: Item, predicates: Mapping[CategoryId, str]) -> Item:
    """A relation by ids of annotations and of a predicate (Neau's SGG-Annotate) as sgforge writes one."""
    if item.key != RELATED:
        return item
    number = category_id_of(item.raw.get("predicate_id"))
    name = None if number is None else predicates.get(number)
    ends = {side: item.raw.get(f"{side}_id") for side in ("subject", "object")}
    return item._replace(raw={**ends, "predicate": name})


def with_parts(regions: Regions, names: Mapping[CategoryId, str], where: str) -> Regions:
    """The regions with their parents and attributes, where annotations name them by id (PACO: Ramanathan et al. 2023).

    A part names its object's annotation; one that is not there, or that makes a circle, is a failure (bad-part).
    """
    found = list(regions.found)
    if not any(_WHOLE in one.item.raw or "attribute_ids" in one.item.raw for one in found):
        return regions
    indices, failures = indices_of(found), list(regions.failures)
    parents: dict[int, int] = {}
    for index, one in enumerate(found):
        whole = one.item.raw.get(_WHOLE)
        number = category_id_of(whole)
        if whole is not None and number != category_id_of(one.item.raw.get("id")):
            parent = None if number is None else indices.get(number)
            if parent is None or _leads_to(parent, index, parents):
                detail = f"{_WHOLE} {shortened(whole)} names no other annotation of its image, or a circle of them"
                failures.append(Fault("bad-part", detail).of(f"{where}: {one.item.where}"))
            else:
                parents[index] = parent
        texts = tuple(dict.fromkeys((*one.region.attributes, *_texts(one, names))))
        texts = (*(text for text in texts if text != CROWD), *(text for text in texts if text == CROWD))
        region = attrs.evolve(one.region, parent=parents.get(index, one.region.parent), attributes=texts)
        found[index] = one._replace(region=region)
    return Regions(found, failures)


def _leads_to(start: int, wanted: int, parents: Mapping[int, int]) -> bool:
    at: int | None = start
    while at is not None and at != wanted:
        at = parents.get(at)
    return at == wanted


def _texts(one: FoundRegion, names: Mapping[CategoryId, str]) -> Iterator[str]:
    for field in _ATTRIBUTES:
        given: Any = one.item.raw.get(field)
        for value in given if isinstance(given, list) else ():
            number = category_id_of(value)
            name = None if number is None else names.get(number)
            if name is not None and is_plain(name):
                yield name
