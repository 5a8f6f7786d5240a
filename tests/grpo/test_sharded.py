"""A student in shares is refined as one that is whole; its states go on with any number of ranks, in either way."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from support.extras import needs_extra
from support.waiting import wait_until

needs_extra("robin")
needs_extra("grpo")

import torch  # noqa: E402
from grpo.refined_ranks import CASES, STEPS, apart, launch, losses_of, prepare, refined, start  # noqa: E402
from support.ranks import finish  # noqa: E402

from sgforge.errors import StepError  # noqa: E402
from sgforge.stages import Worker  # noqa: E402
from sgforge_grpo.refining.ranks import Ranks  # noqa: E402
from sgforge_grpo.vlm.shares import Shares  # noqa: E402

torch.set_num_threads(1)
PLAIN = CASES["plain"]


@attrs.frozen(kw_only=True)
class Found:
    """`folder`: what was left; `told`: what two ranks found; `alone`: losses of one process."""

    folder: Path
    told: dict[str, Any]
    alone: list[float]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("refined")
    prepare(folder)
    refined(folder, "of one", PLAIN, Worker(), "sharded", 4, cut=2)
    alone, _ = refined(folder, "alone", PLAIN, Worker(), "sharded", 4)
    return Found(folder=folder, told=launch(folder, list(CASES)[1:], "resumes"), alone=alone["loss"])


def check_steps(found: dict[str, Any], tolerance: float = 1e-5) -> None:
    whole, shares = found["told"]
    assert len(set(whole["loss"])) == STEPS
    assert whole.keys() == shares.keys()
    for name in set(whole) - {"seconds", "outside_model"}:
        assert shares[name] == pytest.approx(whole[name], abs=tolerance), name
    assert max(shares.get("mismatch", [0.0])) < 1e-5
    assert found["apart"] < 1e-5
    assert found["learnt"] > 1e-4


@pytest.mark.slow
def test_steps_in_shares_are_those_of_whole_models_and_each_rank_holds_half(tmp_path: Path) -> None:
    prepare(tmp_path)
    found = launch(tmp_path, ["plain"])["plain"]
    check_steps(found)
    assert sorted(found["images"]) == [1, 2, 2], "in one step one rank has no answer at all"
    (whole, first), (_, second) = found["held"]
    assert first + second == whole
    assert max(first, second) < 0.51 * whole


def test_a_model_that_tells_no_layers_is_refused() -> None:
    model: Any = torch.nn.Linear(1, 1)
    model.get_decoder, model.config = lambda: model, SimpleNamespace(model_type="odd")
    with pytest.raises(StepError, match=r'type odd has no list of layers to share: say sharding = "replicated"'):
        Shares(model, Ranks(Worker(0, 2)), 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES)[1:])
def test_every_way_to_refine_goes_in_shares(found: Found, name: str) -> None:
    # A norm of gradients in bfloat16 is rounded to 1/256 of it.
    check_steps(found.told[name], 1e-2 if name == "vlm in bfloat16" else 1e-5)


@pytest.mark.slow
def test_a_refinement_that_is_cut_goes_on_to_the_bit(found: Found) -> None:
    resumed = found.told["resumed"]
    first, rest = resumed["cut"]
    assert len(first) == 2
    assert first + rest == resumed["whole"]
    assert len(set(resumed["whole"])) == 4
    assert resumed["apart"] == 0.0


@pytest.mark.slow
def test_other_ranks_and_whole_models_go_on(found: Found) -> None:
    whole, folder = found.told["resumed"]["whole"], found.folder
    assert whole == pytest.approx(found.alone, abs=1e-5)
    for name in ("from shares", "from whole", "from one"):
        assert found.told["resumed"][name] == pytest.approx(whole[2:], abs=1e-5), name
        assert apart(folder / name / "weights", folder / "whole" / "weights") < 1e-5
    shutil.copytree(folder / "from two", folder / "alone from two")
    rest, _ = refined(folder, "alone from two", PLAIN, Worker(), "sharded", 4)
    assert rest["loss"] == pytest.approx(whole[2:], abs=1e-5)
    assert apart(folder / "alone from two" / "weights", folder / "whole" / "weights") < 1e-5


@pytest.mark.slow
def test_a_state_is_of_whole_tensors_and_written_once(found: Found) -> None:
    (state,) = (found.folder / "from two").glob("state-*")
    assert sorted(path.name for path in state.iterdir()) == ["0.pt", "plan.json"]
    kept = torch.load(state / "0.pt", weights_only=True)
    for place, (name, value) in enumerate(kept["policy"].items()):
        moments = kept["optimizer"]["state"][place]
        assert type(value) is torch.Tensor
        assert moments["exp_avg"].shape == moments["exp_avg_sq"].shape == value.shape, name


@pytest.mark.slow
def test_killed_at_any_step_it_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    prepare(tmp_path)
    launch(tmp_path, [], "whole")
    for least, victim in ((1, 0), (4, 1)):
        ranks = start(tmp_path, [], "cut")
        reached = partial(_is_at, tmp_path, least, ranks)
        wait_until(reached, f"step {least}")
        assert [one.poll() for one in ranks] == [None, None]
        ranks[victim].kill()
        assert any(finish(ranks))
    launch(tmp_path, [], "cut")
    found = losses_of(tmp_path, "cut")
    assert len(found) == 8
    assert found == losses_of(tmp_path, "whole")
    assert apart(tmp_path / "whole" / "weights", tmp_path / "cut" / "weights") == 0.0


def _is_at(folder: Path, step: int, ranks: list[subprocess.Popen[bytes]]) -> bool:
    """Whether a loss of that step was told, or a rank ended."""
    return step in losses_of(folder, "cut") or any(one.poll() is not None for one in ranks)
