"""An answer held against its schema item by item: mended where there is one way to, else the item is left out.

Mending never guesses: "3", 3.0 and "[3]" are 3, "Yes" is yes, a list that is missing is empty, a key too many is left
out, one object in place of a list of them is the list. What cannot be mended costs the innermost item of a list that
holds it. A request says by `Reading` what its items can do without and what numbers them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import attrs

from sgforge.models.cache.json_text import values_in
from sgforge.models.values import Reading
from sgforge.models.wire.bodies import token_count

__all__ = ["Mended", "is_whole", "mended"]

_NUMBER: Final = re.compile(r"(?:[a-z]+\s*)?[\[(<#]*\s*(\d{1,9})(?:\.0+)?\s*[\])>.]*", re.IGNORECASE)
_BLANK: Final = " \t\r\n.!,:;\"'*`_"
_YES_NO: Final = {True: "yes", False: "no"}


@attrs.define
class Mended:
    """A value as it can be used. `count`: places that were mended; `dropped`: items left out, by the name of what was
    wrong with them; `numbered_from_0`: it holds a number that counts from 1, and is 0. `is_sound`: what
    could not be mended was left out, and not the whole of it."""

    value: Any = None
    count: int = 0
    dropped: Counter[str] = attrs.field(factory=Counter)
    numbered_from_0: bool = False
    is_sound: bool = True


class _BadError(Exception):
    """What cannot be mended, by the name of the property that is wrong."""


def mended(schema: Mapping[str, Any], value: Any, reading: Reading) -> Mended:
    """The value with its items mended or left out; as it is where the schema does not say what it should be."""
    work = _Work(reading)
    try:
        work.found.value = work.value(schema, value, "")
    except _BadError:
        work.found.value, work.found.is_sound = value, False
    return work.found


def is_whole(schema: Any) -> bool:
    """Whether what `mended` gives for a schema needs no further look: it sees to all that the schema says."""
    if not isinstance(schema, Mapping) or not set(schema) <= _SEEN_TO:
        return False
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not isinstance(schema.get("additionalProperties", True), bool):
            return False
        return set(schema.get("required", ())) <= set(properties) and all(map(is_whole, properties.values()))
    if kind == "array":
        return is_whole(schema.get("items"))
    if kind == "string":
        return all(isinstance(word, str) for word in schema.get("enum", ()))
    return kind in ("integer", "number") and "enum" not in schema


class _Work:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.found = Mended()

    def value(self, schema: Mapping[str, Any], value: Any, name: str) -> Any:
        """The value mended; a `_BadError` if it cannot be."""
        kind = schema.get("type")
        if kind == "object" and "properties" in schema:
            return self._object(schema, value, name)
        if kind == "array":
            return self._list(schema, value, name)
        if kind == "integer":
            return self._whole(value, name)
        if kind == "number":
            return self._number(value, name)
        if kind == "string":
            return self._enum(schema["enum"], value, name) if "enum" in schema else self._text(value, name)
        return value

    def _mend(self) -> None:
        self.found.count += 1

    def _object(self, schema: Mapping[str, Any], value: Any, name: str) -> Any:
        value = self._unpacked(schema, value)
        if not isinstance(value, Mapping):
            raise _BadError(name)
        properties = schema["properties"]
        required = schema.get("required", ())
        made: dict[str, Any] = {}
        for key, inner in properties.items():
            if key in value and (value[key] is not None or key not in required):
                made[key] = self._property(inner, value[key], key)
            elif key in required:
                made[key] = self._missing(inner, key)
        others = {key: each for key, each in value.items() if key not in properties}
        if others and schema.get("additionalProperties") is False:
            self._mend()
            others = {}
        return {**made, **others}

    def _property(self, schema: Mapping[str, Any], value: Any, name: str) -> Any:
        try:
            return self.value(schema, value, name)
        except _BadError:
            if name not in self.reading.optional:
                raise
            return self._missing(schema, name)

    def _missing(self, schema: Mapping[str, Any], name: str) -> Any:
        """What stands for a value that is not there, or cannot be used."""
        if schema.get("type") == "array":
            self._mend()
            return []
        if name in self.reading.optional and schema.get("type") == "string" and "enum" not in schema:
            self._mend()
            return ""
        raise _BadError(name)

    def _unpacked(self, schema: Mapping[str, Any], value: Any) -> Any:
        """An object that was written as a text, or as what its only list holds."""
        if isinstance(value, str):
            inner = values_in(value)
            if len(inner) == 1 and isinstance(inner[0], Mapping):
                self._mend()
                return inner[0]
        lists = [key for key, inner in schema["properties"].items() if inner.get("type") == "array"]
        if isinstance(value, list) and len(lists) == 1 and len(schema["properties"]) == 1:
            self._mend()
            return {lists[0]: value}
        return value

    def _list(self, schema: Mapping[str, Any], value: Any, name: str) -> list[Any]:
        items = schema.get("items", {})
        if isinstance(value, Mapping if items.get("type") == "object" else str) and items.get("type") in _SINGLE:
            self._mend()
            value = [value]
        if not isinstance(value, list):
            raise _BadError(name)
        made: list[tuple[Any, Any]] = []
        for each in value:
            before = self.found.count
            try:
                made.append((self.value(items, each, name), each))
            except _BadError as bad:
                self.found.count = before
                self.found.dropped[str(bad) or name] += 1
        return self._apart(made) if self.reading.identity else [item for item, _ in made]

    def _apart(self, made: list[tuple[Any, Any]]) -> list[Any]:
        """The items without those that share their number, where a number was mended or may stand but once."""
        names = [key for key in self.reading.identity if made and isinstance(made[0][0], Mapping) and key in made[0][0]]
        if not names:
            return [item for item, _ in made]
        numbers = [item[names[0]] for item, _ in made]
        counts = Counter(numbers)
        doubtful = {
            number
            for number, (_, given) in zip(numbers, made, strict=True)
            if not (isinstance(given, Mapping) and type(given.get(names[0])) is int)
        }
        kept = []
        for number, (item, _) in zip(numbers, made, strict=True):
            if counts[number] > 1 and (number in doubtful or names[0] in self.reading.once):
                self.found.dropped["clash"] += 1
            else:
                kept.append(item)
        return kept

    def _whole(self, value: Any, name: str) -> int:
        number = value if type(value) is int else self._read_number(value, name)
        if number == 0 and name in self.reading.numbered:
            self.found.numbered_from_0 = True
        return number

    def _read_number(self, value: Any, name: str) -> int:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        number: int | None = None
        if type(value) in (int, float):
            number = int(value) if float(value).is_integer() and abs(value) < 2**53 else None
        elif isinstance(value, str):
            found = _NUMBER.fullmatch(value.strip())
            number = token_count(found.group(1)) if found else None
        if number is None:
            raise _BadError(name)
        self._mend()
        return number

    def _number(self, value: Any, name: str) -> float:
        if isinstance(value, int | float) and type(value) is not bool and math.isfinite(value):
            return value
        try:
            number = float(value.strip()) if isinstance(value, str) else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _BadError(name)
        self._mend()
        return number

    def _enum(self, words: list[Any], value: Any, name: str) -> Any:
        if value in words and type(value) is not bool:
            return value
        if isinstance(value, bool):
            value = _YES_NO[value]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        said = value.strip(_BLANK).casefold() if isinstance(value, str) else None
        alike = [word for word in words if isinstance(word, str) and word.casefold() == said]
        if len(alike) != 1:
            raise _BadError(name)
        self._mend()
        return alike[0]

    def _text(self, value: Any, name: str) -> str:
        if isinstance(value, str):
            return value
        if not (isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)):
            raise _BadError(name)
        self._mend()
        return value[0]


_SINGLE: Final = ("object", "string")
_SEEN_TO: Final = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum"})
