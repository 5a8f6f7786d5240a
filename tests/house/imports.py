"""Imports between the modules and sub-rooms of one room, counted from the sources alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["arrows", "circle"]


def arrows(room: Path, package: str) -> set[tuple[str, str]]:
    """Distinct ordered pairs (importer, imported) of the nodes of a room.

    A node is a module of the room, or a whole sub-room; imports within a sub-room are its own affair. Imports inside
    functions and those for type checkers count like all others.
    """
    modules = {_name(path, room, package): path for path in room.rglob("*.py")}
    found = set()
    for name, path in modules.items():
        for target in _targets(path, modules):
            pair = (_node(name, package), _node(target, package))
            if pair[0] != pair[1]:
                found.add(pair)
    return found


def circle(pairs: set[tuple[str, str]]) -> list[str]:
    """Nodes that import each other in a ring, the first first and last; empty if there are none."""
    imports: dict[str, list[str]] = {}
    for importer, imported in sorted(pairs):
        imports.setdefault(importer, []).append(imported)
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node not in done:
            for following in imports.get(node, ()):
                if found := walk(following, [*way, node]):
                    return found
            done.add(node)
        return []

    return next((found for node in sorted(imports) if (found := walk(node, []))), [])


def _name(path: Path, room: Path, package: str) -> str:
    parts = path.relative_to(room).with_suffix("").parts
    return ".".join((package, *(part for part in parts if part != "__init__")))


def _node(name: str, package: str) -> str:
    return name.removeprefix(package).lstrip(".").partition(".")[0]


def _targets(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module
