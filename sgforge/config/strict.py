"""Plain values into typed ones through cattrs, without its coercions: a value has its type or is a fault.

`3.7` is no int, `"false"` no bool, `5` no text, `"abc"` no list; an int may stand where a float is asked for.
"""

from __future__ import annotations

import contextlib
import enum
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter, IterableValidationError, IterableValidationNote
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, StructureHandlerNotFoundError
from cattrs.gen import make_dict_structure_fn, override

from sgforge.config.faults import Fault, Where, as_written
from sgforge.config.secret import is_secret
from sgforge.errors import PluginError
from sgforge.stages.parts import PART_KEYS, Use
from sgforge.text.did_you_mean import choices

__all__ = ["structure", "unstructure"]

_SCALARS: Final[Mapping[type, tuple[tuple[type, ...], str]]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
    str: ((str,), "a text"),
}
_LISTS: Final = (list, tuple, set, frozenset, Sequence)
_TABLES: Final = (dict, Mapping)
_PLAIN: Final = (bool, int, float, date, time)


class _WrongValueError(ValueError):
    """A value that does not have the type asked for; the text is the whole message."""


def structure(value: Any, cls: type[Any], beside: Collection[str] = ()) -> tuple[Any, tuple[Fault, ...]]:
    """An instance of the attrs class `cls` built from a table, and no faults; or None and every fault found.

    `beside`: keys that stand in the same table and are read elsewhere; an unknown key may be one of them, misspelt.

    Raises:
        PluginError: the class itself is at fault: a type that is not known, or cannot be checked.
    """
    if not isinstance(value, Mapping):
        return None, (Fault((), f"must be a table, not {as_written(value)}"),)
    try:
        return _converter.structure(value, cls), ()
    except BaseValidationError as error:
        return None, tuple(_without_secret(fault) for fault in _faults_of(error, (), beside))
    except (StructureHandlerNotFoundError, NameError) as error:
        why = str(error).partition(". ")[0]  # the rest is advice to those who call cattrs themselves
        name = f"{cls.__module__}.{cls.__qualname__}"
        raise PluginError(f"{name} has an option of a type that no config can hold: {why}") from error


def unstructure(value: Any) -> Any:
    """A typed value as plain ones again: tables, lists, texts, numbers."""
    return _converter.unstructure(value)


def _faults_of(error: BaseException, where: Where, beside: Collection[str] = ()) -> Iterable[Fault]:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            where = (*where, note.name)
        elif isinstance(note, IterableValidationNote):
            where = (*where, note.index)
    if isinstance(error, BaseValidationError):
        for sub in error.exceptions:
            yield from _faults_of(sub, where, () if where else beside)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.alias for field in attrs.fields(error.cl) if field.init]
        for name in sorted(error.extra_fields):
            yield Fault((*where, name), f"unknown key; {choices(name, known, beside)}")
    elif isinstance(error, KeyError) and where and error.args == (where[-1],):
        yield Fault(where, "missing, and it has no default")
    else:
        # attrs validators put the field and its value behind the text in their arguments.
        text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
        yield Fault(where, text, error)


def _without_secret(fault: Fault) -> Fault:
    """A fault at a name that looks like a secret: told without its value, and with where secrets belong."""
    name = fault.where[-1] if fault.where else None
    if not isinstance(name, str) or not is_secret(name):
        return fault
    plain = fault.message.partition(", not ")[0]
    return Fault(fault.where, f"{plain}; a secret never goes into a config: put it in an environment variable")


def _scalar_hook(cls: type) -> Callable[[Any, Any], Any]:
    accepted, what = _SCALARS[cls]

    def structure_scalar(value: Any, _: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and cls is not bool):
            raise _WrongValueError(f"must be {what}, not {as_written(value)}")
        return cls(value)

    return structure_scalar


def _path(value: Any, _: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise _WrongValueError(f"must be a path (a text), not {as_written(value)}")
    return Path(value)


@attrs.frozen
class _PartKeys:
    """The keys of a part's table that are not options of its component."""

    use: str
    weight: float = attrs.field(default=1.0, validator=attrs.fields(Use).weight.validator)
    name: str | None = attrs.field(default=None, validator=attrs.fields(Use).name.validator)


def _part(value: Any, _: Any) -> Use:
    if isinstance(value, Use):
        return value
    if isinstance(value, str):
        return Use(value)
    if isinstance(value, Mapping):
        keys = _converter.structure({key: value[key] for key in PART_KEYS if key in value}, _PartKeys)
        return Use(keys.use, {key: item for key, item in value.items() if key not in PART_KEYS}, keys.weight, keys.name)
    if value is None or isinstance(value, (*_PLAIN, *_LISTS[:-1])):
        raise _WrongValueError(f'must be a component, such as "NAME" or {{use = "NAME"}}, not {as_written(value)}')
    return Use(value)  # an instance, given in Python


def _literal_hook(cls: Any) -> Callable[[Any, Any], Any]:
    allowed = get_args(cls)

    def structure_literal(value: Any, _: Any) -> Any:
        for choice in allowed:
            if type(value) is type(choice) and value == choice:
                return choice
        listed = ", ".join(map(repr, allowed))
        raise _WrongValueError(f"must be one of {listed}, not {as_written(value)}")

    return structure_literal


def _enum_hook(cls: type[enum.Enum]) -> Callable[[Any, Any], Any]:
    by_value = {member.value: member for member in cls}

    def structure_enum(value: Any, _: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, (str, int)) or isinstance(value, bool) or value not in by_value:
            raise _WrongValueError(f"must be one of {', '.join(map(repr, by_value))}, not {as_written(value)}")
        return by_value[value]

    return structure_enum


def _union_hook(cls: Any) -> Callable[[Any, Any], Any]:
    members = [member for member in get_args(cls) if member is not type(None)]
    may_be_none = len(members) < len(get_args(cls))

    def structure_union(value: Any, _: Any) -> Any:
        if value is None and may_be_none:
            return None
        if len(members) == 1:
            return _converter.structure(value, members[0])
        # The member of the value's very type goes first, so that 3 stays an int in `float | int`.
        reasons = []
        for member in sorted(members, key=lambda member: member is not type(value)):
            try:
                return _converter.structure(value, member)
            except (_WrongValueError, BaseValidationError, TypeError) as error:
                reasons.append(str(error).removesuffix(f", not {as_written(value)}"))
        raise _WrongValueError(f"{' or '.join(dict.fromkeys(reasons))}, not {as_written(value)}")

    return structure_union


def _class_hook(cls: Any) -> Callable[[Any, Any], Any]:
    overrides: dict[str, Any] = {
        field.name: override(struct_hook=_checked_hook(field))
        for field in attrs.fields(attrs.resolve_types(cls))
        if field.validator is not None and not isinstance(field.converter, attrs.Converter)
    }
    base = make_dict_structure_fn(
        cls,
        _converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_use_alias=True,
        _cattrs_detailed_validation=True,
        **overrides,
    )

    def structure_class(value: Any, kind: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise _WrongValueError(f"must be a table, not {as_written(value)}")
        return base(value, kind)

    return structure_class


def _checked_hook(field: attrs.Attribute[Any]) -> Callable[[Any, Any], Any]:
    """Runs a field's validator as soon as its value is known, so that one field's fault hides no other's."""
    validator = field.validator
    assert validator is not None

    def structure_checked(value: Any, kind: Any) -> Any:
        typed = _converter.structure(value, kind)
        converter: Any = field.converter
        converted = typed if converter is None else converter(typed)
        with contextlib.suppress(AttributeError):  # it looks at other fields: it runs when the whole is built
            validator(None, field, converted)
        return typed

    return structure_checked


def _list_hook(cls: Any) -> Callable[[Any, Any], Any]:
    origin = get_origin(cls) or cls
    arguments = get_args(cls) or (Any,)
    is_fixed = origin is tuple and Ellipsis not in arguments and len(get_args(cls)) > 0
    build = origin if origin in (list, set, frozenset) else tuple

    def structure_list(value: Any, _: Any) -> Any:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise _WrongValueError(f"must be a list, not {as_written(value)}")
        if is_fixed and len(value) != len(arguments):
            raise _WrongValueError(f"must be a list of {len(arguments)}, not {as_written(value)}")
        kinds = arguments if is_fixed else [arguments[0]] * len(value)
        return build(_structure_items(enumerate(value), kinds, cls).values())

    return structure_list


def _table_hook(cls: Any) -> Callable[[Any, Any], Any]:
    key_type, item_type = get_args(cls) or (str, Any)

    def structure_table(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _WrongValueError(f"must be a table, not {as_written(value)}")
        keys = _structure_items(((key, key) for key in value), [key_type] * len(value), cls)
        items = _structure_items(value.items(), [item_type] * len(value), cls)
        return {keys[key]: item for key, item in items.items()}

    return structure_table


def _structure_items(pairs: Iterable[tuple[Any, Any]], kinds: Sequence[Any], cls: Any) -> dict[Any, Any]:
    """The items by index or key, each of its kind; every fault among them is raised in one group."""
    found: dict[Any, Any] = {}
    errors: list[Exception] = []
    for (index, item), kind in zip(pairs, kinds, strict=True):
        try:
            found[index] = _converter.structure(item, kind)
        except (StructureHandlerNotFoundError, NameError):
            raise
        except Exception as error:
            # The text of a note is for tracebacks; `_faults_of` reads its index.
            error.__notes__ = [
                *getattr(error, "__notes__", []),
                IterableValidationNote(f"at {index!r}", index, kind),
            ]
            errors.append(error)
    if errors:
        raise IterableValidationError(f"{cls!r}", errors, cls)
    return found


def _is_union(cls: Any) -> bool:
    return get_origin(cls) in (Union, types.UnionType)


def _is_list(cls: Any) -> bool:
    return (get_origin(cls) or cls) in _LISTS


def _is_table(cls: Any) -> bool:
    return (get_origin(cls) or cls) in _TABLES


def _is_set(cls: Any) -> bool:
    return (get_origin(cls) or cls) in (set, frozenset)


def _is_literal(cls: Any) -> bool:
    return get_origin(cls) is Literal


def _is_enum(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, enum.Enum)


def _new_converter() -> Converter:
    converter = Converter(use_alias=True)
    for predicate, factory in (
        (attrs.has, _class_hook),
        (_is_list, _list_hook),
        (_is_table, _table_hook),
        (_is_union, _union_hook),
        (_is_enum, _enum_hook),
        (_is_literal, _literal_hook),
    ):
        converter.register_structure_hook_factory(predicate, factory)
    for scalar in _SCALARS:
        converter.register_structure_hook(scalar, _scalar_hook(scalar))
    converter.register_structure_hook(Path, _path)
    converter.register_structure_hook(Use, _part)
    converter.register_unstructure_hook(Path, str)
    converter.register_unstructure_hook(Use, lambda given: converter.unstructure(given.as_table()))
    converter.register_unstructure_hook_func(_is_set, sorted)
    return converter


_converter: Final = _new_converter()
