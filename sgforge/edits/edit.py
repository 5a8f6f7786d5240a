"""Edit: what a step answers for one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from sgforge.edits.items import FieldSet, Target, Value, ValueTarget, Verdict
from sgforge.errors import GraphError
from sgforge.graph import KEPT, REJECTED, ImageRef, Region, Relation
from sgforge.graph.checks import to_rows
from sgforge.text.wording import shortened

__all__ = ["UNANSWERED", "Edit", "Part"]

UNANSWERED: Final = "unanswered"
"""The reason code of questions that got no answer: `run --retry-failed` works on an image again that counts some."""


def _counts(value: Mapping[str, int]) -> dict[str, int]:
    counts = dict(value)
    if not counts:
        return counts
    for reason, count in counts.items():
        if not isinstance(reason, str) or type(count) is not int:
            raise GraphError(f"fault {reason!r}: {count!r} must be a reason code with a whole number")
    return counts


@attrs.frozen
class Part:
    """How many of a sum's rows, verdicts, sets and values one of its edits brought."""

    regions: int
    relations: int
    verdicts: int
    sets: int
    values: int

    @property
    def adds(self) -> bool:
        return bool(self.regions or self.relations)

    def __add__(self, other: Part) -> Part:
        return Part(
            regions=self.regions + other.regions,
            relations=self.relations + other.relations,
            verdicts=self.verdicts + other.verdicts,
            sets=self.sets + other.sets,
            values=self.values + other.values,
        )


_NO_PART: Final = Part(regions=0, relations=0, verdicts=0, sets=0, values=0)


def _told_apart(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """What of its parts makes an edit another one: nothing while one of them alone adds regions."""
    return parts if sum(part.regions > 0 for part in parts) > 1 else ()


@attrs.frozen
class Edit:
    """What one step answers for one image; the empty Edit changes nothing.

    An edit names rows that it adds by their future index: the number of all rows of that kind before, then counting on
    (added relations and parents of added regions name regions; sets, verdicts, values both kinds). `values` fills
    further columns. `image`: the picture that a renderer made of the graph. `dropped` takes the image out of all later
    steps, with this reason. `faults` counts, by reason code, what of an answer could not be used; an image with
    `UNANSWERED` among them is worked on again where failed requests are asked again.

    Edits that were made for the same graph add up with `+`, and each goes on naming its own rows: `parts`, which `+`
    fills, says where one ends. All rows are added first, then fields are set, values filled, rows judged, each in the
    order of the edits. An edit that names a row to come without adding it means the one that another adds; where
    several add rows, it cannot be known which, and applying the sum is a `GraphError`.
    """

    regions: tuple[Region, ...] = attrs.field(default=(), converter=to_rows)
    relations: tuple[Relation, ...] = attrs.field(default=(), converter=to_rows)
    verdicts: tuple[Verdict, ...] = attrs.field(default=(), converter=to_rows)
    sets: tuple[FieldSet, ...] = attrs.field(default=(), converter=to_rows)
    dropped: str | None = None
    faults: Mapping[str, int] = attrs.field(factory=dict, converter=_counts, hash=False)
    values: tuple[Value, ...] = attrs.field(default=(), converter=to_rows, kw_only=True)
    image: ImageRef | None = attrs.field(default=None, kw_only=True)
    parts: tuple[Part, ...] = attrs.field(default=(), kw_only=True, repr=False, eq=_told_apart)

    def __attrs_post_init__(self) -> None:
        if self.dropped is not None and not (isinstance(self.dropped, str) and self.dropped):
            raise GraphError(f"an image is dropped for a reason code, not {self.dropped!r}")
        if self.image is not None and not isinstance(self.image, ImageRef):
            raise GraphError(f"the image of an edit is an ImageRef, as resources.files.put gives, not {self.image!r}")
        if self.parts and sum(self.parts, _NO_PART) != self._whole:
            raise GraphError("rows of a sum of edits were changed: change them in the edits before they are added up")

    @property
    def _whole(self) -> Part:
        """This edit as a part of a sum."""
        return Part(
            regions=len(self.regions),
            relations=len(self.relations),
            verdicts=len(self.verdicts),
            sets=len(self.sets),
            values=len(self.values),
        )

    @property
    def is_empty(self) -> bool:
        """Whether applying this edit leaves every row and value as it is and keeps the image."""
        return not (
            self.regions
            or self.relations
            or self.verdicts
            or self.sets
            or self.values
            or self.dropped is not None
            or self.image is not None
        )

    @property
    def is_of_values(self) -> bool:
        """Whether it does nothing to a graph but to fill columns beside it."""
        return not (
            self.regions
            or self.relations
            or self.verdicts
            or self.sets
            or self.parts
            or self.dropped is not None
            or self.image is not None
        )

    def with_values(self, values: Sequence[Value]) -> Edit:
        """This edit with these values in place of its own."""
        # Most fill one column of the image, and there are millions of them.
        return Edit(faults=self.faults, values=values) if self.is_of_values else attrs.evolve(self, values=values)

    @classmethod
    def reject(cls, index: int, reason: str, degree: float | None = None, *, target: Target = "relation") -> Edit:
        """Reject relation `index` (or, with `target="region"`, that region)."""
        return cls(verdicts=(Verdict(target=target, index=index, status=REJECTED, reason=reason, degree=degree),))

    @classmethod
    def keep(
        cls, index: int, reason: str | None = None, degree: float | None = None, *, target: Target = "relation"
    ) -> Edit:
        """Keep row `index`: records the degree of a passed test; from an editor it restores a rejected row."""
        return cls(verdicts=(Verdict(target=target, index=index, status=KEPT, reason=reason, degree=degree),))

    @classmethod
    def add(cls, *rows: Region | Relation) -> Edit:
        """Add regions and relations, each kind in the order given; anything else is a `GraphError`."""
        for row in rows:
            if not isinstance(row, (Region, Relation)):
                raise GraphError(f"an edit adds regions and relations, not {shortened(row)}")
        return cls(
            regions=tuple(row for row in rows if isinstance(row, Region)),
            relations=tuple(row for row in rows if isinstance(row, Relation)),
        )

    @classmethod
    def set(cls, target: Target, index: int, **fields: Any) -> Edit:
        """Set fields of one row: `Edit.set("region", 3, depth=0.4)`."""
        return cls(sets=tuple(FieldSet(target, index, name, value) for name, value in fields.items()))

    @classmethod
    def value(cls, target: ValueTarget, index: int | None, column: str, value: Any) -> Edit:
        """Fill a further column: `Edit.value("image", None, "caption", Caption("two dogs"))`."""
        return cls(values=(Value(target, index, column, value),))

    @classmethod
    def drop(cls, reason: str) -> Edit:
        """Take the image out of all later steps."""
        if reason is None:
            raise GraphError("an image is dropped for a reason: give its code, such as 'blurred'")
        return cls(dropped=reason)

    def __add__(self, other: Edit) -> Edit:
        return Edit.sum((self, other)) if isinstance(other, Edit) else NotImplemented

    @classmethod
    def sum(cls, edits: Iterable[Edit]) -> Edit:
        """All edits in one, in order, as `+` adds them; of several reasons to drop the image the first stands."""
        edits = tuple(edits)
        for edit in edits:
            if not isinstance(edit, Edit):
                raise GraphError(f"a sum of edits has {type(edit).__name__} among them: {shortened(edit)}")
        faults: dict[str, int] = {}
        for edit in edits:
            for reason, count in edit.faults.items():
                faults[reason] = faults.get(reason, 0) + count
        return cls(
            regions=[region for edit in edits for region in edit.regions],
            relations=[relation for edit in edits for relation in edit.relations],
            verdicts=[verdict for edit in edits for verdict in edit.verdicts],
            sets=[item for edit in edits for item in edit.sets],
            values=[item for edit in edits for item in edit.values],
            image=_one_image(edits),
            dropped=next((edit.dropped for edit in edits if edit.dropped is not None), None),
            faults=faults,
            parts=_parts_of(edits),
        )


def _one_image(edits: Iterable[Edit]) -> ImageRef | None:
    found = {edit.image for edit in edits if edit.image is not None}
    if len(found) > 1:
        raise GraphError(f"a sum of edits has {len(found)} images; a sample has one")
    return found.pop() if found else None


def _parts_of(edits: Iterable[Edit]) -> tuple[Part, ...]:
    """The parts of a sum, flat, so that `+` is associative; neighbours that add no row are one."""
    parts: list[Part] = []
    for edit in edits:
        for part in edit.parts or (edit._whole,):
            if part == _NO_PART:
                continue
            if parts and not part.adds and not parts[-1].adds:
                parts[-1] = parts[-1] + part
            else:
                parts.append(part)
    return tuple(parts) if len(parts) > 1 else ()
