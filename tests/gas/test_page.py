"""docs/gas.md shows what the code gives, and the recipes of examples/gas run."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from docs.blocks import run_page
from support.environment import ROOT
from support.extras import needs_extra

from sgforge.cli.main import main
from sgforge.dataset import Dataset


def test_the_page_runs(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert run_page(ROOT / "docs/gas.md", tmp_path, {**os.environ, "PATH": path}) == 3


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_best_of_four_pictures_is_better_than_their_mean(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "examples/gas/candidates.toml"]) in (0, 4)
    capsys.readouterr()
    kept = list(Dataset.open(here / "runs/candidates"))
    chosen = [sample for sample in kept if "chosen" in sample.values and sample.values["chosen"]["chosen"]]
    assert len(chosen) >= 15
    assert len({sample.values["group"] for sample in chosen}) == len(chosen)


def test_scores_by_what_pictures_should_show(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(
        ["run", "examples/gas/score_drawn.toml", "--set", "source.count=20", "--set", "step.render.size=64"]
    ) in (
        0,
        4,
    )
    capsys.readouterr()
    assert main(["gas", "scores", "runs/score", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    totals = [
        sample.values["answers"]["total"] for sample in Dataset.open(here / "runs/score") if "answers" in sample.values
    ]
    (whole,) = [row for row in rows if row["by"] == "all"]
    assert whole["count"] == len(totals)
    assert whole["mean"] == pytest.approx(sum(totals) / len(totals))
    by_complexity = [row for row in rows if row["by"] == "complexity"]
    assert sum(row["count"] for row in by_complexity) == len(totals)
    assert main(["gas", "scores", "runs/score", "--against", "runs/score", "--json"]) == 0
    assert {row["mean"] for row in json.loads(capsys.readouterr().out)} == {0.0}
    assert main(["gas", "scores", "runs/score"]) == 0
    assert "complexity  pictures" in capsys.readouterr().out


def test_a_renderer_of_codes_is_refined_by_what_its_pictures_show(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs_extra("grpo")
    from sgforge_grpo.refining.rollout_file import read_rollouts

    few = {"sources.learnt.count": 12, "sources.held-out.count": 4, "step.teach.steps": 3, "step.refine.steps": 2}
    sets = [part for key, value in few.items() for part in ("--set", f"{key}={value}")]
    assert main(["run", "examples/gas/refine.toml", *sets]) in (0, 4)
    capsys.readouterr()
    (kept,) = (here / "runs/refine/steps").glob("*/out/rollouts.jsonl.zst")
    rollouts = list(read_rollouts(kept))
    assert {row["step"] for row in rollouts} == {0, 1}
    groups = Counter((row["step"], row["image_id"]) for row in rollouts)
    assert set(groups.values()) == {8}
    assert all(0 <= row["total"] <= 1 for row in rollouts)
    assert len({row["total"] for row in rollouts}) > 1
    shown = [sample for sample in Dataset.open(here / "runs/refine") if "answers" in sample.values]
    assert len(shown) == 4
    before = kept.stat().st_mtime_ns
    assert main(["run", "examples/gas/refine.toml", *sets]) in (0, 4)
    assert kept.stat().st_mtime_ns == before  # nothing is refined again


def test_a_model_is_scored_by_one_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_extra("gas-images")
    from gas.tiny_pipeline import save_tiny_pipeline

    from sgforge.testing.fake_provider import FakeProvider

    folder = save_tiny_pipeline(here / "tiny")
    changed = {
        "source.count": 2,
        "step.render.checkpoint": folder,
        "step.render.steps": 1,
        "step.judge.probabilities": "false",
    }
    with FakeProvider() as fake:
        text = (ROOT / "examples/gas/score.toml").read_text().replace("http://127.0.0.1:8800/v1", fake.openai_url)
        (here / "score.toml").write_text(text)
        sets = [word for name, value in changed.items() for word in ("--set", f"{name}={value}")]
        assert main(["run", "score.toml", *sets]) in (0, 4)
    capsys.readouterr()
    assert main(["gas", "scores", "runs/score", "--json"]) == 0
    (whole,) = [row for row in json.loads(capsys.readouterr().out) if row["by"] == "all"]
    assert whole["count"] == 2
