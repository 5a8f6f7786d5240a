"""What holds for every component: its registration, its options, and a light import of its plugin."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs
import pytest

from sgforge.config import dump_options, structure_options
from sgforge.engine.executors.lifecycle import Seat, close_parts, open_parts
from sgforge.engine.planning.components import find_spec, is_async
from sgforge.engine.planning.part_resources import with_parts
from sgforge.errors import ConfigError
from sgforge.file_refs import FILES_ROOT
from sgforge.made_files import MadeFiles
from sgforge.plugins import Component, Registry, load_plugins, unmet_needs
from sgforge.stages import KINDS, Model, Resources

__all__ = ["HEAVY_MODULES", "ComponentContract"]

HEAVY_MODULES: Final = (
    *("numpy", "zarr", "PIL", "rich", "aiohttp", "torch", "transformers", "openai", "anthropic", "skimage"),
    *("msgpack", "orjson", "jsonschema", "pandas", "scipy", "cv2", "matplotlib", "requests", "httpx"),
)
"""Modules that importing a plugin must not bring along: every command would pay for them."""

_LIST_MODULES: Final = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


@cache
def _brought_along(module: str) -> frozenset[str]:
    """All modules that importing this one brings along, in a process of its own; asked once for all of a plugin."""
    done = subprocess.run([sys.executable, "-c", _LIST_MODULES, module], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"importing {module} fails:\n{done.stderr}"
    return frozenset(json.loads(done.stdout))


class ComponentContract:
    """The base of all contracts: `component` is the registered name, `options` what a config would give it.

    A subclass may override `registry` (another set of plugins), `options_in` (options that name files) and
    `resources`. Tests that build the component are skipped where its needs are not met.
    """

    kind: ClassVar[str]
    component: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    def registry(self) -> Registry:
        """The plugins to look in: the installed ones."""
        return load_plugins()

    def options_in(self, folder: Path) -> Mapping[str, Any]:
        """The options for a test that may write files into `folder` first."""
        return self.options

    def resources(self, folder: Path) -> Resources:
        """What the component is set up with."""
        return Resources(scratch=folder, files=MadeFiles(folder / FILES_ROOT))

    def registered(self) -> Component:
        """The component as it is registered."""
        return self.registry().lookup(self.kind, self.component)

    def typed_options(self, folder: Path) -> Any:
        """The component's options, typed."""
        return structure_options(self.registered(), self.options_in(folder), f"{type(self).__name__}.options")

    @contextmanager
    def built(self, folder: Path) -> Iterator[Any]:
        """A new instance, set up and closed as the engine does it."""
        component = self.registered()
        unmet = unmet_needs(component)
        if unmet:
            pytest.skip(f"{component}: {'; '.join(unmet)}")
        instance = component.build(self.typed_options(folder))
        with self.with_parts(folder) as resources:
            try:
                if hasattr(instance, "setup"):
                    instance.setup(resources)
                yield instance
            finally:
                if hasattr(instance, "close"):
                    instance.close()

    @contextmanager
    def with_parts(self, folder: Path) -> Iterator[Resources]:
        """The resources with the components in its options, which are set up, and closed at the end."""
        spec, faults = find_spec(self.registry(), self.kind, self.component, self.options_in(folder))
        assert not faults, "; ".join(fault.message for fault in faults)
        for _, part in spec.walk():
            unmet = unmet_needs(part.component) if part.component is not None else ()
            if unmet:
                pytest.skip(f"{part.kind} {part.name!r}: {'; '.join(unmet)}")
        asked = is_async(spec.target(), KINDS[self.kind].all_methods[0])
        seats: list[Seat] = []
        try:
            yield open_parts(spec, with_parts(spec, self.resources(folder), self.model_of), seats, is_async=asked)
        finally:
            close_parts(seats)

    def model_of(self, name: str | None) -> Model | None:
        """The model of a part by its "provider/model"; override for parts that ask one."""
        return None

    def test_target_has_the_methods_of_its_kind(self) -> None:
        component = self.registered()
        if unmet_needs(component):
            pytest.skip("its needs are not met here")
        component.load()

    def test_options_survive_being_saved(self, tmp_path: Path) -> None:
        component, typed = self.registered(), self.typed_options(tmp_path)
        saved = json.loads(json.dumps(dump_options(typed)))
        given = {name: value for name, value in saved.items() if value is not None}
        assert structure_options(component, given, "saved options") == typed, f"{saved} does not give {typed} again"
        assert pickle.loads(pickle.dumps(typed)) == typed, "options must survive a trip to another process"  # noqa: S301

    def test_options_are_frozen(self, tmp_path: Path) -> None:
        typed = self.typed_options(tmp_path)
        for field in attrs.fields(type(typed)) if typed is not None else ():
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(typed, field.name, getattr(typed, field.name))

    def test_unknown_option_is_refused(self, tmp_path: Path) -> None:
        options = {**self.options_in(tmp_path), "no_such_option": 1}
        with pytest.raises(ConfigError, match="no_such_option"):
            structure_options(self.registered(), options, "options")

    def test_plugin_is_light_to_import(self) -> None:
        module = self._plugin_module()
        found = sorted(_brought_along(module) & set(HEAVY_MODULES))
        assert not found, f"importing {module} imports {', '.join(found)}: import them where they are used"

    def _plugin_module(self) -> str:
        owner = self.registered().owner
        for report in self.registry().reports:
            if report.owner == owner and " = " in report.entry_point:
                return report.entry_point.partition(" = ")[2].partition(":")[0]
        pytest.skip(f"{owner} is not an installed distribution")
