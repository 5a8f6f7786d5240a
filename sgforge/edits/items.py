"""What an edit is made of beside new rows: Verdict, FieldSet and Value, each on one row that it names by index."""

from __future__ import annotations

import operator
from typing import Any, Final, Literal, SupportsIndex

import attrs

from sgforge.errors import GraphError
from sgforge.graph import Status
from sgforge.text.wording import shortened

__all__ = ["REGION_FIELDS", "RELATION_FIELDS", "FieldSet", "Target", "Value", "ValueTarget", "Verdict"]

Target = Literal["region", "relation"]
ValueTarget = Literal["image", "region", "relation"]
REGION_FIELDS: Final = frozenset(
    {"label", "box", "mask", "descriptions", "attributes", "score", "depth", "parent", "level"}
)
RELATION_FIELDS: Final = frozenset({"predicate", "category", "score"})


@attrs.frozen
class Verdict:
    """A judgement on one row: `degree` is what was measured (an overlap, a judge's P(yes)), `reason` a short code."""

    target: Target
    index: int
    status: Status
    reason: str | None = None
    degree: float | None = None

    def __attrs_post_init__(self) -> None:
        _check_place(self)


@attrs.frozen
class FieldSet:
    """A new value for one field of one row; fields as in `REGION_FIELDS` and `RELATION_FIELDS`."""

    target: Target
    index: int
    field: str
    value: Any

    @property
    def named(self) -> int | None:
        """The region that the value names by its index, as a parent does; None for any other value."""
        return self.value if self.field == "parent" and self.target == "region" else None

    def __attrs_post_init__(self) -> None:
        _check_place(self)
        allowed = REGION_FIELDS if self.target == "region" else RELATION_FIELDS
        if self.field not in allowed:
            raise GraphError(
                f"field {self.field!r} of a {self.target} cannot be set; these can: {', '.join(sorted(allowed))}"
            )


@attrs.frozen
class Value:
    """The value of a further column for the image (`index` None) or one row.

    `column`: the name of a column of the core, such as "caption", or of a declared one, "plugin.name". `kind`, `shape`:
    as the column was declared; the engine fills them when it checks the value.
    """

    target: ValueTarget
    index: int | None
    column: str
    value: Any
    kind: str = attrs.field(default="", eq=False, repr=False)
    shape: tuple[int, ...] = attrs.field(default=(), eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.column, str):
            raise GraphError(f"a column goes by its name, not by {shortened(self.column)}")
        if self.target != "image":
            _check_place(self)
        elif self.index is not None:
            raise GraphError(f"a value of the image has no index, not {shortened(self.index)}")


def _check_place(item: Verdict | FieldSet | Value) -> None:
    """Refuse what names no row; numpy's whole numbers become ints, which journal and graph expect."""
    if item.target not in ("region", "relation"):
        raise GraphError(f"{item.target!r} is neither 'region' nor 'relation'")
    if type(item.index) is int:
        return
    if isinstance(item.index, bool) or not isinstance(item.index, SupportsIndex):
        raise GraphError(f"{item.target} {item.index!r}: an index must be an int, not {type(item.index).__name__}")
    object.__setattr__(item, "index", int(operator.index(item.index)))
