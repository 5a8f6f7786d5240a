"""Tests that need an extra of sgforge: skipped by its name where it is not installed, a failure where it must be."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from typing import Final

import pytest

from support.environment import ROOT

__all__ = ["needs_extra", "packages_of", "require_extras_of"]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_OURS: Final = re.compile(r"sgforge\[([^\]]+)\]")
_EXTRAS: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
_required: set[str] = set()


def needs_extra(name: str) -> None:
    """Skip the test, or called in a module the whole module, where a package of the extra is not installed.

    Within `pytest --all-extras` that fails, for every extra that `dev` brings.
    """
    missing = [package for package in packages_of(name) if not _is_installed(package)]
    if not missing:
        return
    text = f"extra [{name}] is not installed: there is no {', '.join(missing)}"
    if name in _required:
        pytest.fail(text, pytrace=False)
    pytest.skip(text, allow_module_level=True)


def require_extras_of(extra: str) -> None:
    """Let `needs_extra` fail for every extra that this one brings."""
    for requirement in _EXTRAS[extra]:
        if ours := _OURS.match(requirement):
            _required.update(ours[1].split(","))


def packages_of(extra: str) -> Iterator[str]:
    """The distributions that an extra asks for, those of extras it brings included."""
    for requirement in _EXTRAS[extra]:
        if ours := _OURS.match(requirement):
            for name in ours[1].split(","):
                yield from packages_of(name)
        elif name := _NAME.match(requirement):
            yield name[0]


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
