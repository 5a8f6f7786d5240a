"""Refinements of a Robin on two ranks: `python refined_ranks.py FOLDER CASES [MORE]` is one, started by `launch`.

Ranks have unequal answers and unequal packed rows; in one step one of them has no answer at all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from robin.worlds import SMALLEST, scenes, tokenizer
from safetensors.torch import load_file
from torch import distributed

from sgforge.engine.executors.training.processes import surroundings
from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Credit, Outcome, Part, Resources, Selection, Worker
from sgforge.testing.contracts.data import publish_samples
from sgforge_grpo.config import DpoOptions, GrpoOptions, RaftOptions
from sgforge_grpo.refining.refiners import DpoRefiner, GrpoRefiner, RaftRefiner
from sgforge_grpo.refining.rollout_file import read_rollouts
from sgforge_grpo.refining.shares import is_share
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import Known, TrainedRobin
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.shape import PairShape
from sgforge_robin.policy import RobinPolicy
from sgforge_robin.training.ranks import Ranks, join

STEPS = 3
ROOT = Path(__file__).parents[2]
KINDS: Mapping[str, Any] = {
    "grpo": (GrpoRefiner, GrpoOptions),
    "raft": (RaftRefiner, RaftOptions),
    "dpo": (DpoRefiner, DpoOptions),
}


@attrs.frozen(kw_only=True)
class Case:
    """One way to refine."""

    kind: str = "grpo"
    student: Mapping[str, Any] = attrs.field(factory=dict)
    refiner: Mapping[str, Any] = attrs.field(factory=dict)
    dtype: str = "float32"


CASES: Mapping[str, Case] = {
    "plain": Case(refiner={"beta": 0.1, "clip": 0.1}),
    "passes": Case(refiner={"beta": 0.1, "pass_size": 5, "iterations": 2}),
    "adapters": Case(student={"lora": 1, "stage": "language"}),
    "recomputed": Case(student={"checkpointing": True}),
    "the projector alone": Case(student={"stage": "projector"}, refiner={"beta": 0.1}),
    "the whole graph": Case(student={"mode": "full-graph", "max_tokens": 3}),
    "bfloat16": Case(dtype="bfloat16"),
    "every other step": Case(refiner={"save_every": 2}),
    "raft": Case(kind="raft"),
    "dpo": Case(kind="dpo"),
}


class Letters:
    """The share of an answer's signs that are letters: of random answers hardly two are worth the same."""

    range = (0.0, 1.0)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Credit]]:
        return [[Credit(self._share(one.text or "")) for one in group] for group in outcomes]

    def _share(self, text: str) -> float:
        return sum(map(str.isalpha, text)) / max(1, len(text))


class Watched:
    """A student whose policy packs short rows, and tells what this rank holds of it."""

    def __init__(self, options: RobinOptions) -> None:
        self._options = options
        self.policies: list[RobinPolicy] = []

    def policy(self, resources: Resources) -> RobinPolicy:
        made = RobinPolicy.of(self._options, resources)
        made._stage = attrs.evolve(made._stage, capacity=260)
        self.policies.append(made)
        return made


def prepare(folder: Path) -> None:
    """Weights and images for all ranks."""
    torch.manual_seed(0)
    own = tokenizer()
    model = build(SMALLEST.shape(len(own), own.special, PairShape(1, 1))).eval()
    known = Known(labels=("ball",), predicates=("on",), side=SMALLEST.side, box_text=False)
    TrainedRobin(model, own, known).save(folder / "before")
    made = [_with_regions(one, count) for one, count in zip(scenes(folder, 6), (1, 4, 2, 3, 5, 3), strict=True)]
    snapshot = publish_samples(folder / "data", made)
    (folder / "snapshot").write_text(str(snapshot.path))


def _with_regions(sample: Sample, count: int) -> Sample:
    """The sample with its first regions alone; an image of one is not asked about."""
    regions = list(sample.graph.regions.values())[:count]
    return attrs.evolve(sample, graph=SceneGraph(64, 64, regions))


def refined(
    folder: Path, out: str, case: Case, worker: Worker, sharding: str, steps: int = STEPS, cut: int = -1
) -> tuple[dict[str, list[float]], RobinPolicy | None]:
    """Refine into a folder, or go on there; `cut`: the step in whose midst it ends, as if killed."""
    told: dict[str, list[float]] = {}

    def report(name: str, value: float, step: int) -> None:
        if name == "loss" and step == cut:
            raise KeyboardInterrupt
        told.setdefault(name, []).append(value)
        if name == "loss" and not worker.rank:
            with (folder / f"{out}.txt").open("a") as losses:
                losses.write(f"{step} {value}\n")

    student = Watched(RobinOptions(**{"max_tokens": 9, **case.student, "sharding": sharding}))
    resources = Resources(
        checkpoint=Checkpoint.of(folder / "before"),
        student=student,
        worker=worker,
        dtype=case.dtype,
        roots=Roots({"scenes": folder / "scenes"}),
        reporter=report,
        parts={"rewards": (Part("letters", 1.0, Resources(), Letters()),)},
    )
    make, options = KINDS[case.kind]
    given = {"steps": steps, "batch": 2, "group": 3, "rate": 1e-3, "save_every": 1, **case.refiner}
    refiner = make(options(rewards=("letters",), **given))
    refiner.setup(resources)
    (folder / out).mkdir(exist_ok=True)
    try:
        refiner.refine(Path((folder / "snapshot").read_text()), Selection(), folder / out, resources)
    except KeyboardInterrupt:
        assert cut >= 0
    return told, next(iter(student.policies), None)


def held(policy: RobinPolicy) -> int:
    """The numbers that this rank holds between two steps of all that the policy has."""
    found = [value for _, value in policy._held.shares.held()]  # type: ignore[attr-defined]
    assert not any(value.numel() for value in policy._held.model.parameters())
    assert all(map(is_share, policy.parameters()))
    return sum(value.to_local().numel() for value in found)


def apart(one: Path, other: Path) -> float:
    """The largest distance of two weights of one name in two checkpoints."""
    first, second = (load_file(path / "model.safetensors") for path in (one, other))
    assert first.keys() == second.keys()
    return max(float((value - second[name]).abs().max()) for name, value in first.items())


def compared(folder: Path, name: str, ranks: Ranks) -> dict[str, Any]:
    """A refinement in shares beside one whose ranks have all of the model."""
    whole, first = refined(folder, f"{name} whole", CASES[name], ranks.worker, "replicated")
    sharded, second = refined(folder, f"{name} shares", CASES[name], ranks.worker, "sharded")
    assert first is not None
    assert second is not None
    numbers = sum(value.numel() for value in first._robin.model.parameters())
    found = {"told": [whole, sharded], "held": ranks.told([numbers, held(second)])}
    if ranks.worker.rank:
        return found
    outs = [folder / f"{name} {kind}" for kind in ("whole", "shares")]
    images: dict[int, set[str]] = {}
    for row in read_rollouts(outs[1] / "rollouts.jsonl.zst"):
        images.setdefault(row["step"], set()).add(row["image_id"])
    return found | {
        "apart": apart(outs[0] / "weights", outs[1] / "weights"),
        "learnt": apart(folder / "before", outs[1] / "weights"),
        "images": [len(one) for one in images.values()],
    }


def resumed(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Refinements in shares: one as it is, one that is cut in its third step and goes on, and ones for other ranks."""
    case, is_first = CASES["plain"], ranks.worker.rank == 0
    whole, _ = refined(folder, "whole", case, ranks.worker, "sharded", 4)
    first, _ = refined(folder, "cut", case, ranks.worker, "sharded", 4, cut=2)
    ranks.told(None)
    if is_first:
        for name in ("for one", "for whole"):
            shutil.copytree(folder / "cut", folder / name)
    ranks.told(None)
    torch.rand(3)  # whatever other random numbers were drawn since
    rest, _ = refined(folder, "cut", case, ranks.worker, "sharded", 4)
    replicated, _ = refined(folder, "for whole", case, ranks.worker, "replicated", 4)
    refined(folder, "of whole", case, ranks.worker, "replicated", 4, cut=2)
    ranks.told(None)
    of_whole, _ = refined(folder, "of whole", case, ranks.worker, "sharded", 4)
    of_one, _ = refined(folder, "of one", case, ranks.worker, "sharded", 4)
    return {
        "whole": whole["loss"],
        "cut": [first["loss"], rest["loss"]],
        "apart": apart(folder / "whole" / "weights", folder / "cut" / "weights") if is_first else None,
        "others": {"replicated": replicated["loss"], "of whole": of_whole["loss"], "of one": of_one["loss"]},
    }


def losses_of(folder: Path, out: str) -> dict[int, set[str]]:
    """All losses that were told of a refinement, by step; of a step that was made twice there may be two."""
    found: dict[int, set[str]] = {}
    path = folder / f"{out}.txt"
    for line in path.read_text().splitlines() if path.exists() else ():
        step, value = line.split()
        found.setdefault(int(step), set()).add(value)
    return found


def start(folder: Path, cases: Sequence[str], more: str = "") -> list[subprocess.Popen[bytes]]:
    """Two ranks that find out about these cases. `more`: "resumes", or a folder to refine into in more steps."""
    environment = {**surroundings(2), "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    ranks = []
    for rank in range(2):
        with (folder / f"{rank}.log").open("wb") as log:
            command = [sys.executable, __file__, str(folder), json.dumps(cases), more]
            ranks.append(
                subprocess.Popen(command, env={**environment, "RANK": str(rank)}, stdout=log, stderr=subprocess.STDOUT)
            )
    return ranks


def finish(ranks: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """The exit codes when all have ended, or one has failed; none goes on then."""
    try:
        while None in (codes := [one.poll() for one in ranks]) and not any(codes):
            for one in ranks:
                try:
                    one.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
        return codes
    finally:
        for one in ranks:
            one.kill()
            one.wait()


def launch(folder: Path, cases: Sequence[str], more: str = "") -> dict[str, Any]:
    """What two ranks found."""
    codes = finish(start(folder, cases, more))
    said = "\n".join((folder / f"{rank}.log").read_text(errors="replace") for rank in range(2))
    assert not any(codes), said
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    worker = Worker(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    join(worker, "cpu")
    ranks = Ranks(worker)
    found: dict[str, Any] = {name: compared(folder, name, ranks) for name in json.loads(sys.argv[2])}
    if sys.argv[3] == "resumes":
        found["resumed"] = resumed(folder, ranks)
    elif sys.argv[3]:
        refined(folder, sys.argv[3], CASES["every other step"], worker, "sharded", 8)
    if worker.rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
