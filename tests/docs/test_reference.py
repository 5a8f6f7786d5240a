"""What docs/reference.md is written from: every method says its formats, every environment variable is found."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.environment import ROOT

from sgforge.stages import KINDS, protocols

PUBLIC = [
    pytest.param(method, id=f"{name}.{method.__name__}")
    for name in protocols.__all__
    for method in vars(getattr(protocols, name)).values()
    if inspect.isfunction(method) and not method.__name__.startswith("_")
]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finder() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("finder", ROOT / "docs" / "environment_variables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["finder"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["finder"]


@pytest.mark.parametrize("method", PUBLIC)
def test_every_method_of_a_component_says_its_formats_and_errors(method: object) -> None:
    text = inspect.getdoc(method) or ""
    assert "Errors" in text or text.startswith("As `"), text
    assert text.splitlines()[0] in REFERENCE


def test_every_kind_is_told() -> None:
    for kind in KINDS.values():
        for method in kind.all_methods:
            assert f"def {method}(" in REFERENCE or kind.name == "command", f"{kind.name}: {method}"


def found(finder: ModuleType, folder: Path, code: str) -> list[tuple[str, str]]:
    (folder / "package").mkdir()
    (folder / "package" / "module.py").write_text(code)
    return [(variable.name, variable.text) for variable in finder.environment_variables(folder / "package")]


def test_the_variables_of_the_code_are_in_the_table(finder: ModuleType) -> None:
    read = finder.environment_variables(ROOT / "sgforge", *sorted((ROOT / "plugins").glob("sgforge_*")))
    names = {variable.name for variable in read}
    assert names >= {"SGFORGE_PLUGINS", "SGFORGE_COMPAT_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"}
    assert all(f"| `{name}` |" in REFERENCE for name in names)


@pytest.mark.parametrize(
    "use",
    ["os.environ['A_KEY']", "os.environ.get('A_KEY')", "os.getenv('A_KEY', '')", "'A_KEY' in os.environ"],
)
def test_a_variable_is_found_where_it_is_read(use: str, finder: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="A_KEY, read in package: name it in a constant"):
        found(finder, tmp_path, f"import os\nprint({use})\n")


@pytest.mark.parametrize(
    "code",
    [
        "import os\nSECRET = 'A_KEY'\nKEY_ENV = 'A_KEY'\n'''Of the\ndoor.'''\nprint(os.environ[SECRET])\n",
        "class Door:\n    key_env: str = 'A_KEY'\n    '''Of the door.'''\n",
        "needs = Needs(env=('A_KEY',))\nDOOR_VARIABLE = 'A_KEY'\n'Of the door.'\n",
    ],
)
def test_what_a_variable_is_stands_under_its_constant(code: str, finder: ModuleType, tmp_path: Path) -> None:
    assert found(finder, tmp_path, code) == [("A_KEY", "Of the door.")]


def test_a_variable_behind_a_name_of_another_module_is_not_missed(finder: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="what variable SECRET names is not found"):
        found(finder, tmp_path, "import os\nfrom elsewhere import SECRET\nprint(os.environ[SECRET])\n")


def test_other_texts_are_no_variables(finder: ModuleType, tmp_path: Path) -> None:
    code = "import os\nNAME = 'A_KEY'\nmode_variable = 'train'\nprint(os.environ.get(mode_variable), {}.get('B_KEY'))\n"
    assert found(finder, tmp_path, code) == []
