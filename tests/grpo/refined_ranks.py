"""Refinements of students on two ranks: `python refined_ranks.py FOLDER CASES [MORE]` is one, started by `launch`.

Ranks have unequal answers and unequal packed rows; in one step one of them has no answer at all.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import torch
from grpo import tiny_llava
from models import tiny_vlm
from robin.worlds import SMALLEST, scenes, tokenizer
from safetensors.torch import load_file
from support.ranks import finish, joined, leave, said, start_ranks

from sgforge.graph import Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Credit, Outcome, Part, Resources, Selection, Worker
from sgforge.stages.policies import Policy
from sgforge.testing.contracts.data import publish_samples
from sgforge_grpo.config import DpoOptions, GrpoOptions, RaftOptions, VlmOptions
from sgforge_grpo.refining.refiners import DpoRefiner, GrpoRefiner, RaftRefiner
from sgforge_grpo.refining.rollout_file import read_rollouts
from sgforge_grpo.refining.shares import is_share
from sgforge_grpo.vlm import shares as vlm_shares
from sgforge_grpo.vlm.student import VlmStudent
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import Known, TrainedRobin
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.shape import PairShape
from sgforge_robin.policy import RobinPolicy
from sgforge_robin.student import RobinStudent
from sgforge_robin.training import shares as robin_shares
from sgforge_robin.training.ranks import Ranks

STEPS = 3
SHARES = (robin_shares.Shares, vlm_shares.Shares)
KINDS: Mapping[str, Any] = {
    "grpo": (GrpoRefiner, GrpoOptions),
    "raft": (RaftRefiner, RaftOptions),
    "dpo": (DpoRefiner, DpoOptions),
}


@attrs.frozen(kw_only=True)
class Case:
    """One way to refine. `base`: writes the vision-language model that is refined instead of a Robin."""

    kind: str = "grpo"
    base: Callable[[Path], Path] | None = None
    student: Mapping[str, Any] = attrs.field(factory=dict)
    refiner: Mapping[str, Any] = attrs.field(factory=dict)
    dtype: str = "float32"


_VLM = {"max_tokens": 8, "top_p": 0.9}
CASES: dict[str, Case] = {
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
    "vlm": Case(base=tiny_vlm.build, student=_VLM, refiner={"beta": 0.1}),
    "vlm of another family": Case(base=tiny_llava.build, student={**_VLM, "answers_at_once": 2}),
    "vlm in bfloat16": Case(base=tiny_vlm.build, student=_VLM, dtype="bfloat16"),
    "vlm in training": Case(kind="train", base=tiny_vlm.build, student={**_VLM, "steps": 3, "rate": 1e-3, "batch": 2}),
}

if find_spec("peft") is not None:
    CASES["vlm with adapters"] = Case(base=tiny_llava.build, student={**_VLM, "lora": 1}, refiner={"beta": 0.1})


class Letters:
    """The share of an answer's signs that are letters: of random answers hardly two are worth the same."""

    range = (0.0, 1.0)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Credit]]:
        return [[Credit(self._share(one.text or "")) for one in group] for group in outcomes]

    def _share(self, text: str) -> float:
        return sum(map(str.isalpha, text)) / max(1, len(text))


class Watched:
    """A student whose policies can be looked at; that of a Robin packs short rows."""

    def __init__(self, student: RobinStudent | VlmStudent) -> None:
        self._student = student
        self.policies: list[Any] = []

    def policy(self, resources: Resources) -> Policy:
        made = self._student.policy(resources)
        if isinstance(made, RobinPolicy):
            made._stage = attrs.evolve(made._stage, capacity=260)
        self.policies.append(made)
        return made


def student_of(folder: Path, case: Case, sharding: str) -> RobinStudent | VlmStudent:
    """The student of a case, with random weights: those that `prepare` wrote, or those of its base."""
    given: dict[str, Any] = {"max_tokens": 9, **case.student, "sharding": sharding}
    if case.base:
        return VlmStudent(VlmOptions(base=str(folder / "base"), **given))
    return RobinStudent(RobinOptions(**given))


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
) -> tuple[dict[str, list[float]], Any]:
    """Refine into a folder, or go on there; `cut`: the step in whose midst it ends, as if killed."""
    told: dict[str, list[float]] = {}

    def report(name: str, value: float, step: int) -> None:
        if name == "loss" and step == cut:
            raise KeyboardInterrupt
        told.setdefault(name, []).append(value)
        if name == "loss" and not worker.rank:
            with (folder / f"{out}.txt").open("a") as losses:
                losses.write(f"{step} {value}\n")

    student = Watched(student_of(folder, case, sharding))
    resources = Resources(
        checkpoint=None if case.base else Checkpoint.of(folder / "before"),
        student=student,
        worker=worker,
        dtype=case.dtype,
        roots=Roots({"scenes": folder / "scenes"}),
        reporter=report,
        parts={"rewards": (Part("letters", 1.0, Resources(), Letters()),)},
    )
    snapshot = Path((folder / "snapshot").read_text())
    (folder / out).mkdir(exist_ok=True)
    if case.kind == "train":
        student_of(folder, case, sharding).train(snapshot, Selection(), folder / out, resources)
        return told, None
    make, options = KINDS[case.kind]
    given = {"steps": steps, "batch": 2, "group": 3, "rate": 1e-3, "save_every": 1, **case.refiner}
    refiner = make(options(rewards=("letters",), **given))
    refiner.setup(resources)
    try:
        refiner.refine(snapshot, Selection(), folder / out, resources)
    except KeyboardInterrupt:
        assert cut >= 0
    return told, next(iter(student.policies), None)


def held(policy: Any) -> int:
    """The numbers that this rank holds between two steps of all that the policy has."""
    is_robin = isinstance(policy, RobinPolicy)
    model, shares = (policy._robin.model, policy._held) if is_robin else (policy.vlm.model, policy._shares)
    shares = getattr(shares, "shares", shares)
    if not isinstance(shares, SHARES):
        return sum(value.numel() for value in model.parameters())
    assert not any(value.numel() for value in model.parameters())
    assert all(map(is_share, policy.parameters()))
    return sum(value.to_local().numel() for _, value in shares.held())


def apart(one: Path, other: Path) -> float:
    """The largest distance of two weights of one name in two checkpoints."""
    first, second = (load_file(path / "model.safetensors") for path in (one, other))
    assert first.keys() == second.keys()
    return max(float((value - second[name]).abs().max()) for name, value in first.items())


def compared(folder: Path, name: str, ranks: Ranks) -> dict[str, Any]:
    """A refinement in shares beside one whose ranks have all of the model."""
    base = CASES[name].base
    if base and not ranks.worker.rank:
        shutil.rmtree(folder / "base", ignore_errors=True)
        base(folder / "base")
    ranks.told(None)
    whole, first = refined(folder, f"{name} whole", CASES[name], ranks.worker, "replicated")
    sharded, second = refined(folder, f"{name} shares", CASES[name], ranks.worker, "sharded")
    found: dict[str, Any] = {"told": [whole, sharded]}
    if first is not None:
        found["held"] = ranks.told([held(first), held(second)])
    if ranks.worker.rank:
        return found
    outs = [folder / f"{name} {kind}" for kind in ("whole", "shares")]
    images: dict[int, set[str]] = {}
    for row in read_rollouts(outs[1] / "rollouts.jsonl.zst") if first is not None else ():
        images.setdefault(row["step"], set()).add(row["image_id"])
    return found | {
        "apart": apart(outs[0] / "weights", outs[1] / "weights"),
        "learnt": apart(folder / ("base" if base else "before"), outs[1] / "weights"),
        "images": [len(one) for one in images.values()],
    }


def resumed(folder: Path, ranks: Ranks) -> dict[str, Any]:
    """Losses of refinements: one in shares as it is, others that are cut in their third step and go on in some way.

    What is left: `from two`, to be gone on with alone. What was left: `of one`, of a process that was alone.
    """
    case, is_first = CASES["plain"], ranks.worker.rank == 0

    def part(out: str, sharding: str, cut: int = -1) -> list[float]:
        ranks.told(None)  # what is gone on from is there
        return refined(folder, out, case, ranks.worker, sharding, 4, cut)[0]["loss"]

    whole = part("whole", "sharded")
    first = part("cut", "sharded", cut=2)
    part("from whole", "replicated", cut=2)
    ranks.told(None)
    if is_first:
        for name in ("from two", "from shares"):
            shutil.copytree(folder / "cut", folder / name)
        shutil.copytree(folder / "of one", folder / "from one")
    torch.rand(3)  # whatever other random numbers were drawn since
    rest = part("cut", "sharded")
    return {
        "whole": whole,
        "cut": [first, rest],
        "apart": apart(folder / "whole" / "weights", folder / "cut" / "weights") if is_first else None,
        "from shares": part("from shares", "replicated"),
        "from whole": part("from whole", "sharded"),
        "from one": part("from one", "sharded"),
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
    return start_ranks(__file__, folder, [json.dumps(cases), more])


def launch(folder: Path, cases: Sequence[str], more: str = "") -> dict[str, Any]:
    """What two ranks found."""
    codes = finish(start(folder, cases, more))
    assert not any(codes), said(folder)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    worker = joined()
    ranks = Ranks(worker)
    found: dict[str, Any] = {name: compared(folder, name, ranks) for name in json.loads(sys.argv[2])}
    if sys.argv[3] == "resumes":
        found["resumed"] = resumed(folder, ranks)
    elif sys.argv[3]:
        refined(folder, sys.argv[3], CASES["every other step"], worker, "sharded", 8)
    if worker.rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    leave()


if __name__ == "__main__":
    main()
