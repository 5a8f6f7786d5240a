"""`sgforge verify DATASET`: read every byte again and check it."""

from __future__ import annotations

import argparse
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from sgforge.cli.terminal import json_text
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.models.cache.store import schema_faults
from sgforge.sqlite_files import connect, has_tables
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
examples:
  sgforge verify runs/first           every byte of every file; what rows say of each other; refs and the journal
  sgforge verify runs/first --json    with the sha256 of each snapshot's data, to compare two copies"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is wrong; 1 if anything is."""
    found = verify_dataset(args.dataset)
    problems = [*found.problems, *_responses(Path(args.dataset) / "responses.sqlite")]
    if args.json:
        print(
            json_text(
                {
                    "snapshots": found.snapshots,
                    "answers": found.answers,
                    "problems": problems,
                    "notes": found.notes,
                }
            )
        )
    else:
        for check in found.snapshots:
            state = "damaged" if check.problems else "sound"
            size = f"{counted(check.arrays, 'array')}, {check.bytes / 1e6:.1f} MB"
            print(f"{check.snapshot_id[:12]}  {state}  {size}  {check.sha256}")
        for problem in problems:
            print(f"problem: {visible(problem)}")
        for note in found.notes:
            print(f"note: {visible(note)}")
        if problems:
            print(f"sgforge repair {visible(args.dataset)} mends what can be mended, and moves the rest aside")
        held = f"{counted(len(found.snapshots), 'snapshot')}, {counted(found.answers, 'unpublished answer')}"
        print(f"{held}, {counted(len(problems), 'problem')}")
    return 1 if problems else 0


def _responses(path: Path) -> list[str]:
    """What the file of paid answers lacks; that it cannot be read is told already."""
    if not has_tables(path):
        return []
    with suppress(sqlite3.Error), closing(connect(path, read_only=True)) as base:
        return [f"responses: {fault}" for fault in schema_faults(base)]
    return []
