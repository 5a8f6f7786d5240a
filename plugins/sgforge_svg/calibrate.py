"""`sgforge calibrate DATASET LABELS`: choose the threshold of the vqa filter on relations that a person has judged."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

from sgforge.dataset import Dataset
from sgforge.dataset.folder import split_ref
from sgforge.errors import ConfigError
from sgforge.jsonl import read_jsonl
from sgforge.text.wording import counted, ordinal
from sgforge_svg.calibration import Calibration, calibrate

__all__ = ["configure", "run"]

_MOST_ROWS = 25

_EXAMPLES = """\
The labels are graph JSONL: export the dataset, keep the lines of some images, and set the status of each of their
relations to "kept" (right) or "rejected" (wrong). Every relation in the file that the judge has judged counts, also one
whose status nobody touched.

examples:
  sgforge export runs/svg --to jsonl --output labels.jsonl
  sgforge calibrate runs/svg labels.jsonl
  sgforge calibrate runs/svg@before-edit labels.jsonl --step vqa --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@REF]", help="a dataset whose relations a judge has judged")
    parser.add_argument("labels", metavar="LABELS", type=Path, help="graph JSONL judged by a person")
    parser.add_argument("--step", default="vqa", help="name of the filter step (default: vqa)")
    parser.add_argument("--json", action="store_true", help="print JSON, every threshold")


@attrs.frozen
class _Labelled:
    """One relation that the judge judged (`degree` is its P(yes)) and a person labelled."""

    degree: float
    kept: bool
    right: bool


def run(args: argparse.Namespace) -> int:
    """Print precision and recall at each threshold, and the one with the best F1."""
    path, ref = split_ref(args.dataset)
    found = list(_labelled(Dataset.open(path, ref=ref), args.labels, args.step))
    if not any(one.right for one in found):
        raise ConfigError(
            f"{args.labels}: {len(found)} of its relations were judged by step {args.step!r} and none is labelled "
            "right; label some, or name the step with --step"
        )
    if all(one.right == one.kept for one in found):
        print(
            f"sgforge: {args.labels}: all labels are the judge's own verdicts; did a person set them?", file=sys.stderr
        )
    rows = calibrate([one.degree for one in found], [one.right for one in found])
    best = max(rows, key=lambda row: row.f1)
    if args.json:
        table = [{"threshold": r.threshold, "precision": r.precision, "recall": r.recall, "kept": r.kept} for r in rows]
        print(json.dumps({"relations": len(found), "best_threshold": best.threshold, "thresholds": table}))
        return 0
    print("\n".join(_table(rows, best, len(found))))
    return 0


def _labelled(dataset: Dataset, labels: Path, step: str) -> Iterator[_Labelled]:
    for sample in read_jsonl(labels):
        if sample.image_id not in dataset:
            raise ConfigError(f"{labels}: image {sample.image_id!r} is not in the dataset")
        truth = {row.triplet: row.kept for row in sample.graph.all.relations}
        for row in dataset[sample.image_id].graph.all.relations:
            if row.judged_by == step and row.degree is not None and row.triplet in truth:
                yield _Labelled(row.degree, row.kept, truth[row.triplet])


def _table(rows: list[Calibration], best: Calibration, count: int) -> Iterator[str]:
    yield counted(count, "labelled relation")
    yield "threshold  precision  recall    kept"
    every = -(-len(rows) // _MOST_ROWS)
    for number, row in enumerate(rows):
        if number % every == 0 or row is best:
            mark = "  best F1" if row is best else ""
            yield f"{row.threshold:9.3f}  {row.precision:9.3f}  {row.recall:6.3f}  {row.kept:6.1%}{mark}"
    if every > 1:
        yield f"every {ordinal(every)} of {len(rows)} thresholds; --json has all"
