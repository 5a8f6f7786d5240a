"""`sgforge gas`: structures, vocabularies, graphs, captions and their check."""

from __future__ import annotations

import argparse
import importlib
from typing import Any, Final

__all__ = ["GasCommand"]

_SUBCOMMANDS: Final = {
    "structures": "count the structures of a complexity",
    "sample": "draw graphs, with captions and questions if wanted",
    "caption": "write captions of the graphs of a file",
    "check": "find captions that lost or swapped an element of their graph",
    "scores": "say how good judged pictures are by complexity, degree, objects and attributes",
    "audit": "say how often a judge agrees with the graphs of a dataset",
    "vocabulary": "make a vocabulary of a WordNet folder or of a dataset's graphs",
}
_EXAMPLES: Final = """\
examples:
  sgforge gas structures --complexity 12 --json
  sgforge gas sample --count 100 --complexity 3-9
  sgforge gas caption graphs.jsonl --json
  sgforge gas check graphs.jsonl captions.jsonl
  sgforge gas vocabulary --dataset runs/svg --output svg-words.json

`sgforge gas SUBCOMMAND --help` tells more."""


class GasCommand:
    """Draw scene graphs, say them in captions, ask about them (Generate Any Scene)."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the subcommands."""
        parser.epilog = _EXAMPLES
        found = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, does in _SUBCOMMANDS.items():
            sub = found.add_parser(
                name,
                help=does,
                description=f"{does[:1].upper()}{does[1:]}.",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
            _module(name).configure(sub)
            sub.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)

    def run(self, args: argparse.Namespace) -> int:
        """Run the one that was asked for."""
        code: int = _module(args.subcommand).run(args)
        return code


def _module(name: str) -> Any:
    return importlib.import_module(f"sgforge_gas.cli.{name}")
