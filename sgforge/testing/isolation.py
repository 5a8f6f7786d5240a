"""A registry of chosen plugins only, whatever is installed on the machine."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from sgforge.plugins import Owner, Registry, use_registry

__all__ = ["IsolatedPlugins"]


class IsolatedPlugins:
    """Inside the block `load_plugins()` knows the given plugins (modules, or objects with hooks) and no others.

    with IsolatedPlugins(my_plugin) as registry:
        registry.lookup("teacher", "echo")

    It holds in this process only: a command or a training started as a process of its own sees what is installed.
    """

    def __init__(self, *plugins: object) -> None:
        self._plugins = plugins
        self._stack = ExitStack()

    def __enter__(self) -> Registry:
        registry = Registry()
        for plugin in self._plugins:
            name = getattr(plugin, "__name__", type(plugin).__name__)
            registry.add(plugin, Owner(name), entry_point=f"{name} (given to IsolatedPlugins)")
        return self._stack.enter_context(use_registry(registry))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
