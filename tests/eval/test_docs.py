"""docs/metrics.md names every convention, task and value that exists."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest
from eval.graphs import line, relation, write

from sgforge_eval import DenseGraphs, score
from sgforge_eval.measures.conventions import CONVENTIONS
from sgforge_eval.quality import quality
from sgforge_eval.tasks import TASKS

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


@pytest.mark.parametrize("name", [*CONVENTIONS, *TASKS])
def test_conventions_and_tasks_are_documented(name) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("metric", ["sgdet", "sgcls", "predcls"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_values_are_documented(metric, convention, tmp_path) -> None:
    (tmp_path / "z").write_text('[["cup", "on", "table"]]')
    path = write(tmp_path / "t", line("a", None, [relation(0, "on", 1)]))
    report = score(path, path, metric=metric, convention=convention, zero_shot=tmp_path / "z")
    for key in report.values:
        family = key.partition("@")[0]
        assert f"`{family}@K`" in PAGE or f"`{family}`" in PAGE, key
    assert report.values["R@20" if "R@20" in report.values else "R"] == 1.0


def test_the_example_of_arrays_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("truth.jsonl"), line("142238", None, [relation(0, "on", 1)]))
    block = PAGE.split("**Arrays.**")[1].split("`DenseGraphs` holds")[0].partition("\n\n")[2]
    found: dict = {}
    exec(textwrap.dedent(block), found)
    assert found["report"].values["R@20"] == 1.0
    # Nothing of the page is forgotten: the arrays of a file are those that are written.
    DenseGraphs.of([found["image"]]).write(Path("preds.npz"))
    assert all(f"`{name}`" in PAGE for name in np.load("preds.npz").files)


def test_quality_values_are_documented(tmp_path) -> None:
    path = write(tmp_path / "t", line("a", None, [relation(0, "on", 1)]))
    known = ("category/", "predicates_for_", "duplicate_", "spatial_untold", "predicates")
    for key in quality(path).values:
        assert f"`{key}`" in PAGE or key.startswith(known), key
