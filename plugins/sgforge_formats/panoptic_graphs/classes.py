"""The class lists of PSG: things, then stuff, by one number each; predicates."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from sgforge.errors import ConfigError

__all__ = ["Classes", "read_classes"]


@attrs.frozen
class Classes:
    """Names by number: categories count over `things` and then `stuff`, both and `predicates` from 0."""

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    predicates: tuple[str, ...]

    def label(self, category: int | None) -> str | None:
        """The name of a category; None for a number of none."""
        names = (*self.things, *self.stuff)
        return names[category] if category is not None and 0 <= category < len(names) else None

    def is_stuff(self, label: str, category: int | None) -> bool:
        """Whether a category is stuff."""
        return label in self.stuff if category is None else category >= len(self.things)

    def predicate(self, number: int | None) -> str | None:
        """The name of a predicate; None for a number of none."""
        return self.predicates[number] if number is not None and 0 <= number < len(self.predicates) else None


def read_classes(path: Path) -> Classes:
    """The class lists of a file; another file is a `ConfigError`."""
    try:
        value = json.loads(path.read_bytes())
        lists = [tuple(value[key]) for key in ("thing_classes", "stuff_classes", "predicate_classes")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path.name} holds no class lists of PSG: {error}: check the option classes") from None
    if not all(isinstance(name, str) for names in lists for name in names):
        raise ConfigError(f"{path.name}: the class lists of PSG must be texts")
    return Classes(*lists)
