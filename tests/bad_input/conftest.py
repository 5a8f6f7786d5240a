from __future__ import annotations

from pathlib import Path

import pytest
from bad_input.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder of the test's own in which `sgforge` is run."""
    return Desk(tmp_path)
