"""`sgforge tag DATASET [NAME [REF]]`: name a version for good, or list the names."""

from __future__ import annotations

import argparse

from sgforge.cli.terminal import json_text
from sgforge.dataset import Dataset, DatasetWriter
from sgforge.dataset.folder import DatasetFolder
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge tag runs/first                  list branches and tags
  sgforge tag runs/first round-1          name what branch main stands for now
  sgforge tag runs/first round-1 3f2a91   name a snapshot by (the start of) its id"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the new name; it never moves")
    parser.add_argument("ref", nargs="?", default="main", metavar="REF", help="branch, tag or snapshot id (main)")
    parser.add_argument("--json", action="store_true", help="print JSON, ids in full")


def run(args: argparse.Namespace) -> int:
    """List the names, or make one."""
    folder = DatasetFolder.open(args.dataset)
    if args.name is None:
        if args.json:
            print(json_text({"branches": folder.refs("heads"), "tags": folder.refs("tags")}))
            return 0
        for kind in ("heads", "tags"):
            for name, snapshot_id in folder.refs(kind).items():
                print(f"{snapshot_id[:12]}  {'branch' if kind == 'heads' else 'tag'} {visible(name)}")
            for damage in folder.damaged_refs(kind):
                print(f"damaged: {visible(str(damage))}")
        return 0
    with DatasetWriter.open(args.dataset) as writer:
        writer.tag(args.name, writer.resolve(args.ref))
    snapshot = Dataset.open(args.dataset, args.name).snapshot
    if args.json:
        print(json_text({"tag": args.name, "snapshot": snapshot.id}))
        return 0
    print(f"{visible(args.name)} is snapshot {snapshot.id[:12]} of step {visible(snapshot.meta.step.name)}")
    return 0
