"""`sgforge upgrade DATASET`: bring a dataset to the schema that this sgforge writes."""

from __future__ import annotations

import argparse

from sgforge.cli.terminal import json_text
from sgforge.dataset.maintenance.upgrade import upgrade_dataset
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
examples:
  sgforge upgrade runs/first    add digests of all files to versions of schema 2.0, so that sgforge verify finds
                                every changed byte; ids, keys, branches and tags stay as they are

A dataset that is not upgraded can be used as before. A damaged version gets no digests: sgforge verify says what is
wrong with it, sgforge repair mends it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Upgrade, and say what was done; 1 if something had to be left as it is."""
    found = upgrade_dataset(args.dataset)
    if args.json:
        print(json_text({"upgraded": found.snapshots, "files_of_steps": found.files, "left": found.left}))
        return int(bool(found.left))
    for text in found.left:
        print(f"left as it is: {visible(text)}")
    print(
        f"{counted(len(found.snapshots), 'snapshot')} upgraded, {counted(found.files, 'file')} of steps"
        if found.snapshots or found.files
        else "nothing to upgrade"
    )
    return int(bool(found.left))
