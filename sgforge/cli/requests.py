"""What the commands that take a config share: their arguments, and the request that these make."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from sgforge.errors import ConfigError

if TYPE_CHECKING:
    from sgforge.config import PipelineConfig
    from sgforge.engine.launch import Request

__all__ = ["add_config_arguments", "add_retry", "add_yes", "build_request"]


def add_config_arguments(parser: argparse.ArgumentParser, examples: str, *, of_limit: str = "") -> None:
    """What all commands of a config take, and the examples; `of_limit` says more of what a limit does."""
    parser.epilog = examples
    parser.add_argument("config", metavar="CONFIG", help="a pipeline in TOML")
    _add_repeated(parser, "--set", "KEY=VALUE", "overrides", "replace a value of the config")
    _add_repeated(parser, "--root", "NAME=FOLDER", "roots", "where the images of a root lie")
    parser.add_argument("--limit", type=int, metavar="N", help=f"at most N images of each source{of_limit}")
    parser.add_argument(
        "--executor",
        metavar="NAME",
        help="where components work, with the options of [executor] if that names it (default: as [executor] says, "
        "else local, in this process)",
    )
    parser.add_argument("--json", action="store_true", help="end with one JSON object, for machines")


def _add_repeated(parser: argparse.ArgumentParser, flag: str, metavar: str, dest: str, text: str) -> None:
    parser.add_argument(flag, action="append", default=[], metavar=metavar, dest=dest, help=text)


def build_request(args: argparse.Namespace) -> Request:
    """What the command line asks for."""
    from sgforge.config import load_config
    from sgforge.pipeline import Pipeline

    config: PipelineConfig = load_config(args.config, args.overrides)
    branch = getattr(args, "branch", None)
    request = Pipeline.from_config(config).request(
        config.sources,
        config.dataset,
        roots={**config.roots, **_roots(args.roots)},
        limit=args.limit,
        branch=config.branch if branch is None else branch,
        retry_failed=getattr(args, "retry_failed", False),
        responses=config.responses,
        verify_files=getattr(args, "verify_files", False),
        executor=args.executor,
        yes=getattr(args, "yes", False),
        reread=getattr(args, "reread", False),
    )
    ask = _ask if sys.stdin.isatty() and sys.stderr.isatty() and not args.json else None
    return attrs.evolve(request, keeps_larger=branch is None, consent=attrs.evolve(request.consent, ask=ask))


def add_retry(parser: argparse.ArgumentParser) -> None:
    """What failed is asked again."""
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="buy answers again that were refused, truncated or invalid, and ask again what got no answer",
    )


def add_yes(parser: argparse.ArgumentParser) -> None:
    """The answer to the question whether answers are bought anew."""
    parser.add_argument(
        "--yes", action="store_true", help="buy answers anew that a newer revision of a component asks for"
    )


def _ask(line: str) -> bool:
    sys.stderr.write(f"sgforge: {line}; go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _roots(given: list[str]) -> dict[str, Path]:
    found = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise ConfigError(f"--root {text!r} must read NAME=FOLDER")
        found[name] = Path(folder)
    return found
