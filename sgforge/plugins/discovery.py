"""Finding plugins: entry points of the group "sgforge", loaded one by one so that a broken one harms only itself."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from sgforge.errors import PluginError
from sgforge.hookspecs import PROJECT
from sgforge.plugins.components import Owner
from sgforge.plugins.registry import Registry
from sgforge.text.did_you_mean import choices

__all__ = ["RESTRICT_VARIABLE", "discover", "load_plugins", "use_registry"]

RESTRICT_VARIABLE: Final = "SGFORGE_PLUGINS"
"""Environment variable with the only plugins to load, by entry-point name, comma-separated; empty loads none."""

_lock = threading.RLock()
_current: Registry | None = None


def load_plugins() -> Registry:
    """The registry of this process; the first call discovers and loads every plugin, later ones return the same."""
    global _current
    with _lock:
        if _current is None:
            _current = discover()
        return _current


@contextmanager
def use_registry(registry: Registry) -> Iterator[Registry]:
    """Let `load_plugins()` return `registry` inside the block, in this process."""
    global _current
    with _lock:
        before, _current = _current, registry
    try:
        yield registry
    finally:
        with _lock:
            _current = before


def discover() -> Registry:
    """A new registry with every installed plugin that SGFORGE_PLUGINS admits, loaded in the order of their names."""
    registry = Registry()
    points = sorted(entry_points(group=PROJECT), key=_order)
    wanted = _restriction()
    for point in points:
        if wanted is None or point.name in wanted:
            _load(registry, point)
    if wanted is not None:
        installed = {point.name for point in points}
        registry.note_skipped(installed - wanted)
        for name in sorted(wanted - installed):
            error = PluginError(f"{RESTRICT_VARIABLE} names a plugin that is not installed; {choices(name, installed)}")
            registry.add_failure(Owner(name), "", error)
    return registry


def _load(registry: Registry, point: EntryPoint) -> None:
    distribution = point.dist
    owner = Owner(point.name, distribution.name, distribution.version) if distribution else Owner(point.name)
    text = f"{point.name} = {point.value}"
    try:
        with redirect_stdout(sys.stderr):  # what it prints must not get among the output of a command
            plugin = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a plugin does at import, the others must load
        registry.add_failure(owner, text, error)
    else:
        registry.add(plugin, owner, text)


def _order(point: EntryPoint) -> tuple[str, str]:
    return point.name, point.dist.name if point.dist else ""


def _restriction() -> frozenset[str] | None:
    text = os.environ.get(RESTRICT_VARIABLE)
    if text is None:
        return None
    return frozenset(name.strip() for name in text.split(",") if name.strip())
