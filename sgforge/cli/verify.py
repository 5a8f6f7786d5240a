"""`sgforge verify DATASET`: read every byte again and check it."""

from __future__ import annotations

import argparse

from sgforge.cli.terminal import json_text
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
examples:
  sgforge verify runs/first           checksums, counts, indices, refs and the journal
  sgforge verify runs/first --json    with the sha256 of each snapshot's data, to compare two copies"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong; 1 if anything is."""
    found = verify_dataset(args.dataset)
    if args.json:
        print(json_text({"snapshots": found.snapshots, "answers": found.answers, "problems": found.problems}))
    else:
        for check in found.snapshots:
            state = "damaged" if check.problems else "sound"
            size = f"{counted(check.arrays, 'array')}, {check.bytes / 1e6:.1f} MB"
            print(f"{check.snapshot_id[:12]}  {state}  {size}  {check.sha256}")
        for problem in found.problems:
            print(f"problem: {visible(problem)}")
        held = f"{counted(len(found.snapshots), 'snapshot')}, {counted(found.answers, 'unpublished answer')}"
        print(f"{held}, {counted(len(found.problems), 'problem')}")
    return 1 if found.problems else 0
