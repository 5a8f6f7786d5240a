"""Trainings on two ranks: `python two_ranks.py FOLDER CASES` is one, started by `launch`; rank 0 tells what it found.

An image in three asks in words, so that ranks have unequal rows, and rows that reach unequal parts of the model.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from robin.worlds import SMALLEST, STAGE, maker, scenes, tokenizer
from support.ranks import finish, joined, leave, said, start_ranks
from torch import Tensor
from torch.distributed.tensor import DTensor

from sgforge.errors import StepError
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.lora import add_adapters
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.shape import ComparingShape, PairShape
from sgforge_robin.pairs import PairVocabulary
from sgforge_robin.training.loop import Life, share_of, take_step, train
from sgforge_robin.training.optimizer import freeze, make_optimizer, set_rates
from sgforge_robin.training.ranks import Ranks
from sgforge_robin.training.sharding import ShardedRobin
from sgforge_robin.training.stages import Stage
from sgforge_robin.training.stream import PackedStream, Position

STEPS = 4
PLAIN = attrs.evolve(STAGE, capacity=700, kept=0.7)


@attrs.frozen(kw_only=True)
class Case:
    """One way to train."""

    stage: Stage = PLAIN
    lora: int = 0
    own_layers: bool = False
    recomputed: bool = False
    mixed: bool = False


CASES = {
    "plain": Case(),
    "recomputed": Case(recomputed=True),
    "adapters": Case(lora=2),
    "bfloat16": Case(mixed=True),
    "comparing and reference layers": Case(own_layers=True),
    "the extractor alone": Case(stage=attrs.evolve(PLAIN, rates={"extractor": 1e-3})),
    "the projector alone": Case(stage=attrs.evolve(PLAIN, rates={"projector": 1e-3})),
}


def world(folder: Path, case: Case = Case()) -> tuple[RobinModel, PackedStream]:
    """A Robin with random weights and a pair head, and what it learns from."""
    samples = scenes(folder, 12)
    labels = sorted({str(one.label) for sample in samples for one in sample.graph.regions.values()})
    predicates = sorted({one.predicate for sample in samples for one in sample.graph.relations.values()})
    torch.manual_seed(0)
    own = tokenizer()
    model = build(SMALLEST.shape(len(own), own.special, PairShape(len(labels), len(predicates))))
    if case.own_layers:
        model.add_comparing_layer(ComparingShape(6, 2))
        model.add_reference_layer(own.names)
    if case.lora:
        add_adapters(model.language.base_model.layers, case.lora)
    vocabulary = PairVocabulary.of(tuple(labels), tuple(predicates))
    made = attrs.evolve(maker(case.stage), vocabulary=vocabulary, spoken=0.35)
    return model, PackedStream(samples, made, 5, Counter())


def trained(folder: Path, states: Path, ranks: Ranks = Ranks(), stop: int = 0) -> tuple[RobinModel, list[float]]:
    """Train, or go on; asked to stop after a step, `stop`, the model is not trained."""
    model, stream = world(folder)
    losses: list[float] = []
    life = Life(states, "a plan", 2, lambda step: losses.append(step.loss), lambda: len(losses) == stop, sharded=True)
    if stop:
        with pytest.raises(StepError, match="asked to stop"):
            train(model, stream, PLAIN, STEPS, life, ranks)
        return model, losses
    return train(model, stream, PLAIN, STEPS, life, ranks), losses


def launch(folder: Path, cases: Sequence[str], resumes: bool = True) -> dict[str, Any]:
    """What two ranks found of these cases, and of trainings that are stopped and go on."""
    codes = finish(start_ranks(__file__, folder, [json.dumps(cases), *["resumes"] * resumes]))
    assert not any(codes), said(folder)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def steps_of(folder: Path, case: Case, ranks: Ranks, is_sharded: bool) -> dict[str, Any]:
    """Losses of some steps, the model after them, and the bytes that this rank held of weights and moments."""
    model, stream = world(folder, case)
    model.train()
    freeze(model, case.stage)
    if case.recomputed:
        model.recompute_activations()
    sharded = ShardedRobin(model, ranks, case.mixed) if is_sharded else None
    optimizer = make_optimizer(model, case.stage)
    losses = []
    for step, (rows, _) in enumerate(stream.steps(Position(), ranks.worker)):
        if step == STEPS:
            break
        set_rates(optimizer, step, STEPS + 1, 0.03)
        losses.append(take_step(model, optimizer, rows, share_of(rows, ranks), case.mixed, ranks, sharded=sharded))
    held = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    held += list(model.parameters())
    numbers = sum(one.to_local().numel() if isinstance(one, DTensor) else one.numel() for one in held)
    return {"losses": losses, "model": sharded.whole() if sharded else model, "bytes": 4 * numbers}


def apart(one: RobinModel, other: RobinModel) -> float:
    """The largest distance of two weights of one name."""

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a.detach() - b.detach()).abs().max())

    return max(distance(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def compared(folder: Path, case: Case, ranks: Ranks) -> dict[str, Any]:
    """Steps of a sharded model beside those of one that each rank has all of."""
    whole, sharded = (steps_of(folder, case, ranks, is_sharded) for is_sharded in (False, True))
    is_first = ranks.worker.rank == 0
    return {
        "losses": [whole["losses"], sharded["losses"]],
        "apart": apart(whole["model"], sharded["model"]) if is_first else None,
        "bytes": ranks.told([whole["bytes"], sharded["bytes"]]),
    }


def resumed(folder: Path, own: Path, ranks: Ranks) -> dict[str, Any]:
    """Sharded trainings: one as it is, one stopped after three steps, one that goes on from one rank's state."""
    whole, losses = trained(own, folder / "whole", ranks)
    _, first = trained(own, folder / "cut", ranks, stop=3)
    if ranks.worker.rank == 0:
        shutil.copytree(folder / "cut", folder / "for one")
    torch.rand(3)  # whatever other random numbers were drawn since
    again, rest = trained(own, folder / "cut", ranks)
    other, from_one = trained(own, folder / "of one", ranks)
    is_first = ranks.worker.rank == 0
    if is_first:
        torch.save(dict(whole.state_dict()), folder / "whole.pt")
    return {
        "losses": losses,
        "cut": [first, rest],
        "is_equal": is_first and apart(whole, again) == 0.0,
        "from_one": from_one,
        "from_one_apart": apart(whole, other) if is_first else None,
    }


def main() -> None:
    folder = Path(sys.argv[1])
    worker = joined()
    ranks, own = Ranks(worker), folder / f"rank {worker.rank}"
    found = {"steps": {name: compared(own, CASES[name], ranks) for name in json.loads(sys.argv[2])}}
    if "resumes" in sys.argv:
        found["resumed"] = resumed(folder, own, ranks)
    if worker.rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    leave()


if __name__ == "__main__":
    main()
