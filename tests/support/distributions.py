"""Fake installed distributions: a module and a *.dist-info folder on sys.path; no pip."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

_GOOD = """
import attrs, sgforge
from sgforge.stages import Needs

@attrs.frozen
class Options:
    threshold: float = 0.5

@sgforge.hookimpl
def sgforge_register_teachers(register):
    register("{name}", "{module}:Teacher", config=Options, revision=3)

class Teacher:
    def __init__(self, options):
        self.options = options
    def complete(self, samples):
        return []
"""


def good(name: str, module: str) -> str:
    """The source of a plugin that registers one teacher."""
    return _GOOD.format(name=name, module=module)


class Distributions:
    """Installs plugins into a folder; SGFORGE_PLUGINS is set to exactly those."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._plugins: list[str] = []
        self._modules: list[str] = []
        monkeypatch.syspath_prepend(folder)
        self.restrict()

    def add(self, distribution: str, version: str, plugin: str, source: str) -> str:
        """Install `plugin` of a distribution; its module, whose name is returned, has this source."""
        module = f"module_of_{distribution.replace('-', '_')}"
        metadata = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[sgforge]\n{plugin} = {module}\n")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source).replace("THIS_MODULE", module))
        self._modules.append(module)
        self._plugins.append(plugin)
        self.restrict(*self._plugins)
        return module

    def add_good(self, distribution: str, version: str, plugin: str, component: str) -> str:
        """Install a plugin that registers one teacher."""
        return self.add(distribution, version, plugin, good(component, "THIS_MODULE"))

    def restrict(self, *plugins: str) -> None:
        """Set SGFORGE_PLUGINS."""
        self._monkeypatch.setenv("SGFORGE_PLUGINS", ",".join(plugins))

    def forget(self) -> None:
        """Undo the imports."""
        for module in self._modules:
            sys.modules.pop(module, None)
