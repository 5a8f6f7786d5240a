"""The recipes of examples/gas run as they stand, by one command each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.environment import ROOT
from support.extras import needs_extra

from sgforge.graph import Region, Sample, SceneGraph
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings
from sgforge_gas.judging.groups import Group, gaps, scores_of, targeted


def run(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples/gas" / name), "--small", "--folder", str(folder), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def recipe(name: str, folder: Path, *arguments: str) -> list[str]:
    """The lines that a recipe prints."""
    done = run(name, folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def figures(line: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+\.\d+", line)]


@pytest.mark.slow
def test_rounds_of_self_improvement(tmp_path: Path) -> None:
    needs_extra("robin")
    head, start, *rounds = recipe("improve.py", tmp_path, "--copies", "2")
    assert head.split() == ["round", "held-out", "score", "gain", "over", "the", "start"]
    mean, low, high = figures(start)
    assert 0 <= low <= mean <= high <= 1.1
    assert [line.split()[0] for line in rounds] == ["1", "2"]
    for line in rounds:
        score, _, _, gained, low, high = figures(line)
        assert gained == pytest.approx(score - mean, abs=2e-3)
        assert low <= gained <= high


@pytest.mark.slow
def test_rounds_with_a_pipeline_of_diffusers_and_a_model_that_judges(tmp_path: Path) -> None:
    needs_extra("gas-images")
    from gas.tiny_pipeline import save_tiny_pipeline

    pipeline = str(save_tiny_pipeline(tmp_path / "tiny"))
    asked: list[FakeRequest] = []

    def answer(request: FakeRequest) -> FakeAnswer:
        asked.append(request)
        return FakeAnswer("Yes" if len(asked) % 3 else "No")

    with FakeProvider(answer, FakeSettings(latency_s=0.0)) as fake:
        judge = ["--judge", "compat/judge", "--base-url", fake.openai_url]
        given = ["--checkpoint", pipeline, *judge, "--copies", "2", "--rounds", "1"]
        head, start, after = recipe("improve.py", tmp_path / "runs", *given)
    assert head.split()[0] == "round"
    assert [line.split()[0] for line in (start, after)] == ["start", "1"]
    mean, score, gained = figures(start)[0], figures(after)[0], figures(after)[3]
    assert 0 < mean < 1
    assert gained == pytest.approx(score - mean, abs=2e-3)
    assert list((tmp_path / "runs/round-1/steps").glob("*/**/*.safetensors"))  # it learnt low-rank weights
    assert len(asked) > 100


@pytest.mark.parametrize("given", [("--checkpoint", "x"), ("--judge", "compat/judge")])
def test_a_pipeline_and_its_judge_go_together(tmp_path: Path, given: tuple[str, str]) -> None:
    done = run("improve.py", tmp_path, *given)
    assert done.returncode == 2
    assert "--checkpoint and --judge go together" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_targeted_distillation(tmp_path: Path) -> None:
    needs_extra("robin")
    lines = recipe("distil.py", tmp_path)
    table = lines[lines.index("") + 1 :]
    assert [line.split()[0] for line in table] == ["learnt", "start", "targeted", "by-chance"]
    start, *after = map(figures, table[1:])
    for row in after:
        assert row[3] == pytest.approx(row[0] - start[0], abs=2e-3)


@pytest.mark.slow
def test_a_study_of_detection(tmp_path: Path) -> None:
    head, *rows = recipe("detect.py", tmp_path)
    assert head.split() == ["renderer", "learnt", "from", "AUROC", "accuracy"]
    arms = ["plain", "with others", "with hard"]
    assert [row[12:26].strip() for row in rows] == arms * 3
    assert [row[:12].strip() for row in rows] == [name for name in ("room", "meadow", "snow") for _ in arms]
    for row in rows:
        auroc, low, high, accuracy = figures(row)
        assert 0 <= low <= auroc <= high <= 1
        assert 0 <= accuracy <= 1
    known, others = figures(rows[0])[0], [figures(row)[0] for row in rows[3:]]
    assert known > 0.9  # what it learnt from it knows, and better than the other renderers
    assert known > max(others)


def test_a_study_of_detection_without_photos_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.png").touch()
    done = run("detect.py", tmp_path / "runs", "--photos", str(tmp_path / "photos"))
    assert done.returncode == 1
    assert done.stderr.strip() == f"{tmp_path}/photos has 1 pictures (.jpg, .jpeg, .png); 4 are needed"


def test_graphs_are_chosen_where_the_gap_is_widest() -> None:
    def graph(name: str, *labels: str) -> Sample:
        return Sample(name, SceneGraph(0, 0, [Region(label=label) for label in labels]))

    found = [
        Group(by="object", name="cat", count=3, mean=0.5),
        Group(by="object", name="dog", count=3, mean=-0.1),
        Group(by="complexity", name="2", count=3, mean=0.3),
        Group(by="attribute", name="red", count=3, mean=9.0),
    ]
    pool = [graph("dog", "dog"), graph("cat", "cat"), graph("both", "cat", "dog"), graph("new", "owl")]
    # By hand: dog -0.1; cat 0.5; both (0.5 - 0.1) / 2 + 0.3 = 0.5, behind the cat that comes first; owl 0.
    order = [sample.image_id for sample in targeted(pool, found, 4, by=("object", "complexity"))]
    assert order == ["cat", "both", "new", "dog"]
    assert [one.image_id for one in targeted(pool, found, 1, by=("object",))] == ["cat"]


def test_an_interval_ends_where_scores_end() -> None:
    def judged(name: str, total: float) -> Sample:
        return Sample(name, SceneGraph(0, 0, [Region(label="cat")]), values={"answers": {"total": total}})

    # By hand: the mean is 0.75, both values are 0.25 from it, so the error of the mean is 0.25 and 0.75 + 0.49 above 1.
    first, *_ = scores_of([judged("a", 1.0), judged("b", 0.5)])
    assert (first.mean, first.low, first.high) == (0.75, pytest.approx(0.75 - 0.25 * 1.959964), 1.0)
    # Gaps of 1 and 0: their mean is 0.5 and may lie from -0.48 to 1.
    first, *_ = gaps([judged("a", 1.0), judged("b", 0.5)], [judged("a", 0.0), judged("b", 0.5)])
    assert (first.mean, first.low, first.high) == (0.5, pytest.approx(0.5 - 0.5 * 1.959964), 1.0)
    (alone,) = [row for row in scores_of([judged("a", 1.0)]) if row.by == "all"]
    assert (alone.low, alone.high) == (None, None)
