from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import engine_toys
import policy_toys
import pytest
from engine_fixtures import tmp_path

from sgforge.plugins import Registry
from sgforge.testing import IsolatedPlugins

__all__ = ["tmp_path", "toys"]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The toy components, and no others, in this process and in those that it starts."""
    with IsolatedPlugins(engine_toys, policy_toys) as registry:
        for name, value in policy_toys.policy_environment(tmp_path / "site").items():
            monkeypatch.setenv(name, value)
        yield registry
