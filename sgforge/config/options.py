"""The options of a component: plain values into its attrs class, the one way for TOML and Python alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sgforge.config.faults import Fault, as_error
from sgforge.config.strict import structure
from sgforge.errors import PluginError
from sgforge.plugins import Component
from sgforge.text.did_you_mean import near_name

__all__ = ["check_options", "structure_options"]


def structure_options(component: Component, options: Mapping[str, Any], where: str) -> Any:
    """The typed options of a component; None if it takes none. `where` stands before the path of each fault.

    Raises:
        ConfigError: every unknown, missing or wrong option, in one message.
    """
    typed, faults = check_options(component, options)
    if faults:
        raise as_error(where, faults, lambda path: f"{where}{'.' if path else ': '}")
    return typed


def check_options(
    component: Component, options: Mapping[str, Any], beside: Collection[str] = ()
) -> tuple[Any, tuple[Fault, ...]]:
    """The typed options and no faults, or None and every fault; `beside` as in `structure`."""
    if component.config is None:
        what = f"{component.kind} {component.name!r}"
        return None, tuple(
            Fault((name,), f"unknown option: {what} takes none{_hint(name, beside)}") for name in options
        )
    try:
        return structure(options, component.config, beside)
    except PluginError as error:
        raise PluginError(f"{component}: {error}") from error.__cause__


def _hint(name: str, beside: Collection[str]) -> str:
    near = near_name(name, beside)
    return "" if near is None else f"; did you mean {near!r}?"
