"""Faults of a config: where each is, and all of them in one error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, time
from typing import Any, Protocol, TypeAlias

import attrs

from sgforge.errors import ConfigError
from sgforge.text.wording import counted

__all__ = ["Fault", "Places", "Where", "as_error", "as_written", "path_prefix", "render_path"]

Where: TypeAlias = tuple[str | int, ...]


@attrs.frozen
class Fault:
    """One mistake: the path to it in the document (`("step", 2, "checkpoint")`), and what is wrong there."""

    where: Where
    message: str
    cause: BaseException | None = attrs.field(default=None, eq=False)

    def under(self, prefix: Where) -> Fault:
        """The same fault with its path continued towards the root of the document."""
        return attrs.evolve(self, where=(*prefix, *self.where))


class Places(Protocol):
    """Where the parts of a pipeline stand, for messages: in a config file, or in the steps of a Python program."""

    def title(self, count: int) -> str:
        """What stands above several faults."""

    def tell(self, fault: Fault) -> str:
        """A fault as one line, with its place."""

    def in_order(self, faults: Sequence[Fault]) -> Sequence[Fault]:
        """Faults as they follow each other where they stand."""


def as_written(value: Any) -> str:
    """A value as it reads in a config: `true`, not `True`."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, (date, time)) else repr(value)


def render_path(where: Where) -> str:
    """A path as people write it: `step[2].checkpoint`, `models."openai/gpt-6.2-sol".base_url`."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if part.replace("_", "").replace("-", "").isalnum() else f'"{part}"'
            text += f".{key}" if text else key
    return text


def as_error(title: str, faults: Sequence[Fault], locate: Callable[[Where], str]) -> ConfigError:
    """One error that tells every fault; `locate` gives the text that stands before a path (file and line)."""
    lines = [f"{locate(fault.where)}{path_prefix(fault.where)}{fault.message}" for fault in faults]
    error = ConfigError(
        lines[0]
        if len(lines) == 1
        else "\n".join((f"{title}: {counted(len(lines), 'fault')}", *(f"  {line}" for line in lines)))
    )
    error.__cause__ = next((fault.cause for fault in faults if fault.cause is not None), None)
    return error


def path_prefix(where: Where) -> str:
    """A path as it stands before a message; nothing for the document itself."""
    return f"{render_path(where)}: " if where else ""
