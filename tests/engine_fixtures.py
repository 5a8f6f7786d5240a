"""Fixtures that the tests of the engine and of the pipeline share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import engine_toys
import pytest

from sgforge.plugins import Registry
from sgforge.testing import IsolatedPlugins

__all__ = ["tmp_path", "toys", "toys_everywhere"]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that is gone after the test, whatever a process that it killed left running there."""
    with tempfile.TemporaryDirectory(prefix="sgforge-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def toys() -> Iterator[Registry]:
    """The toy components, and no others, in this process."""
    with IsolatedPlugins(engine_toys.this_plugin()) as registry:
        yield registry


@pytest.fixture
def toys_everywhere(toys: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The toy components also in child processes."""
    for name, value in engine_toys.toy_environment(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    return toys
