"""`sgforge branch DATASET`: list the branches, or take one away."""

from __future__ import annotations

import argparse

from sgforge.cli.terminal import json_text
from sgforge.dataset import DatasetWriter
from sgforge.dataset.folder import DatasetFolder
from sgforge.text.safe_text import visible

_EXAMPLES = """\
A run makes its branch, or moves it (branch = "draft" in its config, or --branch draft). The versions of a branch that
is taken away stay until sgforge gc finds that nothing else needs them.

examples:
  sgforge branch runs/first                   list the branches
  sgforge branch runs/first --delete draft    take a branch away"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET", help="a dataset's folder")
    parser.add_argument("--delete", metavar="NAME", help="the branch to take away")
    parser.add_argument("--json", action="store_true", help="print JSON, ids in full")


def run(args: argparse.Namespace) -> int:
    """List the branches, or take one away."""
    if args.delete is not None:
        return take_away("heads", args.dataset, args.delete, as_json=args.json)
    folder = DatasetFolder.open(args.dataset)
    branches = folder.refs("heads")
    if args.json:
        print(json_text({"branches": branches}))
        return 0
    for name, snapshot_id in branches.items():
        print(f"{snapshot_id[:12]}  {visible(name)}")
    for damage in folder.damaged_refs("heads"):
        print(f"damaged: {visible(str(damage))}")
    return 0


def take_away(kind: str, dataset: str, name: str, *, as_json: bool) -> int:
    """Take the name of a branch ("heads") or tag ("tags") away, and say what it stood for."""
    DatasetFolder.open(dataset)
    with DatasetWriter.open(dataset) as writer:
        snapshot_id = writer.forget_ref(kind, name)
    what = "branch" if kind == "heads" else "tag"
    if as_json:
        print(json_text({"deleted": name, what: name, "snapshot": snapshot_id}))
    elif snapshot_id is None:
        print(f"{what} {visible(name)} is gone; its file was damaged")
    else:
        print(
            f"{what} {visible(name)} is gone; it was {snapshot_id[:12]}, which stays until sgforge gc removes it: "
            f"sgforge tag {visible(dataset)} NAME {snapshot_id[:12]} keeps it"
        )
    return 0
