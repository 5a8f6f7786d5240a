"""README.md and the pages with commands are run as they stand."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from docs.blocks import compare, read_blocks, run_page
from support.environment import ROOT, Environment

from sgforge.jsonl import rules

TUTORIAL = ROOT / "docs" / "tutorial-plugin.md"
README = ROOT / "README.md"
ECHO = ROOT / "contrib" / "sgforge-echo"


PAGES = [
    README,
    *(ROOT / "docs" / name for name in ("config.md", "dataset.md", "graph-jsonl.md", "formats.md", "refiners.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_runs(page: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert run_page(page, tmp_path, {**os.environ, "PATH": path}) > 0


@pytest.mark.packaging
def test_the_tutorial_runs_beside_a_checkout(tmp_path: Path) -> None:
    """From its first command on. Third-party packages are those of this environment: nothing is downloaded."""
    (tmp_path / "sgforge").symlink_to(ROOT)
    folder = tmp_path / "work"
    folder.mkdir()
    found = Path(attrs.__file__).parents[1]
    environment = Environment(folder / ".venv")
    assert run_page(TUTORIAL, folder, environment.variables(PYTHONPATH=str(found))) == 21


def test_the_tutorial_is_the_template() -> None:
    titled = {block.title: block.code for block in read_blocks(TUTORIAL.read_text()) if block.title}
    modules = ("__init__", "teacher", "reward", "size")
    tests = ("test_echo", "test_reward", "test_size")
    files = (*(f"sgforge_echo/{name}.py" for name in modules), *(f"tests/{name}.py" for name in tests))
    for name in ("pyproject.toml", *files):
        assert titled[f"sgforge-echo/{name}"] == (ECHO / name).read_text(), f"{name} differs"


@pytest.mark.parametrize("name", ["reward", "size"])
def test_a_reward_and_a_column_take_ten_lines_each(name: str) -> None:
    """Statements, without imports and docstrings."""
    tree = ast.parse((ECHO / "sgforge_echo" / f"{name}.py").read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    said = [node for node in found if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr))]
    assert len({node.lineno for node in said}) <= 10


@pytest.mark.parametrize("page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target} does not exist"


FORMS = {"image": rules.IMAGE_KEYS, "region": rules.REGION_KEYS, "relation": rules.RELATION_KEYS}


@pytest.mark.parametrize("form", FORMS)
def test_the_page_of_graph_jsonl_tells_and_shows_every_field(form: str) -> None:
    page = (ROOT / "docs" / "graph-jsonl.md").read_text(encoding="utf-8")
    table = re.search(rf"^## Fields of an? {form}$(.*?)^##", page, re.M | re.S)
    assert table is not None
    cells = [row.split("|")[1] for row in table[1].splitlines() if row.startswith("| `")]
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(FORMS[form])
    images = [json.loads(line) for block in read_blocks(page) if block.title for line in block.code.splitlines()]
    shown = {
        "image": images,
        "region": [region for image in images for region in image["regions"]],
        "relation": [relation for image in images for relation in image.get("relations", ())],
    }
    assert {name for row in shown[form] for name in row} == set(FORMS[form])


PAGE = """
```bash
echo one; echo two > made.txt
```
```text
one
```
<!-- not run: it would fail -->
```bash
false
```
```python title="sub/file.py"
print("three")
```
```python
exec(open("sub/file.py").read())
print(open("made.txt").read())
```
```text
three
two
```
"""


class TestRunner:
    """The runner itself can fail."""

    def page(self, folder: Path, text: str) -> int:
        path = folder / "page.md"
        path.write_text(text)
        return run_page(path, folder, {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})

    def test_a_good_page(self, tmp_path: Path) -> None:
        assert self.page(tmp_path, PAGE) == 4

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("echo one;", "echo other;", "page.md:5: 'one' is not printed"),
            ("three\ntwo", "two\nthree", "'three' is not printed"),
            ("echo one;", "false; echo one;", "page.md:2 failed"),
            ("echo one;", "false | true; echo one;", "page.md:2 failed"),
            ('open("made.txt")', 'open("none.txt")', "none.txt"),
            ("<!-- not run: it would fail -->\n", "", "page.md:8 failed"),
        ],
    )
    def test_a_bad_page(self, old: str, new: str, expected: str, tmp_path: Path) -> None:
        assert old in PAGE
        with pytest.raises(AssertionError) as caught:
            self.page(tmp_path, PAGE.replace(old, new))
        assert expected in str(caught.value)

    def test_a_hanging_block_is_stopped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("docs.blocks._LONGEST", 0.5)
        with pytest.raises(subprocess.TimeoutExpired):
            self.page(tmp_path, "```bash\nsleep 60\n```\n")

    def test_compare_takes_parts_of_lines_in_their_order(self) -> None:
        compare("b\nd", "abc\n\nxdx", "here")
        with pytest.raises(AssertionError, match="here: 'b' is not printed"):
            compare("d\nb", "abc\n\nxdx", "here")
