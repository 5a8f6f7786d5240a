"""The built wheel, and a third party's plugin beside it in a fresh environment."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from support.environment import ROOT, Environment

pytestmark = pytest.mark.packaging
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())


def test_wheel_holds_core_and_plugins_at_top_level(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"sgforge", *PLUGINS}
    assert all(f"{plugin}/__init__.py" in names for plugin in PLUGINS)
    assert "sgforge/py.typed" in names
    strays = [name for name in names if name.endswith(".pyc") or "/tests/" in name or "test_" in name]
    assert not strays


def test_wheel_holds_every_source_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    written = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sgforge").rglob("*.py")}
    written |= {path.relative_to(ROOT / "plugins").as_posix() for path in (ROOT / "plugins").rglob("*.py")}
    assert packed == written


@pytest.fixture(scope="session")
def echo(environment: Environment) -> Environment:
    """The environment with sgforge-echo installed from its folder, as a third party would."""
    environment.run(
        environment.python, "-m", "pip", "install", "--quiet", ROOT / "contrib/sgforge-echo", cwd=environment.folder
    )
    return environment


def test_the_wheel_is_what_is_imported(environment: Environment, tmp_path: Path) -> None:
    where = environment.run(environment.python, "-c", "import sgforge; print(sgforge.__file__)", cwd=tmp_path).stdout
    assert Path(where.strip()).is_relative_to(environment.folder)


def test_echo_is_found_beside_the_wheel(echo: Environment, tmp_path: Path) -> None:
    listed = json.loads(echo.run("sgforge", "plugins", "--json", cwd=tmp_path).stdout)["plugins"]
    owners = {plugin["plugin"]: plugin["distribution"] for plugin in listed}
    assert owners["echo"] == "sgforge-echo"
    assert [plugin["problems"] for plugin in listed if not plugin["ok"]] == []
    [found] = json.loads(echo.run("sgforge", "plugins", "echo", "--json", cwd=tmp_path).stdout)["components"]
    assert found["options"] == [{"name": "predicate", "type": "text", "default": '"near"'}]


def test_echo_passes_its_own_tests(echo: Environment, tmp_path: Path) -> None:
    tests = shutil.copytree(ROOT / "contrib/sgforge-echo/tests", tmp_path / "tests")
    done = echo.run(echo.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, cwd=tmp_path)
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


PIPELINE = """
dataset = "made"
[source]
use = "jsonl"
graphs = "graphs.jsonl"
[[step]]
complete = "echo"
predicate = "beside"
"""


def test_a_pipeline_runs_with_echo(echo: Environment, tmp_path: Path) -> None:
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    regions = [{"label": label, "box": box} for label, box in zip("abc", boxes, strict=True)]
    line = {"image_id": "one", "width": 64, "height": 48, "regions": regions}
    (tmp_path / "graphs.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    echo.run("sgforge", "check", "pipeline.toml", cwd=tmp_path)
    echo.run("sgforge", "run", "pipeline.toml", cwd=tmp_path)
    read = "import sgforge; d = sgforge.Dataset.open('made'); print(list(d['one'].graph.triplets()))"
    triplets = echo.run(echo.python, "-c", read, cwd=tmp_path).stdout.strip()
    assert triplets == "[('a', 'beside', 'b'), ('b', 'beside', 'c')]"
