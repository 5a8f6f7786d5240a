"""Refiner `grpo` on Robin at its full size on one CUDA device: rollouts a second, time and memory of a step.

    python benchmarks/gpu/grpo.py --work FOLDER            python benchmarks/gpu/grpo.py --work FOLDER --small

Random weights of the size of preset "3b" (with a small table of tokens), group 8, scenes of about 9 regions, answers of
at most 48 tokens, two images a step: about 150 answers. All weights learn, in float32 under bfloat16 products; AdamW.
`outside_model`: the share of a step that is neither sampling nor learning, rewards included; bar 0.1. One JSON line.
Without CUDA, or with `--small`, the model is tiny: to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import attrs
import torch

import sgforge as sg
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.images import Roots
from sgforge.stages import Part, Resources
from sgforge.testing.scenes import scene_samples
from sgforge_grpo.config import FamilyOptions, GrpoOptions
from sgforge_grpo.refining.refiners import GrpoRefiner
from sgforge_grpo.rewards import F1Reward
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import Known, TrainedRobin
from sgforge_robin.model.checkpoint import build
from sgforge_robin.policy import RobinPolicy
from sgforge_robin.sizes import SIZES
from sgforge_robin.tokens import RobinTokenizer
from sgforge_robin.training.optimizer import freeze
from sgforge_robin.training.stages import STAGES

SCENES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    is_small = args.small or not on_gpu
    args.work.mkdir(parents=True, exist_ok=True)
    student = RandomRobin("tiny" if is_small else "3b", 12 if is_small else 48)
    told = refined(args.work, student, 2 if is_small else args.steps, "cuda:0" if on_gpu else "cpu")
    rest = slice(1, None)  # the first step warms up
    answers = [row["answers"] for row in student.calls]
    figures = {
        "benchmark": "gpu_grpo",
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "weights": student.weights,
        "answers_a_step": median(answers),
        "tokens_an_answer": round(median(told["length"][rest]), 1),
        "rollouts_s": round(median([row["answers"] / row["seconds"] for row in student.calls[rest]]), 2),
        "step_s": round(median(told["seconds"][rest]), 3),
        "sampling_s": round(median([row["seconds"] for row in student.calls[rest]]), 3),
        "outside_model": round(median(told["outside_model"][rest]), 4),
        "bar_outside_model": 0.1,
        "mismatch": max(told.get("mismatch", [0.0])),
        "lessons_a_step": median(told["lessons"][rest]),
        "memory_gb": round(torch.cuda.max_memory_allocated() / 2**30, 2) if on_gpu else None,
    }
    print(json.dumps(figures))


class RandomRobin:
    """A student with random weights that offers its policy, whose sampling is timed."""

    def __init__(self, preset: Any, tokens: int) -> None:
        self.options = RobinOptions(preset=preset, max_tokens=tokens, temperature=1.0, checkpointing=True)
        self.weights = 0
        self.calls: list[dict[str, float]] = []

    def policy(self, resources: Resources, /) -> RobinPolicy:
        """A new model on the device."""
        torch.manual_seed(0)
        size = SIZES[self.options.preset]
        tokenizer = RobinTokenizer.trained(["on near behind holding left of in front of cup table man dog"] * 50, 512)
        with torch.device(resources.device):
            model = build(size.shape(len(tokenizer), tokenizer.special, None))
        model.to(resources.device)
        self.weights = sum(one.numel() for one in model.parameters())
        robin = TrainedRobin(model, tokenizer, Known(side=size.side, box_text=size.box_text))
        freeze(model, STAGES[self.options.stage])
        if self.options.checkpointing:
            model.recompute_activations()
        model.drop_nothing()
        policy = RobinPolicy(robin, self.options, resources)
        policy.save = lambda folder: (folder / "not-saved").write_text("")  # type: ignore[assignment,method-assign]
        policy.rollouts = self._timed(policy.rollouts, resources.device)  # type: ignore[method-assign]
        return policy

    def _timed(self, sample: Callable[..., Any], device: str) -> Callable[..., Any]:
        def timed(samples: Sequence[sg.Sample], /, group: int, seed: int) -> Any:
            wait(device)
            begin = time.perf_counter()
            found = sample(samples, group=group, seed=seed)
            wait(device)
            self.calls.append({"answers": len(found), "seconds": time.perf_counter() - begin})
            return found

        return timed


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


class Chance(F1Reward):
    """F1, and a little by the length of the answer: random weights say nothing true, yet a step must have lessons."""

    def score(self, samples: Any, outcomes: Any) -> Any:
        groups = zip(super().score(samples, outcomes), outcomes, strict=True)
        return [[_with_chance(*pair) for pair in zip(*group, strict=True)] for group in groups]


def _with_chance(credit: Any, outcome: Any) -> Any:
    return attrs.evolve(credit, total=min(1.0, credit.total + random.Random(outcome.text).random() / 100))


def refined(work: Path, student: RandomRobin, steps: int, device: str) -> dict[str, list[float]]:
    """Figures of each step."""
    snapshot = published(work)
    batch, group = (2, 8) if student.options.preset == "3b" else (1, 2)
    options = GrpoOptions(
        rewards=("f1",), steps=steps, batch=batch, group=group, rate=1e-6, pass_size=32, save_every=10**6
    )
    told: dict[str, list[float]] = {}
    out = work / "out"
    out.mkdir(exist_ok=True)
    (out / "refined.json").unlink(missing_ok=True)
    resources = Resources(
        devices=(device,),
        dtype="bfloat16" if device.startswith("cuda") else "float32",
        roots=Roots({"scenes": work / "scenes"}),
        student=student,
        reporter=lambda name, value, step: told.setdefault(name, []).append(value),
        parts={"rewards": (Part("f1", 1.0, Resources(), Chance(FamilyOptions())),)},
    )
    refiner = GrpoRefiner(options)
    refiner.setup(resources)
    refiner.refine(snapshot.path, sg.Selection(), out, resources)
    return told


def published(work: Path) -> Snapshot:
    """The scenes as a snapshot."""
    if not (work / "data").exists():
        samples = scene_samples(work / "scenes", SCENES, 0, size=128, uri="scenes:", pixel_relations=True)
        with DatasetWriter.open(work / "data") as writer:
            writer.publish_source(
                [attrs.evolve(sample, split="train") for sample in samples],
                [place.to_bytes(16, "big") for place in range(SCENES)],
            )
    (snapshot,) = (work / "data" / "snapshots").iterdir()
    return Snapshot.open(snapshot)


if __name__ == "__main__":
    main()
