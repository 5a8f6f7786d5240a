"""The state of a training that goes on: weights, optimizer, position, random numbers; whole on disk or not there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import attrs
import torch

from sgforge.durable import write_text
from sgforge.errors import StepError
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.stream import Position

__all__ = ["State", "clear", "load_state", "save_state"]

_PREFIX: Final = "state-"
_FILE: Final = "state.pt"


@attrs.frozen
class State:
    """How far a training is: steps taken, and where its data stands."""

    step: int
    position: Position


def save_state(folder: Path, state: State, model: RobinModel, optimizer: torch.optim.Optimizer, plan: str) -> None:
    """Write the state under `folder`, then remove older ones. `plan`: what must be equal for it to be resumed."""
    content = {
        "step": state.step,
        "position": state.position.as_json(),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "plan": plan,
    }
    aside = folder / f".{_PREFIX}aside"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    torch.save(content, aside / _FILE)
    write_text(aside / "plan.json", plan)
    final = folder / f"{_PREFIX}{state.step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    aside.replace(final)
    for older in _states(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def load_state(folder: Path, model: RobinModel, optimizer: torch.optim.Optimizer, plan: str) -> State | None:
    """Take up the latest state under `folder`; None if there is none. One of another plan is a `StepError`."""
    found = _states(folder)
    if not found:
        return None
    path = found[-1] / _FILE
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises what its reader happens to
        raise StepError(f"{path} cannot be read ({type(error).__name__}): delete {found[-1]} to train again") from error
    if content["plan"] != plan:
        raise StepError(f"{found[-1]} is of a training with other options or data: delete it to train again")
    model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    torch.set_rng_state(content["random"])
    return State(content["step"], Position.from_json(content["position"]))


def clear(folder: Path) -> None:
    """Remove all states: the training is done."""
    for path in _states(folder):
        shutil.rmtree(path)


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if (path / _FILE).is_file())
