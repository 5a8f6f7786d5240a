"""Does refining help, and against what? Refiners from a weak and from a trained policy, more training on truth beside.

    python benchmarks/refiners_learn.py --work FOLDER [--start weak|whole] [--arm ARM] [--seed N] [--small]

What is fixed stands in refiners_learn.toml, written before the first run. Arms: `grpo` and `raft` with F1, `recall`
(grpo with recall alone: does it teach to say everything?), and `sft`, training on truth for as long. One JSON line a
run, all of them printed: reward of sampled answers (F1 of each subject), malformed sampled answers, relations said an
answer, precision and recall of sampled answers, on held-out scenes; each with the 95 % interval over images (1,000
resamples) of its difference from the start. The weak start is a training of a third as many steps, with a schedule of
its own. Everything is kept in FOLDER; a run that was cut goes on. `--small`: few scenes and steps, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch

import sgforge as sg
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Outcome, Part, Resources
from sgforge.testing.scenes import scene_samples
from sgforge_grpo.config import FamilyOptions, GraphRewardOptions, GrpoOptions, RaftOptions
from sgforge_grpo.refining.drawing import bare, truth_of
from sgforge_grpo.refining.refiners import GrpoRefiner, RaftRefiner
from sgforge_grpo.rewards import F1Reward, PrecisionReward, RecallHardReward
from sgforge_robin.config import RobinOptions
from sgforge_robin.student import RobinStudent

FIXED: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
SMALL: Final = {
    **{"learnt": 12, "unseen": 6, "held_out": 3, "weak_steps": 2, "whole_steps": 3},
    **{"images": 2, "group": 2, "batch": 1},
}
FIGURES: Final = ("f1", "precision", "recall", "malformed", "said")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", choices=("weak", "whole"), default="weak")
    parser.add_argument("--arm", choices=("grpo", "raft", "recall", "sft"), action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    fixed = {**FIXED, **(SMALL if args.small else {})}
    work = args.work / ("small" if args.small else "full")
    roots = Roots({"scenes": work / "scenes"})
    learnt = published(work, "learnt", fixed["learnt"], 0)
    unseen = published(work, "unseen", fixed["unseen"], 10_000)
    held = [
        attrs.evolve(one, image=roots.image(one.uri or ""))
        for one in scene_samples(
            work / "scenes", fixed["held_out"], 100_000, size=128, uri="scenes:", pixel_relations=True
        )
    ]
    steps = fixed[f"{args.start}_steps"]
    begin = trained(work / f"start-{args.start}", learnt, roots, steps, fixed, None)
    before = measured(begin, roots, held)
    for arm in args.arm or ("grpo", "raft", "recall", "sft"):
        for seed in args.seed or (fixed["seeds"][:1] if args.small else fixed["seeds"]):
            started = time.process_time()
            out = work / f"{args.start}-{arm}-{seed}"
            after = learned(arm, seed, out, (learnt, unseen), roots, begin, fixed, args.small)
            spent = (time.process_time() - started) / 60
            line = {
                "benchmark": "refiners_learn",
                "start": args.start,
                "arm": arm,
                "seed": seed,
                "cpu_min": round(spent, 1),
            }
            print(json.dumps(line | compared(before, measured(after, roots, held))), flush=True)


def published(work: Path, name: str, count: int, first: int) -> Snapshot:
    """Scenes as a snapshot, made once."""
    if not (work / name).exists():
        samples = scene_samples(work / "scenes", count, first, size=128, uri="scenes:", pixel_relations=True)
        with DatasetWriter.open(work / name) as writer:
            writer.publish_source(
                [attrs.evolve(one, split="train") for one in samples],
                [place.to_bytes(16, "big") for place in range(count)],
            )
    (snapshot,) = (work / name / "snapshots").iterdir()
    return Snapshot.open(snapshot)


def student(fixed: dict[str, Any], steps: int = 0, rate: float = 1.0) -> RobinStudent:
    return RobinStudent(
        RobinOptions(steps=steps, images=fixed["images"], rate=rate, constrained=False, temperature=1.0, max_tokens=96)
    )


def trained(
    out: Path, snapshot: Snapshot, roots: Roots, steps: int, fixed: dict[str, Any], begin: Checkpoint | None
) -> Checkpoint:
    out.mkdir(parents=True, exist_ok=True)
    resources = Resources(roots=roots, checkpoint=begin)
    return student(fixed, steps).train(snapshot.path, sg.Selection(), out, resources)


def learned(
    arm: str,
    seed: int,
    out: Path,
    data: tuple[Snapshot, Snapshot],
    roots: Roots,
    begin: Checkpoint,
    fixed: dict[str, Any],
    is_small: bool,
) -> Checkpoint:
    """An arm, for its CPU time: by as many steps as a first few take."""
    out.mkdir(parents=True, exist_ok=True)
    learnt, unseen = data
    if arm == "sft":
        steps = (
            1 if is_small else _steps_within(fixed["minutes"], _seconds_of_training(learnt, roots, begin, fixed, out))
        )
        return trained(out / "run", learnt, roots, steps, fixed, begin)
    made = {
        "grpo": (GrpoRefiner, GrpoOptions),
        "raft": (RaftRefiner, RaftOptions),
        "recall": (GrpoRefiner, GrpoOptions),
    }
    refiner, options = made[arm]
    reward: Any = RecallHardReward(GraphRewardOptions(wrong=0.0)) if arm == "recall" else F1Reward(FamilyOptions())
    steps = 1
    for run in ("probe", "run"):
        if run == "probe" and is_small:
            continue
        told: list[float] = []
        settings = options(
            rewards=("x",), steps=3 if run == "probe" else steps, batch=fixed["batch"], group=fixed["group"],
            rate=fixed["rate"],
        )  # fmt: skip
        folder = out / run
        folder.mkdir(exist_ok=True)
        resources = Resources(
            roots=roots, checkpoint=begin, seed=seed, student=student(fixed),
            reporter=lambda name, value, step, told=told: told.append(_now(name)),
            parts={"rewards": (Part("x", 1.0, Resources(), reward),)},
        )  # fmt: skip
        made_one = refiner(settings)
        made_one.setup(resources)
        found = made_one.refine(unseen.path, sg.Selection(), folder, resources)
        if run == "probe":
            times = [one for one in told if one]
            steps = _steps_within(fixed["minutes"], times[-1] - times[-2])
    return found


def _now(name: str) -> float:
    """CPU seconds at the end of a step, 0 with any other figure."""
    return time.process_time() if name == "seconds" else 0.0


def _steps_within(minutes: float, seconds: float) -> int:
    return max(1, int(minutes * 60 / max(seconds, 1e-3)))


def _seconds_of_training(
    snapshot: Snapshot, roots: Roots, begin: Checkpoint, fixed: dict[str, Any], out: Path
) -> float:
    times = []
    for steps in (1, 4):
        started = time.process_time()
        trained(out / f"probe-{steps}", snapshot, roots, steps, fixed, begin)
        times.append(time.process_time() - started)
    return (times[1] - times[0]) / 3


def measured(checkpoint: Checkpoint, roots: Roots, held: list[sg.Sample]) -> dict[str, np.ndarray]:
    """Figures of two sampled answers to each subject, a mean for each image."""
    policy = student({"images": 1}).policy(Resources(checkpoint=checkpoint, roots=roots))
    rewards = {
        "f1": F1Reward(FamilyOptions()),
        "precision": PrecisionReward(FamilyOptions()),
        "recall": RecallHardReward(GraphRewardOptions(wrong=0.0)),
    }
    rows: dict[str, list[float]] = {name: [] for name in FIGURES}
    for sample in held:
        rollouts = policy.rollouts([bare(sample)], group=2, seed=0)
        truths = [truth_of(sample, one.part) for one in rollouts]
        outcomes: list[list[Outcome]] = [[one.outcome] for one in rollouts]
        for name, reward in rewards.items():
            rows[name].append(float(np.mean([group[0].total for group in reward.score(truths, outcomes)])))
        rows["malformed"].append(float(np.mean([bool(one.outcome.faults) for one in rollouts])))
        said = [len(one.outcome.graph.relations) for one in rollouts if one.outcome.graph is not None]
        rows["said"].append(float(np.mean(said)))
    return {name: np.array(values) for name, values in rows.items()}


def compared(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> dict[str, Any]:
    """Means after, and the interval of the difference over images."""
    dice = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for name in FIGURES:
        difference = after[name] - before[name]
        draws = difference[dice.integers(0, len(difference), (1000, len(difference)))].mean(1)
        low, high = np.percentile(draws, [2.5, 97.5])
        found[name] = {
            "before": round(float(before[name].mean()), 4), "after": round(float(after[name].mean()), 4),
            "difference": [round(float(low), 4), round(float(high), 4)],
        }  # fmt: skip
    return found


if __name__ == "__main__":
    main()
