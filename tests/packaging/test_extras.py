"""Tests that need an extra say which, and CI does not skip them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from support import extras
from support.environment import ROOT
from support.waiting import LONGEST

TEST = """
from support.extras import needs_extra

def test_other(): pass

def test_it():
    needs_extra("fancy")
"""
CONFTEST = """
from support import extras

extras._EXTRAS = {"fancy": ["sgforge[plain]", "no-such-package>=2"], "plain": ["attrs"], "dev": [%s]}

def pytest_addoption(parser):
    parser.addoption("--all-extras", action="store_true")

def pytest_configure(config):
    if config.getoption("--all-extras"):
        extras.require_extras_of("dev")
"""


def outcome(folder: Path, of_dev: str, *options: str, test: str = TEST) -> tuple[str, str]:
    """What pytest says in its last line of such a test, and all that it says."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST % of_dev)
    (folder / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *options]
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=LONGEST
    )
    return done.stdout.splitlines()[-1], done.stdout


def test_a_test_is_skipped_by_the_name_of_its_extra(tmp_path: Path) -> None:
    counts, text = outcome(tmp_path, '"sgforge[fancy]"')
    assert "1 passed, 1 skipped" in counts
    assert "extra [fancy] is not installed: there is no no-such-package" in text


def test_a_module_is_skipped_as_a_whole(tmp_path: Path) -> None:
    counts, _ = outcome(tmp_path, "", test='from support.extras import needs_extra\nneeds_extra("fancy")\n' + TEST)
    assert "1 skipped" in counts
    assert "passed" not in counts


def test_ci_fails_where_an_extra_of_dev_is_missing(tmp_path: Path) -> None:
    counts, text = outcome(tmp_path, '"sgforge[plain,fancy]"', "--all-extras")
    assert "1 failed, 1 passed" in counts
    assert "extra [fancy] is not installed" in text


def test_ci_skips_what_dev_does_not_bring(tmp_path: Path) -> None:
    assert "1 passed, 1 skipped" in outcome(tmp_path, '"sgforge[plain]"', "--all-extras")[0]


def test_an_extra_that_is_there_is_no_reason_to_skip(tmp_path: Path) -> None:
    test = TEST.replace("fancy", "plain")
    assert "2 passed" in outcome(tmp_path, '"sgforge[plain]"', "--all-extras", test=test)[0]


def test_packages_of_an_extra_are_those_of_the_extras_it_brings() -> None:
    found = set(extras.packages_of("dev"))
    assert found >= {"scikit-image", "openai", "anthropic", "torch", "transformers", "pytest"}
    assert "attrs" not in found
    assert all(metadata.distribution(name) for name in ("pytest", "hypothesis"))


def test_no_test_skips_by_a_module_instead_of_an_extra() -> None:
    word = "importor" + "skip"
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert not [path.name for path in tests if re.search(word, path.read_text(encoding="utf-8"))]


def test_ci_asks_for_all_extras() -> None:
    assert "make test ARGS=--all-extras" in (ROOT / ".ci" / "run").read_text()
