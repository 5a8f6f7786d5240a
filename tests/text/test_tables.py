"""A report as tables: what `sgforge run` and `sgforge eval` print."""

from __future__ import annotations

from pathlib import Path

from sgforge.engine.reporting.report import RunReport, StepCounts, StepReport
from sgforge.stages import Report
from sgforge.tables import render, report_remarks, report_tables

REPORT = Report(
    "sgdet",
    {"R@20": 0.5, "mR@20": 0.25, "R@50": 2 / 3, "mAP": 1.0},
    convention="sgg",
    tables={"per_category": [{"category": "spatial", "R@20": 0.125}], "per_predicate": [{"predicate": "on"}]},
    images_used=1,
    images_skipped={"failed": 2},
    notes=("a \x1b note",),
)
VALUES = """\
metric     @20     @50     all
------  ------  ------  ------
R       0.5000  0.6667
mR      0.2500
mAP                     1.0000"""
CATEGORIES = """\
category    R@20
--------  ------
spatial   0.1250"""


def test_a_row_a_metric_and_a_column_a_cut() -> None:
    told = render(report_tables(REPORT), "terminal")
    assert told == f"values (convention: sgg)\n{VALUES}\n\nper category (convention: sgg)\n{CATEGORIES}"
    assert "predicate" in render(report_tables(REPORT, details=["per_predicate"]), "terminal")
    assert report_remarks(REPORT) == ["convention sgg, 1 image used", "skipped: 2 x failed", "a \x1b note"]


def test_a_run_ends_with_the_table_of_its_evaluation() -> None:
    step = StepReport(name="evaluate", verb="evaluate", component="sgdet", counts=StepCounts(computed=1), report=REPORT)
    report = RunReport("r", Path("d"), "main", None, "done", (step,))
    assert repr(report) == "<RunReport done: 1 step, no snapshot in 'd'>"
    text = str(report)
    assert f"\nevaluate: values (convention: sgg)\n{VALUES}\n" in text
    assert f"\nevaluate: per category (convention: sgg)\n{CATEGORIES}\n" in text
    assert "\nconvention sgg, 1 image used\nskipped: 2 x failed\na \\x1b note\n" in text
    assert max(map(len, text.splitlines())) < 80
