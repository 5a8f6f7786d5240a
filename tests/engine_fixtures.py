"""Fixtures that the tests of the engine and of the pipeline share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import engine_toys
import pytest

from sgforge.plugins import Registry
from sgforge.testing import IsolatedPlugins

__all__ = ["tmp_path", "toys", "toys_everywhere"]

MEMORY = Path("/dev/shm")
ROOM = 2_000_000_000
"""Bytes that must be free there; a container may have as little as 64 MB."""


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: publishing waits for the disk, and these tests publish a lot."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        # What a killed process left running may still write while this is removed.
        with tempfile.TemporaryDirectory(dir=MEMORY, prefix="sgforge-test-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    else:
        yield tmp_path_factory.mktemp("engine")


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
