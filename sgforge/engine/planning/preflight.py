"""Preflight: everything that would stop a plan, collected into one error before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from sgforge.config.faults import Fault, Places, Where, path_prefix, render_path
from sgforge.engine.planning.components import ComponentSpec
from sgforge.engine.planning.model_checks import AskedModels
from sgforge.errors import ConfigError, PreflightError
from sgforge.plugins import unmet_needs
from sgforge.stages import VERBS

__all__ = ["Problems", "StepPlaces", "find_needs"]


class StepPlaces:
    """The places of a pipeline made in Python: its steps and sources by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def title(self, count: int) -> str:
        """What stands above several faults."""
        return f"{count} faults"

    def tell(self, fault: Fault) -> str:
        """A fault as one line: step or source, option and message."""
        owner, rest = self._owner(fault.where)
        if not owner:
            return f"{path_prefix(fault.where)}{fault.message}"
        path = render_path(rest)
        return f"{owner}{f'.{path}' if path else ''}: {fault.message}"

    def in_order(self, faults: Sequence[Fault]) -> Sequence[Fault]:
        """Faults in the order they were found."""
        return faults

    def _owner(self, where: Where) -> tuple[str, Where]:
        """The step or source in a path and the rest of it; the key that names the component is left out."""
        if len(where) < 2 or where[0] not in ("step", "sources"):
            return "", where
        owner = f"step {self._names[int(where[1])]!r}" if where[0] == "step" else f"source {where[1]!r}"
        rest = where[2:]
        return owner, () if rest[:1] == ("use",) or (rest and rest[0] in VERBS) else rest


class Problems:
    """What was found wrong so far, told by `places`. `known`: what is wrong with the document that was read.

    `is_readable`: whether nothing was known before, so that needs and order can be looked at.
    """

    def __init__(self, places: Places, known: Sequence[Fault] = ()) -> None:
        self._places = places
        self._config = list(known)
        self._unmet: list[Fault] = []
        self.is_readable = not known

    def add(self, fault: Fault) -> None:
        """A bad option."""
        self._config.append(fault)

    def config(self, where: Where, message: str, cause: BaseException | None = None) -> None:
        """An unknown name, or another fault in what was written."""
        self._config.append(Fault(where, message, cause))

    def needs(self, where: Where, messages: Iterable[str]) -> None:
        """What a component needs and this machine lacks."""
        for message in messages if self.is_readable else ():
            self._unmet.append(Fault(where, message))

    def order(self, where: Where, message: str) -> None:
        """A fault in how the steps follow each other."""
        self.needs(where, (message,))

    def check(self) -> None:
        """Raise everything found: a `ConfigError` if all of it is in the config's words, else a `PreflightError`."""
        found = self._places.in_order([*self._config, *self._unmet])
        if not found:
            return
        lines = list(dict.fromkeys(self._places.tell(fault) for fault in found))
        text = lines[0] if len(lines) == 1 else "\n  ".join((self._places.title(len(lines)), *lines))
        error = (PreflightError if self._unmet else ConfigError)(text)
        error.__cause__ = next((fault.cause for fault in found if fault.cause is not None), None)
        raise error


def find_needs(spec: ComponentSpec, asked: AskedModels) -> Iterator[str]:
    """One sentence per unmet need of a component, its model's provider and the files it names included."""
    if spec.component is not None:
        yield from unmet_needs(spec.component)
    else:
        yield from (
            f"needs the environment variable {name}: export {name}=..."
            for name in spec.needs.env
            if not os.environ.get(name)
        )
    try:
        spec.own_identity()
    except (OSError, ConfigError) as error:
        yield f"names a file that cannot be read: {error}"
    if spec.needs.model:
        yield from asked.lacks(spec.model)
