"""Preflight: everything that would stop a plan, collected into one error before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from sgforge.engine.asked import AskedModels
from sgforge.engine.components import ComponentSpec
from sgforge.errors import ConfigError, PreflightError
from sgforge.plugins import unmet_needs

__all__ = ["Problems", "find_needs"]


class Problems:
    """What was found wrong so far, in the order it was found."""

    def __init__(self) -> None:
        self._config: list[str] = []
        self._needs: list[str] = []
        self._order: list[str] = []

    def config(self, problem: str) -> None:
        """An unknown name or a bad option."""
        self._config.append(problem)

    def needs(self, where: str, problems: Iterable[str]) -> None:
        """What a component needs and this machine lacks."""
        self._needs += [f"{where} {problem}" for problem in problems]

    def order(self, problem: str) -> None:
        """A fault in how the steps follow each other."""
        self._order.append(problem)

    def check(self) -> None:
        """Raise everything found: a `ConfigError` if all of it is in the config's words, else a `PreflightError`."""
        found = [*self._config, *self._order, *dict.fromkeys(self._needs)]
        if not found:
            return
        kind = PreflightError if self._needs or self._order else ConfigError
        if len(found) == 1:
            raise kind(found[0])
        raise kind(f"{len(found)} problems:" + "".join(f"\n  - {problem}" for problem in found))


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
        _ = spec.identity
    except (OSError, ConfigError) as error:
        yield f"names a file that cannot be read: {error}"
    if spec.needs.model:
        yield from asked.lacks(spec.model)
