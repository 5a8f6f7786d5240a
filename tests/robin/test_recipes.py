"""The recipes with a Robin, run as people run them, on weights that are tiny and random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from robin.worlds import SMALLEST, scenes, tokenizer
from sam.tiny import saved_sam
from support.environment import ROOT

from sgforge.cli.main import main
from sgforge_robin.learnt import Known, TrainedRobin
from sgforge_robin.model.checkpoint import build


def saved_robin(folder: Path) -> Path:
    """A checkpoint under the public names."""
    torch.manual_seed(0)
    own = tokenizer()
    model = build(SMALLEST.shape(len(own), own.special)).eval()
    TrainedRobin(model, own, Known(side=SMALLEST.side)).save(folder)
    return folder


def test_a_folder_of_photos_becomes_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenes(tmp_path, 3)  # any pictures do
    options = {
        "roots.photos": tmp_path / "scenes",
        "step.segment.checkpoint": saved_sam(tmp_path),
        "step.generate.checkpoint": saved_robin(tmp_path / "robin"),
        # Random masks must pass, and few of them.
        "step.segment.points_per_side": 3, "step.segment.pred_iou": 0.5, "step.segment.stability": 0.0,
        "step.segment.min_area": 0, "step.generate.max_tokens": 300, "step.generate.temperature": 1.0,
    }  # fmt: skip
    given = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    assert main(["run", str(ROOT / "examples" / "svg" / "robin.toml"), *given]) == 0
    assert main(["export", "runs/robin", "--to", "jsonl", "--output", "graphs.jsonl"]) == 0
    graphs = [json.loads(line) for line in Path("graphs.jsonl").read_text().splitlines()]
    assert len(graphs) == 3
    assert sum(len(graph["regions"]) for graph in graphs) > 6
    relations = [relation for graph in graphs for relation in graph["relations"]]
    assert relations
    assert {relation["made_by"] for relation in relations} == {"generate"}
    assert all(0 <= relation["score"] <= 1 for relation in relations)


@pytest.mark.slow
def test_a_robin_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make demo-robin` with fewer steps: it trains, generates, edits, trains again and evaluates."""
    monkeypatch.chdir(tmp_path)
    few = ["sources.seed.count=24", "sources.new.count=4", "sources.held-out.count=4"]
    few += [f"step.{name}.{value}" for name in ("first", "second") for value in ("steps=6", "images=2")]
    given = [part for text in few for part in ("--set", text)]
    assert main(["run", str(ROOT / "examples" / "robin" / "demo.toml"), *given]) == 0
