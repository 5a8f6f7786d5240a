"""What holds for all tests: the same examples in every run, no limit that a busy machine breaks, signals arrive, files
are in memory, and one process takes one core.

`--all-extras`: a test that lacks an extra which `dev` brings fails instead of being skipped.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from support import extras
from support.memory import keep_temporary_files_in_memory

# `pytest --hypothesis-profile=search` draws new examples; one that fails belongs into an `@example`.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("search", settings.get_profile("steady"), derandomize=False)
settings.load_profile("steady")

# Workers and what they start share the cores. Threads of more than there are of them wait for each other in busy loops,
# which beside other work takes a hundred times as long. Read where numpy and torch are loaded, later.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests start about a thousand processes, and each would compile our modules and the tests anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# In the background of a script, or after nohup, Ctrl-C is ignored, and so it would be in every process that a test
# starts to interrupt it.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-extras", action="store_true", help="fail where an extra that dev brings is missing")


def pytest_configure(config: pytest.Config) -> None:
    keep_temporary_files_in_memory()
    if config.getoption("--all-extras"):
        extras.require_extras_of("dev")


def pytest_collection_finish() -> None:
    # Thousands of tests and their modules stay until the end: the collector of cycles need not look through them again.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def needs_extra() -> Callable[[str], None]:
    """`needs_extra("minilm")` skips a test by the name of the extra that it needs."""
    return extras.needs_extra
