"""Records of more than four fields are built by keyword: of many values side by side none says which it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("sgforge", "plugins", "contrib") for path in sorted((ROOT / folder).rglob("*.py"))]
LOOKED_AT = (ast.ClassDef, ast.Call)
MOST = 4
EXCUSE = "# By position:"
"""How the comment begins that stands right above a measured loop which needs positions."""


def records(nodes: Sequence[ast.AST]) -> set[str]:
    """The names of attrs classes of more than four fields that are set at construction."""
    found = set()
    for node in nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        if not any(ast.unparse(one).startswith("attrs.") for one in node.decorator_list):
            continue
        fields = [line for line in node.body if isinstance(line, ast.AnnAssign) and is_given(line)]
        if len(fields) > MOST:
            found.add(node.name)
    return found


def is_given(line: ast.AnnAssign) -> bool:
    no_field = "ClassVar" in ast.unparse(line.annotation)
    return not no_field and (line.value is None or "init=False" not in ast.unparse(line.value))


def by_position(nodes: Sequence[ast.AST], text: str, names: set[str]) -> Iterator[str]:
    """Calls of these records with more than four positions, or with who knows how many, without an excuse."""
    lines = text.splitlines()
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        many = len(node.args) > MOST or any(isinstance(one, ast.Starred) for one in node.args)
        if name in names and many and EXCUSE not in lines[node.lineno - 2]:
            yield f"{node.lineno}: {name}"


def test_records_of_more_than_four_fields_are_built_by_keyword() -> None:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES]
    # Of each module only its classes and calls are kept: all nodes of all are millions.
    parsed = [[node for node in ast.walk(ast.parse(text)) if isinstance(node, LOOKED_AT)] for text in texts]
    own = [records(nodes) for nodes in parsed]
    public = {name for names in own for name in names if not name.startswith("_")}
    assert {"Region", "Relation", "Mask", "StepReport", "Caller"} <= public
    found = [
        f"{path.relative_to(ROOT)}:{call}"
        for path, nodes, text, names in zip(SOURCES, parsed, texts, own, strict=True)
        for call in by_position(nodes, text, public | names)
    ]
    assert found == []


def test_what_is_looked_for_is_found() -> None:
    text = """\
@attrs.frozen
class Row:
    a: int
    b: int
    c: int
    d: int
    e: int = 0
    f: int = attrs.field(init=False)

@attrs.frozen
class Few:
    a: int
    b: ClassVar[int] = 3
    c: int = 0
    d: int = 0
    e: int = 0

Row(1, 2, 3, 4, 5)
Row(*values)
Row(1, 2, 3, 4, e=5)
# By position: it is measured.
Row(1, 2, 3, 4, 5)
Few(1, 2, 3, 4)
"""
    nodes = list(ast.walk(ast.parse(text)))
    assert records(nodes) == {"Row"}
    assert list(by_position(nodes, text, {"Row"})) == ["18: Row", "19: Row"]
