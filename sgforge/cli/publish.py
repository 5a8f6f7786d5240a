"""`sgforge publish DATASET`: seal what an unfinished run has so far as partial snapshots."""

from __future__ import annotations

import argparse
import sys

from sgforge.cli.terminal import json_text
from sgforge.dataset import DatasetWriter
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance.publish_unfinished import seal
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge publish runs/first                  make the answers of a stopped run readable, and move branch main
  sgforge publish runs/first --branch draft   leave main where it is"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument(
        "--branch", default="main", metavar="NAME", help="the branch that moves to what is published (default main)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Seal and say what was sealed."""
    DatasetFolder.open(args.dataset)
    with DatasetWriter.open(args.dataset) as writer:
        sealed = seal(writer, args.branch)
        damaged = tuple(writer.journal.damaged)
        notes = writer.states().notes()
    for note in notes:
        print(visible(note), file=sys.stderr)
    for one in damaged:
        print(f"{visible(one)}: it is left out, and the next run makes it again", file=sys.stderr)
    if args.json:
        print(json_text([{"snapshot": snapshot.id, "step": snapshot.meta.step.name} for snapshot in sealed]))
        return int(bool(damaged))
    for snapshot in sealed:
        print(f"{snapshot.id[:12]}  {visible(snapshot.meta.step.name)} (unfinished)")
    print(f"branch {visible(args.branch)} is {sealed[-1].id[:12]}" if sealed else "nothing to seal")
    return int(bool(damaged))
