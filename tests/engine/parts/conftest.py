from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import engine_parts
import engine_toys
import pytest
from engine_fixtures import tmp_path

from sgforge.plugins import Registry
from sgforge.testing import IsolatedPlugins

__all__ = ["registry", "registry_everywhere", "tmp_path"]


@pytest.fixture
def registry() -> Iterator[Registry]:
    """The toys and the components that hold others, in this process."""
    import sgforge_openai

    with IsolatedPlugins(engine_toys.this_plugin(), engine_parts.this_plugin(), sgforge_openai) as found:
        yield found


@pytest.fixture
def registry_everywhere(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The same, also in child processes."""
    for name, value in engine_toys.toy_environment(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SGFORGE_PLUGINS", "toys,parts,openai")
    engine_parts.install(tmp_path / "site")
    return registry
