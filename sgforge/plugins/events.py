"""Event hooks, called so that a broken tracker cannot break a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pluggy

from sgforge.plugins.components import Owner

__all__ = ["Events"]

_log = logging.getLogger("sgforge.plugins")


class Events:
    """The event hooks of all loaded plugins: `events.sgforge_step_finished(event=...)`.

    Implementations are called in the order their plugins were loaded. One that raises is logged with its owner and
    not called again; the others, and the run, go on.
    """

    def __init__(self, manager: pluggy.PluginManager, owners: Mapping[int, Owner]) -> None:
        self._manager = manager
        self._owners = owners
        self._broken: set[tuple[str, int]] = set()

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)
        caller: pluggy.HookCaller = getattr(self._manager.hook, name)

        def call(**arguments: Any) -> None:
            for implementation in caller.get_hookimpls():
                self._call_one(name, implementation, arguments)

        return call

    def _call_one(self, name: str, implementation: pluggy.HookImpl, arguments: Mapping[str, Any]) -> None:
        identity = id(implementation.plugin)
        if (name, identity) in self._broken:
            return
        try:
            implementation.function(**{argument: arguments[argument] for argument in implementation.argnames})
        except KeyboardInterrupt:
            raise
        except BaseException:  # a tracker's sys.exit() too
            self._broken.add((name, identity))
            owner = self._owners.get(identity)
            _log.warning("%s: its hook %s failed and is not called again in this process", owner, name, exc_info=True)
