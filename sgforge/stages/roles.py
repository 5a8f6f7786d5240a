"""Whether an edit holds only what the role of its verb allows."""

from __future__ import annotations

from sgforge.edits import Edit
from sgforge.stages.verbs import VERBS

__all__ = ["check_role"]


def check_role(verb: str, edit: Edit) -> str | None:
    """What `edit` holds that a step of this verb may not emit, as a sentence; None if all is in order.

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
        if item.field not in role.fields(item.target):
            return f"a {verb} step may not set {item.field} of {item.target}s"
    return None
