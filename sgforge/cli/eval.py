"""`sgforge eval`: the command of the evaluation plugin, found through the registry like any plugin's command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sgforge.plugins import load_plugins

if TYPE_CHECKING:
    import argparse

__all__ = ["configure", "run"]


def _command() -> Any:
    return load_plugins().lookup("command", "eval").build()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    _command().configure(parser)


def run(args: argparse.Namespace) -> int:
    """Score, and print."""
    code: int = _command().run(args)
    return code
