"""`sgforge log DATASET[@ref]`: the snapshots that led to a version, or all there are, the newest first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from sgforge.cli.terminal import json_text, rows_counted
from sgforge.dataset import Dataset
from sgforge.dataset.folder import DatasetFolder, split_ref
from sgforge.dataset.snapshot import SnapshotMeta, read_meta
from sgforge.errors import DatasetError
from sgforge.text.safe_text import visible

_EXAMPLES = """\
examples:
  sgforge log runs/first             what made branch main, step by step
  sgforge log runs/first@round-1     what made a tagged version
  sgforge log runs/first --all       every version that is there, also those that no name leads to
  sgforge log runs/first --json      with options and counts, for machines"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="a dataset's folder, and a branch, tag or snapshot id")
    parser.add_argument("--all", action="store_true", help="every version, whether or not a name leads to it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the history."""
    path, ref = split_ref(args.dataset)
    if args.all:
        return _print_all(args.dataset, as_json=args.json)
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


def _print_all(dataset: str, *, as_json: bool) -> int:
    """Every version that is there; 1 if one of them cannot be read."""
    folder = DatasetFolder.open(dataset)
    names: dict[str, list[str]] = {}
    for kind in ("heads", "tags"):
        for name, snapshot_id in folder.refs(kind).items():
            names.setdefault(snapshot_id, []).append(name)
    metas: dict[str, SnapshotMeta] = {}
    damaged = []
    for snapshot_id in folder.snapshot_ids():
        try:
            metas[snapshot_id] = read_meta(folder.snapshot(snapshot_id))
        except DatasetError as error:
            damaged.append(str(error))
    found = _newest_first(metas)
    if as_json:
        print(json_text([_entry(meta, names.get(meta.snapshot_id, [])) for meta in found]))
    else:
        for meta in found:
            print(_line(meta, names.get(meta.snapshot_id, [])))
    for what in damaged:
        print(f"damaged: {visible(what)}", file=sys.stderr)
    return int(bool(damaged))


def _newest_first(metas: Mapping[str, SnapshotMeta]) -> list[SnapshotMeta]:
    """By the second in which each was made, and within it what came from another before that one."""
    depths: dict[str, int] = {}
    for start in metas:
        way: dict[str, None] = {}
        at = start
        while at in metas and at not in depths and at not in way:
            way[at] = None
            at = (*metas[at].parents, "")[0]
        depth = depths.get(at, 0)
        for each in reversed(way):
            depth += 1
            depths[each] = depth
    return sorted(metas.values(), key=lambda meta: (meta.created, depths[meta.snapshot_id]), reverse=True)


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
