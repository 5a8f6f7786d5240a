"""What the edits of each verb may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from sgforge.edits import Edit

__all__ = ["check_role"]


@attrs.frozen
class _Role:
    """What the edits of one verb may hold."""

    regions: bool = False
    relations: bool = False
    region_verdicts: bool = False
    relation_verdicts: bool = False
    region_fields: frozenset[str] = frozenset()
    relation_fields: frozenset[str] = frozenset()


_ROLES: Final[Mapping[str, _Role]] = {
    "segment": _Role(regions=True, region_verdicts=True),
    "complete": _Role(relations=True, region_fields=frozenset({"descriptions", "attributes"})),
    "filter": _Role(region_verdicts=True, relation_verdicts=True),
    "generate": _Role(
        relations=True,
        region_fields=frozenset({"label", "score"}),
        relation_fields=frozenset({"score"}),
    ),
}


def check_role(verb: str, edit: Edit) -> str | None:
    """What `edit` holds that a step of this verb may not emit, as a sentence; None if all is in order.

    An editor may emit anything (nothing in an Edit deletes). Any step may drop an image.
    """
    role = _ROLES.get(verb)
    if role is None:
        return None
    if edit.regions and not role.regions:
        return f"a {verb} step may not add regions"
    if edit.relations and not role.relations:
        return f"a {verb} step may not add relations"
    for verdict in edit.verdicts:
        if not (role.region_verdicts if verdict.target == "region" else role.relation_verdicts):
            return f"a {verb} step may not judge {verdict.target}s"
    for item in edit.sets:
        if item.field not in (role.region_fields if item.target == "region" else role.relation_fields):
            return f"a {verb} step may not set {item.field} of {item.target}s"
    return None
