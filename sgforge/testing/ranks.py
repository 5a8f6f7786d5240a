"""Policies and refiners on two ranks: `python -m sgforge.testing.ranks ORDERS RANK` is one, started by a contract.

What is sampled is uneven on purpose: rank 0 has all images, rank 1 has one.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from sgforge.engine.executors.lifecycle import build
from sgforge.engine.executors.training.processes import leave_process_group, surroundings
from sgforge.engine.planning.components import ComponentSpec, find_spec
from sgforge.engine.planning.part_resources import with_parts
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.plugins import load_plugins
from sgforge.stages import Checkpoint, Resources, Selection, Worker

if TYPE_CHECKING:
    from sgforge.stages.policies import Policy

__all__ = ["RankOrders", "folders_of", "run_ranks"]

WORLD: Final = 2
_RATE: Final = 0.5


@attrs.frozen(kw_only=True)
class RankOrders:
    """What every rank is to do: with a `refiner` refine, else sample, recompute and take a step.

    `kind`: of the one that is refined, a student or a renderer. `folder`: of files.
    """

    kind: str
    student: str
    student_options: Mapping[str, Any]
    checkpoint: str
    snapshot: str
    roots: Mapping[str, str]
    devices: tuple[str, ...]
    folder: str
    refiner: str | None = None
    refiner_options: Mapping[str, Any] = attrs.field(factory=dict)


def folders_of(roots: Roots | None) -> dict[str, str]:
    """Roots as another process can be told them."""
    return {} if roots is None else {name: str(roots.resolve(f"{name}:")) for name in roots.names()}


def run_ranks(orders: RankOrders) -> list[dict[str, Any]]:
    """What each of two ranks found, in processes of their own; one that fails is an AssertionError with its output."""
    folder = Path(orders.folder)
    folder.mkdir(parents=True, exist_ok=True)
    told = json.dumps(attrs.asdict(orders), default=str)
    environment = surroundings(WORLD)
    with ExitStack() as logs:
        ranks = []
        for rank in range(WORLD):
            log = logs.enter_context((folder / f"{rank}.log").open("wb"))
            names = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, "-m", __name__, told, str(rank)]
            ranks.append(subprocess.Popen(command, env=names, stdout=log, stderr=log))
        answers = [folder / f"{rank}.json" for rank in range(WORLD)]
        codes = _wait_for_all(ranks, answers)
    for rank, code in enumerate(codes):
        assert not code, f"rank {rank} ended with {code}:\n{(folder / f'{rank}.log').read_text(errors='replace')}"
    return [json.loads(answer.read_text()) for answer in answers]


def _wait_for_all(ranks: Sequence[subprocess.Popen[bytes]], answers: Sequence[Path]) -> list[int]:
    """The exit codes of all; when one fails the others, which would wait for it, are ended and count as 0."""

    def codes() -> list[int | None]:
        # Threads of `torch.distributed` may abort a process that is done, and has left its answer.
        ended = [(rank.poll(), answer) for rank, answer in zip(ranks, answers, strict=True)]
        return [0 if code and answer.exists() else code for code, answer in ended]

    try:
        while None in (found := codes()) and not any(found):
            time.sleep(0.05)
        return [code or 0 for code in found]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


def main() -> None:
    """Do what the orders say as the rank that is named, and write down what was found."""
    orders = RankOrders(**json.loads(sys.argv[1]))
    rank = int(sys.argv[2])
    found = _sample(orders, rank) if orders.refiner is None else _refine(orders, rank)
    (Path(orders.folder) / f"{rank}.json").write_text(json.dumps(found))
    leave_process_group()


def _resources(orders: RankOrders, rank: int) -> Resources:
    scratch = Path(orders.folder) / f"scratch-{rank}"
    scratch.mkdir(exist_ok=True)
    return Resources(
        devices=tuple(orders.devices),
        worker=Worker(rank, WORLD),
        checkpoint=Checkpoint.of(Path(orders.checkpoint)),
        scratch=scratch,
        roots=Roots(orders.roots),
    )


def _spec(kind: str, name: str, options: Mapping[str, Any]) -> ComponentSpec:
    spec, faults = find_spec(load_plugins(), kind, name, options)
    assert not faults, faults
    return spec


def _samples(orders: RankOrders) -> list[Sample]:
    from sgforge.dataset import Snapshot

    snapshot = Snapshot.open(Path(orders.snapshot))
    return [snapshot.sample(row, Roots(orders.roots)) for row in range(len(snapshot))]


def _sample(orders: RankOrders, rank: int) -> dict[str, Any]:
    """How far ratios are from 1, and what the policy draws after a step: the same on every rank."""
    student = _spec(orders.kind, orders.student, orders.student_options).build()
    policy: Policy = student.policy(_resources(orders, rank))
    samples = _samples(orders)
    rollouts = policy.rollouts(samples if rank == 0 else samples[:1], group=2, seed=rank)
    now = policy.logprobs(rollouts)
    drawn = [one for rollout in rollouts for one in rollout.logprobs]
    found = [float(one) for tensor in now for one in tensor.detach().tolist()]
    worst = max(abs(math.exp(after - before) - 1) for before, after in zip(drawn, found, strict=True))
    parameters = list(policy.parameters())
    (-sum(one.sum() for one in now) / len(now)).backward()
    for one in parameters:
        if one.grad is not None:
            one.data.add_(one.grad, alpha=-_RATE)
    after = policy.rollouts(samples[:1], group=2, seed=WORLD)
    return {
        "worst_ratio": worst,
        "tokens": [rollout.tokens for rollout in after],
        "logprobs": [list(map(float, rollout.logprobs)) for rollout in after],
    }


def _refine(orders: RankOrders, rank: int) -> dict[str, Any]:
    """How often a refiner called each method of its policy: as often on every rank."""
    assert orders.refiner is not None
    spec = _spec("refiner", orders.refiner, orders.refiner_options)
    student = _Watched(_spec(orders.kind, orders.student, orders.student_options).build())
    resources = attrs.evolve(_resources(orders, rank), student=student)
    entered = build(spec, with_parts(spec, resources, lambda name: None))
    out = Path(orders.folder) / "out"
    out.mkdir(exist_ok=True)
    checkpoint = entered.instance.refine(Path(orders.snapshot), Selection(), out, entered.resources)
    return {"calls": student.calls, "checkpoint": str(checkpoint.path) if rank == 0 else None}


class _Watched:
    """A student whose policies, references included, have their calls written down in their order."""

    def __init__(self, student: Any) -> None:
        self._student = student
        self.calls: list[str] = []

    def policy(self, resources: Resources) -> Any:
        return _WatchedPolicy(self._student.policy(resources), self.calls, "policy")


class _WatchedPolicy:
    def __init__(self, policy: Any, calls: list[str], name: str) -> None:
        self._policy = policy
        self._calls = calls
        self._name = name

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._policy, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._calls.append(f"{self._name}.{name}")
            answer = method(*arguments, **named)
            return _WatchedPolicy(answer, self._calls, "reference") if name == "reference" else answer

        return call


if __name__ == "__main__":
    main()
