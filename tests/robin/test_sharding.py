"""A Robin in shares learns what one that is whole learns; its states go on with any number of ranks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from robin.two_ranks import CASES, STEPS, launch, trained
from safetensors import safe_open

from sgforge.errors import StepError


@attrs.frozen(kw_only=True)
class Found:
    """`folder`: states and weights that were left; `told`: what two ranks found; `alone`: losses of one process."""

    folder: Path
    told: dict[str, Any]
    alone: list[float]
    weights: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("ranks")
    trained(folder / "alone", folder / "of one", stop=2)
    model, losses = trained(folder / "alone", folder / "alone states")
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    return Found(folder=folder, told=launch(folder, list(CASES)), alone=losses, weights=weights)


def check_steps(name: str, told: dict[str, Any]) -> None:
    whole, sharded = told["losses"]
    assert len(set(whole)) == STEPS
    # Norms of layers are rounded to bfloat16 too where layers are gathered in it.
    tolerance = 1e-3 if CASES[name].mixed else 1e-6
    assert sharded == pytest.approx(whole, rel=tolerance)
    assert told["apart"] < (3e-3 if CASES[name].mixed else 1e-5)


def test_steps_in_shares_are_those_of_whole_models_and_each_rank_holds_half(tmp_path: Path) -> None:
    """What is held: weights, and two moments of each. Nothing is held twice, and nothing left out."""
    told = launch(tmp_path, ["plain"], resumes=False)["steps"]["plain"]
    check_steps("plain", told)
    (whole, first), (_, second) = told["bytes"]
    assert first + second == whole
    assert max(first, second) < 0.52 * whole


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_every_way_to_train_goes_in_shares(found: Found, name: str) -> None:
    check_steps(name, found.told["steps"][name])


@pytest.mark.slow
def test_a_training_that_is_stopped_goes_on_to_the_bit(found: Found) -> None:
    told = found.told["resumed"]
    first, rest = told["cut"]
    assert len(first) == 3
    assert first + rest == told["losses"]
    assert told["is_equal"]


@pytest.mark.slow
def test_alone_it_learns_the_same(found: Found) -> None:
    assert found.told["resumed"]["losses"] == pytest.approx(found.alone, rel=1e-5)
    weights = torch.load(found.folder / "whole.pt", weights_only=True)
    assert weights.keys() == found.weights.keys()
    assert max(float((value - found.weights[name]).abs().max()) for name, value in weights.items()) < 1e-4


@pytest.mark.slow
def test_another_number_of_ranks_goes_on(found: Found) -> None:
    _, rest = trained(found.folder / "alone", found.folder / "for one")
    assert rest == pytest.approx(found.alone[3:], rel=1e-5)
    assert found.told["resumed"]["from_one"] == pytest.approx(found.alone[2:], rel=1e-5)
    assert found.told["resumed"]["from_one_apart"] < 1e-4


@pytest.mark.slow
def test_a_state_is_tensors_and_json(found: Found, tmp_path: Path) -> None:
    (state,) = (found.folder / "whole").glob("state-*")
    files = sorted(state.iterdir())
    assert {file.suffix for file in files} == {".safetensors", ".json"}
    shares = [file for file in files if "model" in file.name and file.suffix == ".safetensors"]
    kept = {name for file in shares for name in safe_open(file, "pt").keys()}  # noqa: SIM118
    assert {name.partition("/")[0] for name in kept} == {"model", "exp_avg", "exp_avg_sq", "random"}
    shutil.copytree(state, tmp_path / "states" / state.name)
    share = tmp_path / "states" / state.name / shares[-1].name
    share.write_bytes(share.read_bytes()[:200])
    with pytest.raises(StepError, match=r"state-00000002 cannot be read .*: delete .* to train again"):
        trained(tmp_path, tmp_path / "states")
