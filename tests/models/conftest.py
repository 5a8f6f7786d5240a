from __future__ import annotations

import pytest
from models.support import KEYS


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    # Several threads for a tiny model wait for each other more than they work, above all on a busy machine.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
