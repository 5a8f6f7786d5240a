"""The argument parser of a command: its faults are `ConfigError`s, printed like every other error."""

from __future__ import annotations

import argparse
from typing import NoReturn

from sgforge.errors import ConfigError

__all__ = ["CommandParser"]


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise ConfigError(f"{message}; see {self.prog} --help")
