"""`sgforge calibrate DATASET LABELS`: choose the threshold of the vqa filter on relations that a person has judged."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from sgforge.dataset import Dataset
from sgforge.errors import ConfigError
from sgforge.graph import Relation
from sgforge.jsonl import read_jsonl
from sgforge_svg.calibration import Calibration, calibrate

__all__ = ["configure", "run"]

_EXAMPLES = """\
The labels are graph JSONL: export the dataset, and for some images set each relation's status to "kept" (right) or
"rejected" (wrong); only images in the file, and only relations that the judge has judged, are counted.

examples:
  sgforge calibrate runs/svg labels.jsonl
  sgforge calibrate runs/svg@before-edit labels.jsonl --step vqa --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("dataset", metavar="DATASET[@REF]")
    parser.add_argument("labels", metavar="LABELS", type=Path, help="graph JSONL judged by a person")
    parser.add_argument("--step", default="vqa", help="name of the filter step (default: vqa)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print precision and recall at each threshold, and the one with the best F1."""
    path, _, ref = args.dataset.partition("@")
    pairs = list(_judged(Dataset.open(path, ref=ref or "main"), args.labels, args.step))
    if not any(right for _degree, right in pairs):
        raise ConfigError(
            f"{args.labels}: {len(pairs)} of its relations were judged by step {args.step!r} and none is labelled "
            "right; label some, or name the step with --step"
        )
    rows = calibrate([degree for degree, _right in pairs], [right for _degree, right in pairs])
    best = max(rows, key=lambda row: row.f1)
    if args.json:
        table = [{"threshold": r.threshold, "precision": r.precision, "recall": r.recall, "kept": r.kept} for r in rows]
        print(json.dumps({"relations": len(pairs), "best_threshold": best.threshold, "thresholds": table}))
        return 0
    print("\n".join(_table(rows, best, len(pairs))))
    return 0


def _judged(dataset: Dataset, labels: Path, step: str) -> Iterator[tuple[float, bool]]:
    """(P(yes), right) of every relation that the step judged and a person labelled."""
    for labelled in read_jsonl(labels):
        if labelled.image_id not in dataset:
            raise ConfigError(f"{labels}: image {labelled.image_id!r} is not in the dataset")
        truth = {row.triplet: row.kept for row in labelled.graph.all.relations}
        for row in dataset[labelled.image_id].graph.all.relations:
            if _is_judged(row, step) and row.triplet in truth:
                assert row.degree is not None
                yield row.degree, truth[row.triplet]


def _is_judged(row: Relation, step: str) -> bool:
    return row.judged_by == step and row.degree is not None


def _table(rows: list[Calibration], best: Calibration, count: int) -> Iterator[str]:
    yield f"{count} labelled relations"
    yield "threshold  precision  recall   kept"
    for row in rows:
        mark = "  best F1" if row is best else ""
        yield f"{row.threshold:9.3f}  {row.precision:9.3f}  {row.recall:6.3f}  {row.kept:5.1%}{mark}"
