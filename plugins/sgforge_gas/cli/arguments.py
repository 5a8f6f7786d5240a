"""Arguments that several subcommands have: bounds of structures, files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.errors import ConfigError
from sgforge_gas.config import GasOptions

__all__ = ["add_bounds", "add_draws", "draws_of", "whole"]

_BOUNDS: Final = {
    "complexity": "objects + relations + attributes",
    "objects": "objects",
    "relations": "relations",
    "attributes": "attributes",
    "components": "weakly connected components",
    "average-degree": "2 relations / objects",
}


def add_bounds(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """The bounds of structures, each a number or LEAST-MOST."""
    for name, means in _BOUNDS.items():
        if name not in without:
            number = float if name == "average-degree" else int
            parser.add_argument(f"--{name}", metavar="N[-M]", type=span(number), default=(), help=means)
    parser.add_argument("--max-degree", metavar="N", type=whole, help="at most so many relations of one object")
    parser.add_argument("--cycles", action="store_true", help="relations may form cycles")
    parser.add_argument("--parallel", action="store_true", help="a pair may have several predicates")


def add_draws(parser: argparse.ArgumentParser) -> None:
    """All that says which graphs are drawn."""
    add_bounds(parser)
    parser.add_argument("--prior", choices=("complexity", "structures", "sizes", "histogram"), default="complexity")
    parser.add_argument("--histogram", metavar="FILE", type=Path, help="weights of sizes, for --prior histogram")
    parser.add_argument("--vocabulary", metavar="FILE", type=Path, help="JSON or TOML (without it our starter)")
    parser.add_argument("--plausibility", choices=("none", "types", "seen"), default="types")
    parser.add_argument("--scene-attributes", metavar="N[-M]", type=span(int), default=(0, 2))
    parser.add_argument("--seed", metavar="N", type=whole, default=0)


def draws_of(args: argparse.Namespace, **more: Any) -> GasOptions:
    """The options that the arguments say."""
    names = {field.name for field in attrs.fields(GasOptions)}
    given = {name: value for name, value in vars(args).items() if name in names}
    try:
        return GasOptions(**{**given, **more})
    except ValueError as error:
        raise ConfigError(str(error)) from None


def whole(text: str) -> int:
    """A whole number from 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def span(number: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A parser of "7" and "3-9"."""

    def parse(text: str) -> tuple[Any, ...]:
        least, dash, most = text.partition("-")
        try:
            found = (number(least), number(most)) if dash else (number(least),)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor LEAST-MOST, such as 3-9") from None
        if found[0] > found[-1]:
            raise argparse.ArgumentTypeError(f"{text!r}: the lesser number stands first")
        return found

    return parse
