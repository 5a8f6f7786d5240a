"""`sgforge repair DATASET`: sound copies in place of damaged files; the rest is moved aside, nothing is deleted."""

from __future__ import annotations

import argparse
from pathlib import Path

from sgforge.cli.terminal import json_text
from sgforge.dataset.maintenance.repair import repair_dataset
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge repair runs/first --dry-run            say what would be done
  sgforge repair runs/first                      mend it with sound files of its other versions
  sgforge repair runs/first --from backup/first  and with those of a second copy

What cannot be mended is moved to runs/first/damaged/ and made anew by the next run, which asks no model again for what
was paid and kept. Exit code 1 says that something is still wrong."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument(
        "--from", dest="others", action="append", default=[], type=Path, metavar="OTHER", help="a dataset to copy from"
    )
    parser.add_argument("--dry-run", action="store_true", help="change nothing, say what would be done")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Mend, and say what was done."""
    found = repair_dataset(args.dataset, args.others, dry_run=args.dry_run)
    if args.json:
        aside = [{"what": what, "where": where} for what, where in found.aside]
        lists = {"mended": found.mended, "aside": aside, "computed_again": found.again, "problems": found.left}
        print(json_text({"dry_run": args.dry_run, **lists}))
        return int(bool(found.left))
    would = "would be " if args.dry_run else ""
    for text in found.mended:
        print(f"{would}mended: {visible(text)}")
    for what, where in found.aside:
        print(f"{would}moved aside: {visible(what)} -> {visible(where)}")
    for text in found.again:
        print(f"the next run computes again: {visible(text)}")
    for text in found.left:
        print(f"still wrong: {visible(text)}")
    if not (found.mended or found.aside or found.left):
        print("nothing to mend: every byte is as it was written")
    return int(bool(found.left))
