"""Every file and function that the pages of the house name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from support.environment import ROOT

NAMED = re.compile(r"`([\w/]+\.py): ([\w.]+)`", re.S)


def names_in(path: Path) -> set[str]:
    """Functions, classes, constants and methods of a module, methods as Class.method."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (one for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))
            found |= {f"{node.name}.{method.name}" for method in methods}
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_every_function_on_the_page_is_where_it_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = [(file, name) for file, name in NAMED.findall(re.sub(r"\s+", " ", page))]
    assert len(named) > 40
    missing = [
        f"{file}: {name}"
        for file, name in named
        if not (ROOT / "sgforge" / file).is_file() or name not in names_in(ROOT / "sgforge" / file)
    ]
    assert not missing
