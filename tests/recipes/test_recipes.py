"""The recipes of Synthetic Visual Genome run as a user would run them, against a server on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.environment import ROOT

from sgforge.testing.fake_provider import FakeProvider, FakeSettings

RECIPES = ROOT / "examples" / "svg"
MODELS = {
    "stage1.toml": ("compat/stand-in", "compat/stand-in-judge"),
    "sg_edit.toml": ("compat/stand-in",),
    "rounds.toml": ("compat/stand-in", "compat/stand-in-editor"),
}


def run_recipe(name: str, folder: Path, url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "sgforge", "run", str(RECIPES / name), "--json"]
    for model in MODELS[name]:
        command += ["--set", f'models."{model}".base_url="{url}"']
    done = subprocess.run(
        command, cwd=folder, env=os.environ.copy(), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def computed(report: dict[str, Any]) -> dict[str, int]:
    return {name: step["computed"] for name, step in report["steps"].items()}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_recipe_runs_and_a_second_run_buys_nothing(name: str, tmp_path: Path) -> None:
    with FakeProvider(settings=FakeSettings(latency_s=0.0)) as fake:
        first = run_recipe(name, tmp_path, fake.openai_url)
        bought = fake.ledger.answered
        assert bought > 0
        second = run_recipe(name, tmp_path, fake.openai_url)
        assert fake.ledger.answered == bought
    assert any(computed(first).values())
    assert not any(computed(second).values())


def test_every_recipe_has_a_test() -> None:
    assert {path.name for path in RECIPES.glob("*.toml")} == set(MODELS)
