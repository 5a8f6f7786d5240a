"""The state of a training that goes on: weights, moments, position, random numbers; whole on disk or not there.

Tensors lie in safetensors and all else in JSON, so that nothing is unpickled. A sharded training writes what each rank
has, another one file; each reads the other's, with any number of ranks.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, Final

import attrs
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed import checkpoint
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from sgforge.durable import share_as_usual, write_text
from sgforge.errors import StepError
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.training.ranks import Ranks
from sgforge_robin.training.stream import Position

__all__ = ["State", "clear", "load_state", "save_state"]

_PREFIX: Final = "state-"
_FILE: Final = "state.json"
_TENSORS: Final = "state.safetensors"
_MOMENTS: Final = ("exp_avg", "exp_avg_sq")
_RANDOM: Final = "random"


@attrs.frozen
class State:
    """How far a training is: steps taken, and where its data stands."""

    step: int
    position: Position


@attrs.frozen(eq=False)
class _Learner:
    """What of a training is tensors, by name; the moments of those weights that had a gradient yet."""

    model: RobinModel
    optimizer: torch.optim.Optimizer

    def tensors(self) -> dict[str, Tensor]:
        """Weights, and moments as far as there are any."""
        found = {f"model/{name}": value.detach() for name, value in self.model.named_parameters()}
        shared = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        buffers = {name: value for name, value in self.model.state_dict().items() if name not in shared}
        found |= {f"model/{name}": value for name, value in buffers.items()}
        for name, value in self._learning():
            found |= {f"{kind}/{name}": self.optimizer.state[value][kind] for kind in _MOMENTS}
        return found

    def updates(self) -> dict[str, int]:
        """How often each weight was updated."""
        return {name: int(self.optimizer.state[value]["step"]) for name, value in self._learning()}

    def make_moments(self, updates: dict[str, int]) -> None:
        """Give the optimizer moments of 0 for these weights, to be filled."""
        weights = dict(self.model.named_parameters())
        is_fused = self.optimizer.defaults.get("fused")
        for name, count in updates.items():
            value = weights[name]
            device = value.device if is_fused else torch.device("cpu")
            step = torch.tensor(float(count), dtype=torch.float32, device=device)
            moments = {kind: torch.zeros_like(value) for kind in _MOMENTS}
            self.optimizer.state[value] = {"step": step, **moments}

    def _learning(self) -> list[tuple[str, Tensor]]:
        return [(name, value) for name, value in self.model.named_parameters() if value in self.optimizer.state]


def save_state(
    folder: Path, state: State, model: RobinModel, optimizer: torch.optim.Optimizer, plan: str, ranks: Ranks = Ranks()
) -> None:
    """Write the state under `folder`, then remove older ones. `plan`: what must be equal for it to be resumed.

    Every rank calls. Of a sharded model each writes what it has, else the first one all.
    """
    is_first, is_sharded = ranks.worker.rank == 0, isinstance(model.table.weight, DTensor)
    if not (is_first or is_sharded):
        return
    aside = folder / f".{_PREFIX}aside"
    if is_first:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    learner = _Learner(model, optimizer)
    tensors = learner.tensors() | {f"{_RANDOM}/{ranks.worker.rank}": torch.get_rng_state()}
    if is_sharded:
        ranks.told(None)  # the folder is there
        _write_shares(tensors, aside, ranks.worker.world)
        ranks.told(None)  # all of it is
    else:
        save_file({name: value.contiguous() for name, value in tensors.items()}, aside / _TENSORS)
        share_as_usual(aside / _TENSORS)
    if is_first:
        told = {"step": state.step, "position": state.position.as_json(), "updates": learner.updates(), "plan": plan}
        write_text(aside / _FILE, json.dumps(told | {"ranks": ranks.worker.world if is_sharded else 1}))
        _put(aside, folder, state.step)


def _write_shares(tensors: dict[str, Tensor], folder: Path, world: int) -> None:
    """Every rank's part in files of its own, one a kind of tensors: each is put together in memory."""
    kinds = ("model", *_MOMENTS)
    files = {name: 1 + kinds.index(kind) for name in tensors if (kind := name.partition("/")[0]) != _RANDOM}
    files |= {f"{_RANDOM}/{rank}": 1 for rank in range(world)}
    writer = HuggingFaceStorageWriter(str(folder), fqn_to_index_mapping=files, save_distributed=True)
    checkpoint.save(tensors, storage_writer=writer)


def _put(aside: Path, folder: Path, step: int) -> None:
    final = folder / f"{_PREFIX}{step:08d}"
    shutil.rmtree(final, ignore_errors=True)
    aside.replace(final)
    for older in _states(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def load_state(
    folder: Path, model: RobinModel, optimizer: torch.optim.Optimizer, plan: str, ranks: Ranks = Ranks()
) -> State | None:
    """Take up the latest state under `folder`; None if there is none. One of another plan is a `StepError`."""
    found = _states(folder)
    if not found:
        return None
    try:
        told: dict[str, Any] = json.loads((found[-1] / _FILE).read_text())
        if told["plan"] == plan:
            _read(found[-1], told, _Learner(model, optimizer), ranks)
    except (Exception, CheckpointException) as error:  # a damaged file raises what its reader happens to
        raise StepError(
            f"{found[-1]} cannot be read ({type(error).__name__}): delete {found[-1]} to train again"
        ) from error
    if told["plan"] != plan:
        raise StepError(f"{found[-1]} is of a training with other options or data: delete it to train again")
    return State(told["step"], Position.from_json(told["position"]))


def _read(path: Path, told: dict[str, Any], learner: _Learner, ranks: Ranks) -> None:
    learner.make_moments(told["updates"])
    own = ranks.worker.rank if ranks.worker.rank < told["ranks"] else 0
    random = torch.get_rng_state()
    tensors = learner.tensors() | {f"{_RANDOM}/{own}": random}
    with warnings.catch_warnings():  # that it reads alone is what is meant
        warnings.simplefilter("ignore")
        checkpoint.load(tensors, storage_reader=HuggingFaceStorageReader(str(path)), no_dist=True)
    torch.set_rng_state(random)


def clear(folder: Path) -> None:
    """Remove all states: the training is done."""
    for path in _states(folder):
        shutil.rmtree(path)


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if (path / _FILE).is_file())
