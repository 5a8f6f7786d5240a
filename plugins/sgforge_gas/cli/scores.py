"""`sgforge gas scores`: how good pictures are by what they should show."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import attrs

from sgforge.cli.terminal import json_text
from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.tables import Table, render
from sgforge_gas.cli.arguments import whole
from sgforge_gas.judging.groups import Group, gaps, scores_of

__all__ = ["configure", "run"]

_EXAMPLES = """\
examples:
  sgforge gas scores runs/score                          the totals of its judge by complexity, degree, words
  sgforge gas scores runs/teacher --against runs/student  where the first is better, the widest gap first

Rows are means with 95 % intervals; --least leaves out groups of fewer pictures."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="one whose pictures were judged")
    parser.add_argument("--against", metavar="DATASET[@ref]", help="another one over the same graphs")
    parser.add_argument("--least", metavar="N", type=whole, default=1, help="pictures of a group (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    if args.against is None:
        found = scores_of(_samples(args.dataset))
    else:
        found = gaps(_samples(args.dataset), _samples(args.against))
    if not found:
        raise ConfigError(
            f"{args.dataset}: no picture was judged; run steps `question`, `render` and `judge` on it first"
        )
    kept = [row for row in found if row.count >= args.least or row.by == "all"]
    if args.json:
        print(json_text([attrs.asdict(row) for row in kept]))
        return 0
    for by in dict.fromkeys(row.by for row in kept):
        print(render([_table(by, [row for row in kept if row.by == by])], "terminal"))
    return 0


def _table(by: str, rows: Iterable[Group]) -> Table:
    cells = tuple((row.name, row.count, row.mean, row.low, row.high) for row in rows)
    return Table(by, (by, "pictures", "mean", "low", "high"), cells)


def _samples(name: str) -> Iterable[Sample]:
    from sgforge.dataset import Dataset
    from sgforge.dataset.folder import split_ref

    path, ref = split_ref(name)
    return Dataset.open(path, ref)
