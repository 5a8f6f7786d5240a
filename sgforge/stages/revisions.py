"""Options that keep an earlier revision of a component alive: its outputs, and so the answers that were paid.

A component whose `revision` rose may still do what it did: one option's value names the revision, `prompts = 2`, and a
step with it has the fingerprint it had then. What an option's default was then does not count as given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
from attrs.validators import in_

__all__ = ["at_earlier_revision", "at_revision", "revision_option", "was_default"]

_REVISIONS: Final = "sgforge_revisions"
_WAS: Final = "sgforge_default_was"


def revision_option(current: int, *earlier: int) -> Any:
    """The option of an options class whose value is the revision to work as, by default the current one."""
    known = (*sorted(earlier), current)
    return attrs.field(default=current, validator=in_(known), metadata={_REVISIONS: known})


def was_default(**was: Any) -> dict[str, Any]:
    """Metadata of an option: what its default was, by revision with an r before it, as in `was_default(r2=4096)`."""
    return {_WAS: {int(name[1:]): value for name, value in was.items()}}


def at_revision(options: Any, revision: int | None, differing: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]]:
    """(revision, options that differ from the defaults it had) of what works as the options (an attrs value) say."""
    fields = attrs.fields(type(options))
    named = next((field.name for field in fields if _REVISIONS in field.metadata), None)
    if named is None:
        return revision, dict(differing)
    revision = getattr(options, named)
    usual = {
        field.name
        for field in fields
        if _WAS in field.metadata
        and revision in field.metadata[_WAS]
        and getattr(options, field.name) == field.metadata[_WAS][revision]
    }
    return revision, {name: value for name, value in differing.items() if name != named and name not in usual}


def at_earlier_revision(options: Any) -> tuple[int, int, Any] | None:
    """(earlier revision, current one, the options at the earlier one); None where there is none, or they are at it."""
    if options is None or not attrs.has(type(options)):
        return None
    for field in attrs.fields(type(options)):
        known = field.metadata.get(_REVISIONS, ())
        if len(known) > 1 and getattr(options, field.name) == known[-1]:
            return known[-2], known[-1], attrs.evolve(options, **{field.name: known[-2]})
    return None
