"""What a run made, as text: a row per step, and the recall of each student with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import sgforge as sg
from sgforge.engine.reporting.report import RunReport
from sgforge_eval.compare import Difference, compare
from sgforge_eval.evaluate import Settings

METRICS = ("R@20", "R@50", "R@100", "mR@50")
ROUNDS = {"before": "after the first round", "after": "after the second round"}


def step_table(report: RunReport) -> str:
    """A row per step: images worked on and reused, and what the dataset held after it, rejected rows by reason."""
    lines = [
        f"{'step':<10}{'by':<15}{'computed':>9}{'reused':>8}{'failed':>8}{'regions':>9}{'relations':>11}  rejected"
    ]
    for step in report.steps:
        counts = step.counts
        row = f"{step.name:<10}{step.component:<15}{counts.computed:>9}{counts.reused:>8}{counts.failed:>8}"
        if step.snapshot is not None:
            snapshot = sg.Snapshot.open(report.dataset / "snapshots" / step.snapshot)
            regions, relations = snapshot.meta.counts["regions"], snapshot.meta.counts["relations"]
            rejected = rejected_by_reason(snapshot)
            row += f"{regions:>9,}{relations - rejected.total():>11,}  "
            row += ", ".join(f"{count} {reason}" for reason, count in rejected.most_common())
        lines.append(row.rstrip())
    return "\n".join(lines)


def rejected_by_reason(snapshot: sg.Snapshot) -> Counter[str]:
    """How many relations of a snapshot stand rejected, by reason."""
    reasons = snapshot.vocabulary("reason")
    rejected = np.asarray(snapshot.column("relation/reason"))[np.asarray(snapshot.column("relation/status")) == 1]
    return Counter(reasons[index] if index >= 0 else "without a reason" for index in rejected.tolist())


def student_table(report: RunReport, data: Path) -> str:
    """Recall on the held-out images before and after the second round, with 95 % bootstrap intervals."""
    images = report.step("after").counts
    lines = [
        f"Recall of the student on {images.computed + images.reused} held-out images, with 95 % bootstrap intervals:",
        f"{'':<24}" + "".join(f"{metric:>25}" for metric in METRICS),
    ]
    intervals = {name: intervals_of(report, name) for name in ROUNDS}
    for name, what in ROUNDS.items():
        cells = (f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in intervals[name].values())
        lines.append(f"{what:<24}" + "".join(f"{cell:>25}" for cell in cells))
    changes = changes_of(report, data)
    cells = (f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]" for change in changes)
    lines.append(f"{'change, image by image':<24}" + "".join(f"{cell:>25}" for cell in cells))
    clear = [change.metric for change in changes if change.clear]
    lines.append(
        f"The second round {'changes ' + ', '.join(clear) + ' clearly' if clear else 'changes nothing clearly'}."
    )
    return "\n".join(lines)


def changes_of(report: RunReport, data: Path) -> list[Difference]:
    """After against before, on the same images and under the same vocabulary."""
    before, after = (report.step(name).predictions for name in ROUNDS)
    assert before is not None
    assert after is not None
    names = tuple((data / "predicates.txt").read_text(encoding="utf-8").split("\n")[:-1])
    found = compare(before, after, data / "held-out.jsonl", Settings("predcls", predicates=names))
    return [change for metric in METRICS for change in found.metrics if change.metric == metric]


def intervals_of(report: RunReport, step: str) -> dict[str, Mapping[str, Any]]:
    """Value, low and high of each metric of an evaluation step."""
    evaluation = report.step(step).report
    assert evaluation is not None
    rows = {row["metric"]: row for row in evaluation.tables["interval"]}
    return {metric: rows[metric] for metric in METRICS}
