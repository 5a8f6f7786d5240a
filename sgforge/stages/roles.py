"""Whether an edit holds only what the role of its verb allows."""

from __future__ import annotations

from sgforge.edits import Edit, FieldSet
from sgforge.graph import SceneGraph
from sgforge.stages.verbs import VERBS, Role

__all__ = ["check_role"]


def check_role(verb: str, edit: Edit, graph: SceneGraph) -> str | None:
    """What `edit` of `graph` holds that a step of this verb may not emit, as a sentence; None if all is in order.

    An editor may emit anything (nothing in an Edit deletes). Any step may drop an image.
    """
    role = VERBS[verb].role
    if role is None:
        return None
    for target, rows in (("region", edit.regions), ("relation", edit.relations)):
        if rows and target not in role.adds:
            return f"a {verb} step may not add {target}s"
    for verdict in edit.verdicts:
        if verdict.target not in role.judges:
            return f"a {verb} step may not judge {verdict.target}s"
    for item in edit.sets:
        if item.field not in role.fields(item.target) and not _fills_a_blank(role, item, graph):
            return f"a {verb} step may not set {item.field} of {item.target}s{_unless_blank(role, item)}"
    return None


def _fills_a_blank(role: Role, item: FieldSet, graph: SceneGraph) -> bool:
    """Whether it sets a field that was null, and that may be set then; a region that is not there has no such field."""
    if item.target != "region" or item.field not in role.region_blanks:
        return False
    regions = graph.all.regions
    return 0 <= item.index < len(regions) and getattr(regions[item.index], item.field) is None


def _unless_blank(role: Role, item: FieldSet) -> str:
    return " that have one" if item.target == "region" and item.field in role.region_blanks else ""
