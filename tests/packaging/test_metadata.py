"""Guards on pyproject.toml: what the wheel would hold and require."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())


def test_every_plugin_is_in_the_wheel() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(["sgforge", *(f"plugins/{name}" for name in PLUGINS)])


def test_every_plugin_has_an_entry_point_named_after_it() -> None:
    points = PROJECT["project"]["entry-points"]["sgforge"]
    # A package may offer several providers; each of its entry points leads into it.
    assert {value.partition(".")[0].partition(":")[0] for value in points.values()} == set(PLUGINS)


def test_plugins_lie_at_one_depth() -> None:
    assert all(name.startswith("sgforge_") for name in PLUGINS)
    assert not list((ROOT / "plugins").glob("*/sgforge_*/__init__.py"))


def test_no_requirement_is_a_direct_reference() -> None:
    project = PROJECT["project"]
    echo = tomllib.loads((ROOT / "contrib/sgforge-echo/pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *echo["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    assert requirements
    assert not [requirement for requirement in requirements if "@" in requirement]


def test_extras_hold_only_third_party_packages() -> None:
    for name, extra in PROJECT["project"]["optional-dependencies"].items():
        for requirement in extra:
            if requirement.startswith("sgforge"):
                assert requirement.startswith("sgforge["), f"extra {name} asks for {requirement}: a name not published"
