"""`import sgforge`, `sgforge --help` and plugin modules bring along nothing heavy; --help loads no plugin."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sgforge.testing.contracts import HEAVY_MODULES

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())
LIST = "\nimport json, sys; sys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"


def modules_after(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code + LIST], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def plugins_among(modules: set[str]) -> list[str]:
    return sorted(name for name in modules if name.startswith("sgforge_"))


def test_the_list_of_heavy_modules_has_those_of_the_design():
    assert {"numpy", "zarr", "PIL", "rich", "aiohttp", "torch", "transformers", "openai", "anthropic"} <= set(
        HEAVY_MODULES
    )


def test_importing_sgforge_imports_only_how_its_names_are_found():
    modules = modules_after("import sgforge")
    assert [name for name in modules if name.startswith("sgforge.")] == ["sgforge.lazy"]
    assert modules.isdisjoint({*HEAVY_MODULES, "attrs", "cattrs", "pluggy"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_the_bare_command_loads_no_plugin_and_no_command(arguments):
    modules = modules_after(f"from sgforge.cli.main import main; main({arguments!r})")
    assert modules.isdisjoint({*HEAVY_MODULES, "attrs", "cattrs", "pluggy", "argparse"})
    assert plugins_among(modules) == []
    assert {name for name in modules if name.startswith("sgforge.cli.")} == {"sgforge.cli.main"}


def test_help_of_a_command_loads_no_plugin():
    for name in ("init", "plugins", "check"):
        modules = modules_after(f"from sgforge.cli.main import main; main([{name!r}, '--help'])")
        assert plugins_among(modules) == []
        assert modules.isdisjoint(HEAVY_MODULES), name


def test_a_run_without_anything_to_do_imports_no_component(tmp_path):
    """A student's libraries take seconds to import."""
    config = tmp_path / "pipeline.toml"
    config.write_text(
        f"""dataset = "{tmp_path / "data"}"
        sources.made = {{ use = "scenes", folder = "{tmp_path / "scenes"}", count = 4, size = 96, split = "train" }}
        step = [{{ train = "prior" }}, {{ generate = "prior" }}]"""
    )
    code = f"from sgforge.cli.main import main; assert main(['run', {str(config)!r}]) == 0"
    first, second = modules_after(code), modules_after(code)
    assert {"sgforge_baseline.prior", "numpy"} <= first
    assert {"sgforge_baseline.prior", "torch"}.isdisjoint(second)


@pytest.mark.parametrize("module", PLUGINS)
def test_plugins_are_light_to_import(module):
    modules = modules_after(f"import {module}")
    assert modules.isdisjoint(HEAVY_MODULES)
    assert plugins_among(modules) == sorted(name for name in modules if name.partition(".")[0] == module)


def test_listing_plugins_and_writing_a_config_stay_light(tmp_path):
    config = str(tmp_path / "p.toml")
    code = f"from sgforge.cli.main import main; main(['plugins']); main(['plugins', 'svg']); main(['init', {config!r}])"
    modules = modules_after(code)
    assert len(plugins_among(modules)) >= len(PLUGINS)
    assert modules.isdisjoint(HEAVY_MODULES)


def test_importlinter_watches_every_plugin():
    settings = PROJECT["tool"]["importlinter"]
    assert settings["root_packages"][0] == "sgforge"
    contracts = {contract["name"]: contract for contract in settings["contracts"]}
    for found in (
        settings["root_packages"][1:],
        contracts["the core never imports a plugin"]["forbidden_modules"],
        contracts["no plugin imports another"]["modules"],
    ):
        assert sorted(found) == PLUGINS
