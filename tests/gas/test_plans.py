"""What a plan knows of renderers: whose weights they take, whether they need any, and what their keys depend on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.extras import needs_extra

import sgforge as sg
from sgforge.engine.planning.fingerprints import fingerprint
from sgforge.engine.planning.plan import Plan
from sgforge.engine.planning.resolve import resolve
from sgforge.errors import PreflightError
from sgforge.plugins import load_plugins


@pytest.fixture
def _diffusers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan asks whether modules can be found, and imports none: empty ones stand for those that are not there."""
    needs_extra("robin")  # torch
    for name in ("diffusers", "transformers", "peft"):
        (tmp_path / "modules" / name).mkdir(parents=True)
        (tmp_path / "modules" / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))


def plan(*steps: sg.Step) -> Plan:
    return resolve(load_plugins(), [sg.caption("gas"), *steps], {"source": sg.source("gas", count=2)})


@pytest.mark.usefixtures("_diffusers")
def test_a_pipeline_draws_without_a_training_and_takes_the_weights_of_one() -> None:
    assert plan(sg.render("diffusers", checkpoint="some/pipeline")).step("render").weights is None
    taught = plan(sg.train("diffusers", checkpoint="some/pipeline"), sg.render("diffusers", checkpoint="some/pipeline"))
    assert taught.step("render").weights == "train"


def test_a_renderer_that_has_to_be_trained_is_refused_without_weights() -> None:
    needs_extra("robin")
    with pytest.raises(PreflightError, match="step 'render': has no weights: put a train step before it"):
        plan(sg.render("tokens"))


@pytest.mark.usefixtures("_diffusers")
@pytest.mark.parametrize("verb", [sg.render, sg.train])
def test_low_rank_weights_count_by_their_contents(tmp_path: Path, verb: sg.steps.StepVerb) -> None:
    def key(**options: Path) -> str:
        return fingerprint(plan(verb("diffusers", checkpoint="some/pipeline", **options)).steps[-1].spec.identity)

    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "lora.safetensors").write_bytes(b"one")
    first = key(lora=weights)
    assert first != key()
    shutil.copytree(weights, tmp_path / "moved")
    assert key(lora=tmp_path / "moved") == first
    (weights / "lora.safetensors").write_bytes(b"two")
    assert key(lora=weights) != first
