"""The recipes of Synthetic Visual Genome run as their page says, against a server on the loopback."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from docs.blocks import run_page
from support.environment import ROOT
from support.extras import needs_extra
from support.waiting import LONGEST

from sgforge.cli.main import main
from sgforge.dataset import Dataset
from sgforge.spatial import canonical
from sgforge.testing.fake_provider import FakeProvider, FakeSettings

PAGE = ROOT / "docs" / "recipes.md"
RECIPES = [ROOT / "examples" / "svg" / f"{name}.toml" for name in ("rounds", "sg_edit", "stage1")]
"""Those of the page; `robin.toml`, `seeds.toml` and `stage2.toml` have pages of their own, and tests in those rooms."""
needs_extra("robin")

STAND_IN = "http://127.0.0.1:8800/v1"
MODELS = re.compile(r'^model = "(compat/[^"]+)"$', re.M)
WITH_TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@attrs.frozen
class Ran:
    """A folder in which the page was run, and the server that answered it."""

    folder: Path
    fake: FakeProvider


@pytest.mark.slow
def test_the_recipes_run_as_their_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test, because the page is run once for all that is checked of it."""
    (tmp_path / "examples" / "svg").mkdir(parents=True)
    with FakeProvider(settings=FakeSettings(latency_s=0.0)) as fake:
        for recipe in RECIPES:
            text = recipe.read_text()
            assert STAND_IN in text
            (tmp_path / "examples" / "svg" / recipe.name).write_text(text.replace(STAND_IN, fake.openai_url))
        assert run_page(PAGE, tmp_path, {**os.environ, "PATH": WITH_TOOLS}) == 10
        ran = Ran(tmp_path, fake)
        for recipe in RECIPES:
            check_that_a_second_run_computes_and_buys_nothing(recipe.name, ran)
        check_that_the_judge_leaves_scores_and_what_has_a_rule_alone(ran)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-a-test")
        check_that_real_models_answer(ran)


def run_recipe(name: str, folder: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "sgforge", "run", f"examples/svg/{name}", "--json", *more]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def check_that_a_second_run_computes_and_buys_nothing(name: str, ran: Ran) -> None:
    bought = ran.fake.ledger.answered
    assert bought > 0
    report = run_recipe(name, ran.folder)
    assert {step: counts["computed"] for step, counts in report["steps"].items()} == dict.fromkeys(report["steps"], 0)
    assert sum(counts["reused"] for counts in report["steps"].values()) > 0
    assert ran.fake.ledger.answered == bought


def test_every_recipe_is_on_the_page() -> None:
    page = PAGE.read_text()
    there = {path.name for path in (ROOT / "examples" / "svg").glob("*.toml")}
    assert there == {*(recipe.name for recipe in RECIPES), "robin.toml", "seeds.toml", "stage2.toml"}
    assert all(f"sgforge run examples/svg/{recipe.name}\n" in page for recipe in RECIPES)


def check_that_the_judge_leaves_scores_and_what_has_a_rule_alone(ran: Ran) -> None:
    before, after = (Dataset.open(ran.folder / "runs" / "svg-stage1", ref) for ref in versions(ran, "filter", "vqa"))
    judged = 0
    for old, new in zip(before, after, strict=True):
        for row, now in zip(old.graph.all.relations, new.graph.all.relations, strict=True):
            assert (now.score, now.category, now.predicate) == (row.score, row.category, row.predicate)
            judged += now.judged_by == "vqa"
            assert now.judged_by != "vqa" or (canonical(now.predicate) is None and now.degree is not None)
    assert judged > 20


def versions(ran: Ran, *steps: str) -> list[str]:
    """Snapshot ids of steps of the first recipe."""
    log = Dataset.open(ran.folder / "runs" / "svg-stage1").log()
    return [next(meta.snapshot_id for meta in log if meta.step.name == step) for step in steps]


VENDORS = ("openai/gpt-6.2-sol", "anthropic/claude-sonnet-5-5")  # as on the page


def with_real_models(recipe: Path) -> tuple[str, int]:
    """The recipe with its `model` lines changed, and how many lines differ."""
    text = recipe.read_text()
    real = dict(zip(MODELS.findall(text), VENDORS, strict=False))
    changed = MODELS.sub(lambda found: f'model = "{real[found[1]]}"', text)
    pairs = zip(text.splitlines(), changed.splitlines(), strict=True)
    return changed, sum(before != after for before, after in pairs)


@pytest.mark.parametrize(("name", "lines"), [("stage1.toml", 2), ("rounds.toml", 2), ("sg_edit.toml", 1)])
def test_real_models_are_at_most_two_lines_away(
    name: str, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-a-test")
    changed, count = with_real_models(RECIPES[0].parent / name)
    assert count == lines
    Path(name).write_text(changed)
    assert main(["check", name]) == 0
    shown = capsys.readouterr().out
    assert all((vendor in shown) == (vendor in changed) for vendor in VENDORS)
    assert "stand-in" not in shown


def check_that_real_models_answer(ran: Ran) -> None:
    (ran.folder / "examples" / "svg" / "real.toml").write_text(with_real_models(RECIPES[0].parent / "stage1.toml")[0])
    options = ["--limit", "4", "--set", 'dataset="runs/real"']
    # Where the vendors are, and so what they charge there, is the one thing that a test must add.
    for vendor, url in zip(VENDORS, (ran.fake.openai_url, ran.fake.anthropic_url), strict=True):
        for setting in (f'base_url="{url}"', "input_usd=1.0", "output_usd=1.0", "image_tokens=2000"):
            options += ["--set", f'models."{vendor}".{setting}']
    bought = ran.fake.ledger.answered
    report = run_recipe("real.toml", ran.folder, *options)
    assert report["steps"]["vqa"]["computed"] == 4
    assert ran.fake.ledger.answered > bought
