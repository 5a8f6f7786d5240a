"""`sgforge untag DATASET NAME`: take a tag away."""

from __future__ import annotations

import argparse

from sgforge.cli.branch import take_away

_EXAMPLES = """\
The version stays until sgforge gc finds that nothing else needs it.

examples:
  sgforge untag runs/first round-1    take the name round-1 away"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument("name", metavar="NAME", help="the tag to take away")
    parser.add_argument("--json", action="store_true", help="print JSON, ids in full")


def run(args: argparse.Namespace) -> int:
    """Take the tag away."""
    return take_away("tags", args.dataset, args.name, as_json=args.json)
