"""`sgforge log DATASET[@ref]`: the snapshots that led to a version, the newest first."""

from __future__ import annotations

import argparse

from sgforge.cli.terminal import json_text, rows_counted
from sgforge.dataset import Dataset
from sgforge.dataset.folder import split_ref
from sgforge.dataset.snapshot import SnapshotMeta
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge log runs/first             what made branch main, step by step
  sgforge log runs/first@round-1     what made a tagged version
  sgforge log runs/first --json      with options and counts, for machines"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="a dataset's folder, and a branch, tag or snapshot id")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the history."""
    path, ref = split_ref(args.dataset)
    dataset = Dataset.open(path, ref)
    names: dict[str, list[str]] = {}
    for name, snapshot_id in [*dataset.branches().items(), *dataset.tags().items()]:
        names.setdefault(snapshot_id, []).append(name)
    if args.json:
        print(json_text([_entry(meta, names.get(meta.snapshot_id, [])) for meta in dataset.log()]))
        return 0
    meta = dataset.snapshot.meta
    for meta in dataset.history():
        print(_line(meta, names.get(meta.snapshot_id, [])), flush=True)
    if meta.parents:
        print(f"{meta.parents[0][:12]}  is not here any more")
    return 0


def _entry(meta: SnapshotMeta, names: list[str]) -> dict[str, object]:
    return {
        "snapshot": meta.snapshot_id,
        "parents": list(meta.parents),
        "names": names,
        "created": meta.created,
        "step": meta.step,
        "partial": meta.partial,
        "counts": meta.counts,
    }


def _line(meta: SnapshotMeta, names: list[str]) -> str:
    step, counts = meta.step, meta.counts
    what = f"{step.verb} {step.component}".strip() if step.verb != "source" else "source"
    named = f" as {visible(step.name)}" if step.name not in (step.component, "source") else ""
    done = "".join(f", {count} {visible(name)}" for name, count in step.counts.items() if count)
    refs = f"  <- {', '.join(names)}" if names else ""
    name = f"{visible(what)}{named}{' (unfinished)' if meta.partial else ''}"
    return f"{meta.snapshot_id[:12]}  {visible(meta.created)}  {name}: {rows_counted(counts)}{done}{refs}"
