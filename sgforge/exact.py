"""Edits of plugins made exact: values of Python's own types that every column can hold, before code of ours uses them.

A plugin may put anything where a text or a number stands, down to objects whose comparison raises. All of that is met
here and is the plugin's fault; what fails on an exact edit later is a fault of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

import attrs

from sgforge.edits import Edit, FieldSet, Value, Verdict
from sgforge.errors import GraphError
from sgforge.graph import KEPT, REJECTED, Mask, Region, Relation, to_float32
from sgforge.graph.checks import check_status
from sgforge.text.blame import place_of

__all__ = ["exact_edit"]

_LARGEST: Final = 2**31 - 1
# A set is read as a row of which one field counts; these are the rows it starts from.
_REGION: Final = Region()
_RELATION: Final = Relation(0, "?", 1)


def exact_edit(edit: Edit) -> Edit:
    """The same edit of exact values; whatever its values are or raise is a `GraphError` that says which it was."""
    if type(edit) is Edit and edit.is_empty and not edit.faults:
        return edit
    try:
        if type(edit) is Edit and edit.is_of_values and not edit.faults and all(map(_is_exact, edit.values)):
            return edit
        return Edit(
            regions=[_region(row) for row in edit.regions],
            relations=[_relation(row) for row in edit.relations],
            verdicts=[_verdict(verdict) for verdict in edit.verdicts],
            sets=[_field_set(item) for item in edit.sets],
            dropped=_text(edit.dropped, "the reason of a drop"),
            faults=_faults(edit.faults),
            values=[_value(item) for item in edit.values],
            image=edit.image,
            parts=edit.parts,
        )
    except GraphError:
        raise
    except Exception as error:  # an __eq__, __index__ or property of the plugin's own
        raise GraphError(f"one of its values raised {type(error).__name__}{place_of(error)}") from error


def _is(row: object, kind: type) -> None:
    if not isinstance(row, kind):
        raise GraphError(f"{type(row).__name__} stands where a {kind.__name__} belongs")


def _are_texts(values: Iterable[Any]) -> bool:
    for value in values:  # noqa: SIM110 - as a generator it takes twice as long
        if value is not None and not (type(value) is str and value.isascii()):
            return False
    return True


def _are_whole(values: Iterable[Any]) -> bool:
    for value in values:
        if value is not None and not (type(value) is int and -_LARGEST <= value <= _LARGEST):
            return False
    return True


# Almost every row is exact already, and told by its types in a fifth of the time that building it anew takes. Numbers
# that are no whole ones were rounded when the row was built.
_TEXTS_OF_REGION: Final = attrgetter("label", "source", "status", "reason", "made_by", "judged_by")
_TEXTS_OF_RELATION: Final = attrgetter("predicate", "category", "status", "reason", "made_by", "judged_by")
_NUMBERS_OF_MASK: Final = attrgetter("height", "width", "x", "y", "crop_width", "crop_height")


def _region(row: Region) -> Region:
    _is(row, Region)
    if (
        type(row) is Region
        and _are_texts(_TEXTS_OF_REGION(row))
        and _are_texts(row.descriptions)
        and _are_texts(row.attributes)
        and _are_whole((row.parent, row.level))
        and _mask(row.mask) is row.mask
    ):
        return row
    return Region(
        label=_text(row.label, "label"),
        box=row.box,
        mask=_mask(row.mask),
        descriptions=_texts(row.descriptions, "description"),
        attributes=_texts(row.attributes, "attribute"),
        score=row.score,
        depth=row.depth,
        parent=None if row.parent is None else _whole(row.parent, "parent of a region"),
        level=None if row.level is None else _whole(row.level, "level of a region"),
        source=_text(row.source, "source"),
        status=_status(row.status),
        reason=_text(row.reason, "reason"),
        degree=row.degree,
        made_by=_text(row.made_by, "made_by"),
        judged_by=_text(row.judged_by, "judged_by"),
    )


def _mask(mask: Mask | None) -> Mask | None:
    if mask is None:
        return None
    _is(mask, Mask)
    if not isinstance(mask.counts, bytes):
        raise GraphError(f"the counts of a mask must be bytes, not {type(mask.counts).__name__}")
    if type(mask) is Mask and type(mask.counts) is bytes and _are_whole(_NUMBERS_OF_MASK(mask)):
        return mask
    return Mask(
        height=_whole(mask.height, "height of a mask"),
        width=_whole(mask.width, "width of a mask"),
        x=_whole(mask.x, "x of a mask"),
        y=_whole(mask.y, "y of a mask"),
        crop_width=_whole(mask.crop_width, "crop_width of a mask"),
        crop_height=_whole(mask.crop_height, "crop_height of a mask"),
        counts=bytes(mask.counts),
    )


def _relation(row: Relation) -> Relation:
    _is(row, Relation)
    if type(row) is Relation and _are_texts(_TEXTS_OF_RELATION(row)) and _are_whole((row.subject, row.object)):
        return row
    predicate = _text(row.predicate, "predicate")
    category: Any = _text(row.category, "category")
    return Relation(
        subject=_whole(row.subject, "subject of a relation"),
        predicate=predicate or "",
        object=_whole(row.object, "object of a relation"),
        category=category,
        score=row.score,
        status=_status(row.status),
        reason=_text(row.reason, "reason"),
        degree=row.degree,
        made_by=_text(row.made_by, "made_by"),
        judged_by=_text(row.judged_by, "judged_by"),
    )


def _verdict(verdict: Verdict) -> Verdict:
    _is(verdict, Verdict)
    if type(verdict) is Verdict and verdict.degree is None and _are_whole((verdict.index,)):
        texts = (verdict.target, verdict.status, verdict.reason)
        if _are_texts(texts) and verdict.status in (KEPT, REJECTED):
            return verdict
    return Verdict(
        target=_target(verdict),
        index=_whole(verdict.index, "index of a verdict"),
        status=_status(verdict.status),
        reason=_text(verdict.reason, "reason"),
        degree=None if verdict.degree is None else to_float32(verdict.degree),
    )


def _field_set(item: FieldSet) -> FieldSet:
    """The value as its row would take it: one that can be read once is read here and nowhere else."""
    _is(item, FieldSet)
    target = _target(item)
    field = _text(item.field, "field") or ""
    row = (
        _region(attrs.evolve(_REGION, **{field: item.value}))
        if target == "region"
        else _relation(attrs.evolve(_RELATION, **{field: item.value}))
    )
    return FieldSet(target=target, index=_whole(item.index, "index of a set"), field=field, value=getattr(row, field))


def _is_exact(item: Value) -> bool:
    """Whether a value of an image is as `_value` would make it, told by its types."""
    return (
        type(item) is Value
        and item.index is None
        and not (item.kind or item.shape)
        and _are_texts((item.target, item.column))
    )


def _value(item: Value) -> Value:
    """Its place made exact; the value itself is checked by its column."""
    _is(item, Value)
    index = None if item.index is None else _whole(item.index, "index of a value")
    return Value(_text(item.target, "target"), index, _text(item.column, "column") or "", item.value)  # type: ignore[arg-type]


def _target(item: Verdict | FieldSet) -> Any:
    return _text(item.target, "target")


def _status(value: Any) -> Any:
    status = _text(value, "status")
    check_status(status or "")
    return status


def _faults(faults: Mapping[str, int]) -> dict[str, int]:
    return {_text(reason, "fault") or "": _whole(count, "count of a fault") for reason, count in faults.items()}


def _texts(values: tuple[str, ...], what: str) -> tuple[str, ...]:
    return tuple([_text(value, what) or "" for value in values])


def _text(value: Any, what: str) -> str | None:
    """A text, or None, that files and columns can hold."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise GraphError(f"{what} must be a text, not {type(value).__name__}")
    text = value if type(value) is str else str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise GraphError(f"{what} {text!r} has half of a surrogate pair, which no file can hold") from None
    return text


def _whole(value: Any, what: str) -> int:
    """A whole number of 32 bits."""
    if type(value) is not int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise GraphError(f"{what} must be an int, not {type(value).__name__}")
        value = int.__int__(value)
    number: int = value
    if not -_LARGEST <= number <= _LARGEST:
        raise GraphError(f"{what} must be within 32 bits; it has {number.bit_length()}")
    return number
