"""Where in a TOML text each key stands; the standard reader keeps no positions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from sgforge.config.faults import Where

__all__ = ["find_lines", "read_keys"]

_STRINGS_AND_COMMENTS: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*''', re.DOTALL
)
_HEADER: Final = re.compile(r"[ \t]*(\[\[?)(.*?)(\]\]?)[ \t]*")


def find_lines(text: str) -> dict[Where, int]:
    """The line (from 1) of every table header and every key of a valid TOML text, by path.

    So has every element of an array that does not stand on the line of the array's key.
    """
    found: dict[Where, int] = {}
    counts: dict[Where, int] = {}
    table: Where = ()
    value = _Value(())
    blanked = _STRINGS_AND_COMMENTS.sub(_blank, text)
    for number, (line, original) in enumerate(zip(blanked.split("\n"), text.split("\n"), strict=True), start=1):
        if value.depth == 0 and (header := _HEADER.fullmatch(line.rstrip())):
            keys = read_keys(original[header.start(2) : header.end(2)])
            table = _enter(keys, counts, is_array=header[1] == "[[")
            found[table] = number
            continue
        if value.depth == 0 and "=" in line:
            keys = read_keys(original[: line.index("=")])
            for length in range(1, len(keys) + 1):
                found.setdefault((*table, *keys[:length]), number)
            value = _Value((*table, *keys))
            value.follow(line[line.index("=") + 1 :])
        else:
            found.update(dict.fromkeys(value.follow(line), number))
    return found


class _Value:
    """The value of one key, followed line by line; `depth`: brackets that are open."""

    def __init__(self, path: Where) -> None:
        self.depth = 0
        self._path = path
        self._element = -1
        self._is_array = False
        self._is_begun = True

    def follow(self, line: str) -> list[Where]:
        """Take a line in; the paths of elements of the array, if it is one, that begin on it."""
        begun: list[Where] = []
        for char in line:
            if self.depth == 1 and self._is_array:
                if char == ",":
                    self._element, self._is_begun = self._element + 1, False
                elif not self._is_begun and char not in " \t\r]":
                    begun.append((*self._path, self._element))
                    self._is_begun = True
            if char in "[{":
                if self.depth == 0:
                    self._is_array, self._element, self._is_begun = char == "[", 0, False
                self.depth += 1
            elif char in "]}":
                self.depth -= 1
        return begun


def _blank(match: re.Match[str]) -> str:
    """Strings and comments as filler of the same length and lines, so that positions stay."""
    return re.sub(r"[^\n]", "_" if match[0][0] in "\"'" else " ", match[0])


def _enter(keys: Where, counts: dict[Where, int], *, is_array: bool) -> Where:
    """The path of a table, with the index of the last element of each array of tables on the way."""
    path: Where = ()
    for position, key in enumerate(keys):
        path = (*path, key)
        if is_array and position == len(keys) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def read_keys(text: str) -> Where:
    """The parts of a dotted key, quoted or bare; a text that is none is a `tomllib.TOMLDecodeError`."""
    keys: list[str] = []
    node: Any = tomllib.loads(f"{text.strip()} = 0")
    while isinstance(node, Mapping) and node:
        key, node = next(iter(node.items()))
        keys.append(key)
    return tuple(keys)
