"""Whether an edit holds only what the role of its verb allows."""

from __future__ import annotations

from collections.abc import Collection

from sgforge.edits import Edit, FieldSet
from sgforge.graph import SceneGraph
from sgforge.stages.verbs import VERBS, Role
from sgforge.text.wording import with_article

__all__ = ["check_role"]


def check_role(
    verb: str, edit: Edit, graph: SceneGraph, declared: Collection[tuple[str, str]] = (), *, has_image: bool = True
) -> str | None:
    """What `edit` of `graph` holds that a step of this verb may not emit, as a sentence; None if all is in order.

    An editor may emit any rows and verdicts (nothing in an Edit deletes). Any step may drop an image, and fill the
    columns that its component `declared`, by target and name. `has_image`: whether the sample has one already.
    """
    role = VERBS[verb].role
    fault = _column_fault(verb, edit, declared) or _image_fault(verb, edit, has_image)
    if fault is not None or role is None:
        return fault
    for target, rows in (("region", edit.regions), ("relation", edit.relations)):
        if rows and target not in role.adds and not _begins(role, target, graph):
            return f"a {verb} step may not add {target}s" + (" to others" if target in role.begins else "")
    for verdict in edit.verdicts:
        if verdict.target not in role.judges:
            return f"a {verb} step may not judge {verdict.target}s"
    for item in edit.sets:
        if item.field not in role.fields(item.target) and not _fills_a_blank(role, item, edit, graph):
            return f"a {verb} step may not set {item.field} of {item.target}s{_unless_blank(role, item)}"
    return None


def _column_fault(verb: str, edit: Edit, declared: Collection[tuple[str, str]]) -> str | None:
    """A column that is neither the component's own nor one of the verb's; an editor corrects those of every verb."""
    if not edit.values:
        return None
    allowed = {*declared, *(("image", name) for name in _core_columns(verb))}
    for item in edit.values:
        if (item.target, item.column) not in allowed:
            may = ", ".join(f"{name!r} of {target}s" for target, name in sorted(allowed)) or "no column"
            return f"{with_article(verb)} step may fill {may}, not column {item.column!r} of {item.target}s"
    return None


def _core_columns(verb: str) -> frozenset[str]:
    role = VERBS[verb].role
    if role is not None:
        return role.columns
    # What a selector chose belongs to a version of the dataset, and no image by itself can correct it.
    roles = (other.role for other in VERBS.values() if other.is_item)
    return frozenset().union(*(role.columns for role in roles if role is not None))


def _image_fault(verb: str, edit: Edit, has_image: bool) -> str | None:
    role = VERBS[verb].role
    if edit.image is None:
        return None
    if role is None or not role.makes_image:
        return f"{with_article(verb)} step may not make the image"
    return "the sample has an image already, and a second one is refused" if has_image else None


def _begins(role: Role, target: str, graph: SceneGraph) -> bool:
    """Whether rows may be added because the graph has none."""
    return target in role.begins and not (graph.regions if target == "region" else graph.relations)


def _fills_a_blank(role: Role, item: FieldSet, edit: Edit, graph: SceneGraph) -> bool:
    """Whether it sets a field that was null, and that may be set then, or one of a region that the edit adds."""
    if item.target != "region" or item.field not in role.region_blanks | role.own_region_fields:
        return False
    regions = graph.all.regions
    if item.index >= len(regions):
        return item.index < len(regions) + len(edit.regions)
    return item.index >= 0 and item.field in role.region_blanks and getattr(regions[item.index], item.field) is None


def _unless_blank(role: Role, item: FieldSet) -> str:
    return " that have one" if item.target == "region" and item.field in role.region_blanks else ""
