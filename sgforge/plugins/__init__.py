"""Discovery of plugins, isolation of broken ones, and the registry of components."""

from __future__ import annotations

from sgforge.plugins.components import Component, Owner, PluginReport
from sgforge.plugins.discovery import discover, load_plugins, use_registry
from sgforge.plugins.events import Events
from sgforge.plugins.needs import unmet_needs
from sgforge.plugins.registry import Registry

__all__ = [
    "Component",
    "Events",
    "Owner",
    "PluginReport",
    "Registry",
    "discover",
    "load_plugins",
    "unmet_needs",
    "use_registry",
]
