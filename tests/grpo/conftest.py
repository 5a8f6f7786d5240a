from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import engine_toys
import policy_toys
import pytest
from engine_fixtures import tmp_path
from grpo import reward_toys

import sgforge_grpo
from sgforge.plugins import Registry
from sgforge.testing import IsolatedPlugins

__all__ = ["tmp_path", "toys"]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The toys, a reward of words, and the plugin, in this process and in those that it starts."""
    with IsolatedPlugins(engine_toys, policy_toys, reward_toys, sgforge_grpo) as registry:
        for name, value in reward_toys.environment(tmp_path / "site").items():
            monkeypatch.setenv(name, value)
        yield registry
