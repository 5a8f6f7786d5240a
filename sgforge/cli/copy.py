"""`sgforge copy DATASET[@ref] TARGET`: a sound copy of a dataset, or of one of its versions."""

from __future__ import annotations

import argparse
from pathlib import Path

from sgforge.cli.terminal import json_text, sized
from sgforge.dataset.folder import split_ref
from sgforge.dataset.maintenance.copying import copy_dataset
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
All that a dataset holds is copied, also while a run writes it: versions, names, unpublished and paid answers, trained
weights and reports, made files. What versions share is shared in the copy too, by hard links. The copy is checked, as
sgforge verify does, before it gets its name. With @ref it is that version alone, with all that it came from, and what
unpublished and paid answers there are stays behind.

examples:
  sgforge copy runs/first /backup/first           all of it
  sgforge copy runs/first@round-1 to-share/first  one version, with its history"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="a dataset's folder, and a branch, tag or snapshot id")
    parser.add_argument("target", metavar="TARGET", type=Path, help="the folder to make")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Copy, and say what was copied."""
    path, ref = (args.dataset, None) if Path(args.dataset).exists() else split_ref(args.dataset, "")
    copied = copy_dataset(path, args.target, ref or None)
    if args.json:
        print(json_text(copied))
        return 0
    names = ", ".join(f"{kind} {visible(name)}" for name, kind in copied.refs.items()) or "no name"
    size = f"{counted(copied.files, 'file')}, {sized(copied.bytes)}, {counted(copied.links, 'shared file')} linked"
    print(f"{visible(str(args.target))}: {counted(copied.versions, 'version')} ({names}), {size}")
    for what in copied.left_out:
        print(f"left out: {visible(what)}")
    return 0
