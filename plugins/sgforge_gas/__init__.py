"""Generate Any Scene: graphs drawn from structures and words, captions, questions, judges, renderers, rewards."""

from __future__ import annotations

import sgforge
from sgforge.hookspecs import Register
from sgforge_gas.config import GasOptions

sgforge_api = 1


@sgforge.hookimpl
def sgforge_register_sources(register: Register) -> None:
    """gas: graphs without images."""
    register("gas", "sgforge_gas.source:GasSource", config=GasOptions)


@sgforge.hookimpl
def sgforge_register_commands(register: Register) -> None:
    """`sgforge gas`."""
    register("gas", "sgforge_gas.cli:GasCommand")
