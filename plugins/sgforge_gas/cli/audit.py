"""`sgforge gas audit`: how often a judge agrees with the graphs of a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sgforge.cli.terminal import json_text
from sgforge.errors import ConfigError
from sgforge.tables import Table, render
from sgforge.text.wording import counted
from sgforge_gas.cli.arguments import whole
from sgforge_gas.judging.audit import Audit, Row, audit

__all__ = ["configure", "run"]

_EXAMPLES = """\
examples:
  sgforge gas audit runs/svg
  sgforge gas audit runs/svg --least 30 --json

The dataset has questions and answers: a pipeline with the steps `question = "gas"` and `judge = "gas"` over real photos
and their graphs makes them (examples/gas/audit.toml). Intervals are Wilson's, of 95 %; the worst stand first."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]")
    parser.add_argument("--least", metavar="N", type=whole, default=1, help="leave out what was asked about less often")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    from sgforge.dataset import Dataset
    from sgforge.dataset.folder import split_ref

    path, ref = split_ref(args.dataset)
    found = audit(Dataset.open(path, ref))
    if not found.images:
        raise ConfigError(f"{args.dataset}: no image has answers; run steps `question` and `judge` on it first")
    if args.json:
        print(json_text(_as_json(found, args.least)))
        return 0
    for title, rows in (("predicates", found.predicates), ("labels", found.labels), ("attributes", found.attributes)):
        kept = [row for row in rows if row.asked >= args.least]
        if kept:
            cells = tuple((row.name, row.asked, row.precision, row.low, row.high) for row in kept)
            print(render([Table(title, ("name", "asked", "precision", "low", "high"), cells)], "terminal"))
    print(counted(found.images, "image"))
    if found.said_yes_to_false is not None:
        print(f"the judge said yes to {found.said_yes_to_false:.1%} of the questions whose answer is no")
    for reason, count in found.skipped.items():
        print(f"{reason}: {count}")
    return 0


def _as_json(found: Audit, least: int) -> dict[str, object]:
    return {
        "images": found.images,
        "predicates": _rows(found.predicates, least),
        "labels": _rows(found.labels, least),
        "attributes": _rows(found.attributes, least),
        "said_yes_to_false": found.said_yes_to_false,
        "skipped": dict(found.skipped),
    }


def _rows(rows: Sequence[Row], least: int) -> list[dict[str, object]]:
    return [
        {"name": row.name, "asked": row.asked, "precision": row.precision, "low": row.low, "high": row.high}
        for row in rows
        if row.asked >= least
    ]
