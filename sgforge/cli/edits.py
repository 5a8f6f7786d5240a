"""`sgforge edits EDITS.jsonl DATASET[@ref]`: which lines of edits still fit, and what has changed where they do not."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from sgforge.cli.terminal import json_text
from sgforge.dataset import Dataset
from sgforge.dataset.folder import split_ref
from sgforge.graph.state import graph_state
from sgforge.jsonl import EditLine, Stale, load_edits, rebase
from sgforge.text.safe_text import visible
from sgforge.text.wording import counted

_EXAMPLES = """\
examples:
  sgforge edits review.jsonl runs/first           which of them the editor `replay` would do
  sgforge edits review.jsonl runs/first@v1 --json

exit codes: 0 every line fits, 4 some do not"""
_SOME_DO_NOT: Final = 4
_TOLD: Final = {
    "same": "as they stand",
    "rebased": "rebased onto rows that have changed",
    "stale": "no longer fit",
    "missing": "about images that are not there",
}


@attrs.frozen
class Fitting:
    """How one line of edits fits a dataset: one of `_TOLD`, and what has changed where it does not."""

    where: str
    image: str
    how: str
    changes: tuple[str, ...] = ()


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("edits", metavar="EDITS.jsonl", type=Path, help="edits, one a line")
    parser.add_argument("dataset", metavar="DATASET[@ref]", help="a dataset's folder, and a branch, tag or snapshot id")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print how each line fits; those that do not with what has changed."""
    path, ref = split_ref(args.dataset)
    dataset = Dataset.open(path, ref)
    found = [_fitting(line, dataset) for line in load_edits(args.edits)]
    print(json_text([attrs.asdict(one) for one in found]) if args.json else "\n".join(_lines(found)))
    return _SOME_DO_NOT if any(one.changes for one in found) else 0


def _fitting(line: EditLine, dataset: Dataset) -> Fitting:
    if line.image_id not in dataset:
        return Fitting(line.where, line.image_id, "missing", ("there is no such image",))
    graph = dataset[line.image_id].graph
    rebased = rebase(line, graph)
    if isinstance(rebased, Stale):
        return Fitting(line.where, line.image_id, "stale", rebased.changes)
    return Fitting(line.where, line.image_id, "same" if line.state == graph_state(graph) else "rebased")


def _lines(found: list[Fitting]) -> Iterator[str]:
    counts = {how: sum(one.how == how for one in found) for how in _TOLD}
    parts = [f"{count} {_TOLD[how]}" for how, count in counts.items() if count]
    yield f"{counted(len(found), 'line')}{': ' if parts else ''}{', '.join(parts)}"
    for one in found:
        for change in one.changes:
            yield visible(f"{one.where}: image {one.image}: {change}")
