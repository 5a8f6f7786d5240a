"""Finds the environment variables that the code reads, so that no list of them has to be kept.

A variable is named where the environment is read (`os.environ.get(...)`, `os.getenv(...)`), as a constant or class
attribute whose name ends in `_env` or `_variable`, or in `Needs(env=...)`. What it is says the text under its constant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

__all__ = ["Variable", "environment_variables"]

_NAME: Final = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_HOLDER: Final = re.compile(r"(^|_)(env|variable)$", re.I)


@attrs.frozen
class Variable:
    """One environment variable: its name, the packages that read it, and what it is."""

    name: str
    readers: tuple[str, ...]
    text: str


@attrs.frozen
class _Mention:
    """One place that names a variable; `text` is empty where the place does not say what it is."""

    name: str
    reader: str
    text: str = ""


def environment_variables(*folders: Path) -> list[Variable]:
    """Every variable that the Python files below the folders read, sorted; a `ValueError` names one without a text."""
    mentions: dict[str, list[_Mention]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            for mention in mentions_of(path.read_text(encoding="utf-8"), folder.name):
                mentions.setdefault(mention.name, []).append(mention)
    return [_variable(name, mentions[name]) for name in sorted(mentions)]


def mentions_of(code: str, reader: str) -> Iterator[_Mention]:
    """The variables that one module names."""
    tree = ast.parse(code)
    constants = {}
    for body in _bodies(tree):
        for statement, following in zip(body, [*body[1:], None], strict=False):
            for name, value in _assigned(statement):
                constants[name] = value
                if _HOLDER.search(name):
                    yield _Mention(value, reader, _text_under(following))
    for node in ast.walk(tree):
        for given in _read_by(node):
            value = constants.get(given.id) if isinstance(given, ast.Name) else _text(given)
            if value is None and isinstance(given, ast.Name) and given.id.isupper() and not _HOLDER.search(given.id):
                raise ValueError(f"{reader}: what variable {given.id} names is not found: let it end in _VARIABLE")
            if value is not None and _NAME.fullmatch(value):
                yield _Mention(value, reader)


def _variable(name: str, mentions: list[_Mention]) -> Variable:
    readers = sorted({mention.reader for mention in mentions})
    texts = [mention.text for mention in mentions if mention.text]
    if not texts:
        raise ValueError(f"{name}, read in {', '.join(readers)}: name it in a constant, and say under that what it is")
    return Variable(name, tuple(readers), texts[0])


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    yield tree.body
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.body


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """The names that a statement gives to a text that may be a variable's."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    value = _text(getattr(statement, "value", None))
    if value is not None and _NAME.fullmatch(value):
        yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))


def _read_by(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that name what a node reads from the environment, or needs to be there."""
    if isinstance(node, ast.Subscript) and _is_environment(node.value):
        yield node.slice
    elif isinstance(node, ast.Compare) and any(map(_is_environment, node.comparators)):
        yield node.left
    elif isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Attribute) and (_is_environment(called.value) or called.attr == "getenv"):
            yield from node.args[:1]
        if isinstance(called, ast.Name) and called.id == "Needs":
            for keyword in node.keywords:
                if keyword.arg == "env" and isinstance(keyword.value, (ast.Tuple, ast.List)):
                    yield from keyword.value.elts


def _is_environment(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (
        isinstance(node, ast.Name) and node.id == "environ"
    )


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _text_under(statement: ast.stmt | None) -> str:
    found = _text(statement.value) if isinstance(statement, ast.Expr) else None
    return " ".join((found or "").split())
