"""Preflight: everything that would stop a plan, collected into one error before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sgforge.engine.components import ComponentSpec
from sgforge.errors import ConfigError, PreflightError, SgforgeError
from sgforge.plugins import Registry, unmet_needs

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


def find_needs(registry: Registry, spec: ComponentSpec, models: Mapping[str, Any]) -> Iterator[str]:
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
        yield from _model_needs(registry, spec.model, models)


def _model_needs(registry: Registry, model: str | None, models: Mapping[str, Any]) -> Iterator[str]:
    provider, slash, rest = (model or "").partition("/")
    if not (provider and slash and rest):
        yield f'needs a model: give it model = "provider/model", not {model!r}'
        return
    try:
        component = registry.lookup("model", provider)
    except SgforgeError as error:
        yield f"asks {model!r}: {error}"
        return
    settings = models.get(str(model))
    has_own_key = any(getattr(settings, name, None) for name in ("base_url", "api_key_env", "api_key_file"))
    for problem in unmet_needs(component):
        if has_own_key and "environment variable" in problem:
            continue
        yield f"asks {model!r}, whose provider {problem}"
    key_file = getattr(settings, "api_key_file", None)
    if key_file is not None and not Path(key_file).expanduser().is_file():
        yield f"asks {model!r}, whose api_key_file {key_file} does not exist: write the key into it"
    own_env = getattr(settings, "api_key_env", None)
    if own_env and not os.environ.get(own_env):
        yield f"asks {model!r}, which needs the environment variable {own_env}: export {own_env}=..."
