"""The places of a config file: the line, or the --set, behind every path of its document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from sgforge.config.faults import Fault, Where, path_prefix

__all__ = ["FilePlaces"]


@attrs.frozen
class FilePlaces:
    """Where things stand in the config `name`: `lines` by path, and `origins`, what put values there from outside.

    `only_source`: the name of the source that is written as `[source]`, which has no name in the file.
    """

    name: str
    lines: Mapping[Where, int]
    origins: Mapping[Where, str] = attrs.field(factory=dict)
    only_source: str | None = None

    def title(self, count: int) -> str:
        """What stands above several faults."""
        return f"{self.name}: {count} faults"

    def tell(self, fault: Fault) -> str:
        """A fault as one line: file, line, path and message."""
        where = self._written(fault.where)
        return f"{self._place(where)}{path_prefix(where)}{fault.message}"

    def in_order(self, faults: Sequence[Fault]) -> Sequence[Fault]:
        """Faults by line; those of no line first."""
        return sorted(faults, key=lambda fault: self._line(self._written(fault.where)))

    def _written(self, where: Where) -> Where:
        if self.only_source is not None and where[:2] == ("sources", self.only_source):
            return ("source", *where[2:])
        return where

    def _line(self, where: Where) -> int:
        return next((self.lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self.lines), 0)

    def _place(self, where: Where) -> str:
        for length in range(len(where), 0, -1):
            prefix = where[:length]
            if prefix in self.origins:
                return self.origins[prefix]
            if prefix in self.lines:
                return f"{self.name}:{self.lines[prefix]}: "
        # A table that only parts of it stand for: an array, or [a.b] without [a].
        inside = [line for path, line in self.lines.items() if where and path[: len(where)] == where]
        return f"{self.name}:{min(inside)}: " if inside else f"{self.name}: "
