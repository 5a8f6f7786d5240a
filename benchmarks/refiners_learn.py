"""Does refining help, and against what? Refiners from a weak and from a trained policy, more training on truth beside.

    python benchmarks/refiners_learn.py --work FOLDER [--start weak|whole] [--arm ARM] [--seed N] [--processes N]
        [--device cuda] [--small]

What is fixed stands in refiners_learn.toml, written before the first run. Arms: `grpo` and `raft` with F1, `recall`
(grpo with recall instead: does it teach to say everything?), each beside the form of the answer, and `sft`, training on
truth for as long. One JSON line a run, all of them printed and added to FOLDER/runs.jsonl as each ends; with the mean
over held-out images before and after, and the 95 % interval over images (1,000 resamples) of the difference. Of sampled
answers, two to each subject: `f1`, `precision`, `recall` of the subject's relations, `malformed` answers, relations
`said`. Of the likeliest answers, all subjects of an image together: `greedy_f1`, `greedy_malformed`, and `r20`, `r50`,
recall of the K likeliest pairs (by the probability of what was said of each). The weak start is the whole training as
it was at a third of its steps, in the middle of its schedule. Everything is kept in FOLDER; a run that was cut goes on,
runs that are done are not made again. `--device`: where the start is trained, whose time does not count; the runs are
on the CPU, with one thread each. `--small`: few scenes and steps, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from safetensors.torch import load_file

import sgforge as sg
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.durable import write_json
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.stages import Checkpoint, Outcome, Part, Resources
from sgforge.stages.policies import Policy, Rollout
from sgforge.testing.scenes import scene_samples
from sgforge_grpo.config import FamilyOptions, GraphRewardOptions, GrpoOptions, RaftOptions
from sgforge_grpo.refining.drawing import bare, truth_of
from sgforge_grpo.refining.refiners import GrpoRefiner, RaftRefiner
from sgforge_grpo.rewards import F1Reward, FormatReward, PrecisionReward, RecallHardReward
from sgforge_robin.config import RobinOptions
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.student import RobinStudent
from sgforge_robin.training.stages import STAGES

FIXED: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
SMALL: Final = {
    **{"learnt": 12, "unseen": 6, "held_out": 3, "weak_steps": 2, "whole_steps": 3},
    **{"images": 2, "group": 2, "batch": 1, "seeds": [0], "minutes": 0},
}
ARMS: Final = ("grpo", "raft", "recall", "sft")
SAMPLED: Final = ("f1", "precision", "recall", "malformed", "said")
GREEDY: Final = ("greedy_f1", "greedy_malformed", "r20", "r50")
FIRST: Final = {"learnt": 0, "unseen": 10_000, "held_out": 100_000}
"""Seeds of the scenes begin here."""
STRETCH: Final = 250
COLD: Final = 1e-3
"""A temperature at which the likeliest token is drawn."""
AT_ONCE: Final = 10
"""Images that are asked together when the figures are taken."""
PROBE: Final = 5
"""Steps that say how long one takes."""
Figures = dict[str, np.ndarray]


@attrs.frozen
class Run:
    """One arm with one seed from one start; arm `none` is the start itself."""

    start: str
    arm: str
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--start", choices=("weak", "whole"), default="weak")
    parser.add_argument("--arm", choices=ARMS, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    bench = Bench(args.work / ("small" if args.small else "full"), {**FIXED, **(SMALL if args.small else {})})
    one_thread()
    bench.draw(args.processes)
    bench.start(args.start, args.device)
    seeds = args.seed or bench.fixed["seeds"]
    # The start is measured beside the first runs, which need its figures at their end.
    runs = [Run(args.start, "none", 0)] + [Run(args.start, arm, seed) for seed in seeds for arm in args.arm or ARMS]
    lines = args.work / "runs.jsonl"
    done = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    known = [(line["folder"], Run(line["start"], line["arm"], line["seed"])) for line in done]
    left = [one for one in runs if (bench.folder.name, one) not in known]
    for line in made(attrs.evolve(bench).line, left, args.processes):
        with lines.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def one_thread() -> None:
    """Runs beside each other must not share threads; and numbers near 0 are slow on a CPU."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def made(make: Callable[[Any], Any], given: Sequence[Any], processes: int) -> Iterator[Any]:
    """What is made of each that is given, as it ends."""
    if processes == 1:
        yield from map(make, given)
        return
    failed: list[BaseException] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=one_thread) as pool:
        for one in as_completed([pool.submit(make, each) for each in given]):
            if (error := one.exception()) is None:
                yield one.result()
            else:  # the others go on
                failed.append(error)
                print(f"a run failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    if failed:
        raise failed[0]


@attrs.frozen(slots=False, eq=False)
class Bench:
    """What all runs share: scenes, starts and what is fixed; `folder` keeps all of it."""

    folder: Path
    fixed: dict[str, Any]

    @cached_property
    def roots(self) -> Roots:
        return Roots({"scenes": self.folder / "scenes"})

    @cached_property
    def learnt(self) -> Snapshot:
        return self._published("learnt")

    @cached_property
    def unseen(self) -> Snapshot:
        return self._published("unseen")

    @cached_property
    def held(self) -> list[sg.Sample]:
        found = self._scenes(self.fixed["held_out"], FIRST["held_out"])
        return [attrs.evolve(one, image=self.roots.image(one.uri or "")) for one in found]

    def draw(self, processes: int) -> None:
        """Draw all scenes that are not there, in stretches; and publish those to learn from."""
        stretches = [
            range(first + begin, first + min(begin + STRETCH, self.fixed[name]))
            for name, first in FIRST.items()
            for begin in range(0, self.fixed[name], STRETCH)
        ]
        for _ in made(attrs.evolve(self).drawn, stretches, processes):
            pass
        for name in ("learnt", "unseen"):
            self._published(name)

    def drawn(self, numbers: range) -> int:
        return len(list(self._scenes(len(numbers), numbers.start)))

    def _scenes(self, count: int, first: int) -> Iterator[sg.Sample]:
        return scene_samples(self.folder / "scenes", count, first, size=128, uri="scenes:", pixel_relations=True)

    def _published(self, name: str) -> Snapshot:
        """Scenes as a snapshot, made once."""
        folder, count = self.folder / name, self.fixed[name]
        if not (folder / "snapshots").exists():
            samples = self._scenes(count, FIRST[name])
            with DatasetWriter.open(folder) as writer:
                writer.publish_source(
                    [attrs.evolve(one, split="train") for one in samples],
                    [place.to_bytes(16, "big") for place in range(count)],
                )
        (snapshot,) = (folder / "snapshots").iterdir()
        return Snapshot.open(snapshot)

    def student(self, **options: Any) -> RobinStudent:
        common = {"images": self.fixed["images"], "tasks": self.fixed["tasks"], "reference_layer": True}
        common |= {"constrained": False, "temperature": 1.0, "max_tokens": 96}
        return RobinStudent(RobinOptions(**{**common, **options}))

    def start(self, name: str, device: str = "cpu") -> Checkpoint:
        """The training on truth that all runs go on from; made once, on any device."""
        resources = Resources(roots=self.roots, devices=(device,))
        out, kept = self.folder / "start-whole", self.folder / "weak.safetensors"
        state = out / f"state-{self.fixed['weak_steps']:08d}" / "state.safetensors"
        if not kept.exists():
            if not state.exists():
                self._stopped(out, resources)
            aside = kept.with_suffix(".aside")
            shutil.copyfile(state, aside)
            aside.rename(kept)
        whole = self.trained(out, self.fixed["whole_steps"], resources)
        return whole if name == "whole" else self._as_it_was(whole, kept)

    def _stopped(self, out: Path, resources: Resources) -> None:
        """The whole training as far as a third of its schedule; its state is left."""

        def stop(name: str, value: float, step: int) -> None:
            if step == self.fixed["weak_steps"]:
                signal.raise_signal(signal.SIGTERM)

        with suppress(StepError):
            self.trained(out, self.fixed["whole_steps"], attrs.evolve(resources, reporter=stop))

    def _as_it_was(self, whole: Checkpoint, kept: Path) -> Checkpoint:
        """A checkpoint of the weights of a state, with all else as the end of its training has it."""
        out = self.folder / "start-weak"
        if not out.exists():
            robin = TrainedRobin.load(whole.path)
            weights = {name: value for name, value in load_file(kept).items() if name.startswith("model/")}
            named = {name.removeprefix("model/"): value for name, value in weights.items()}
            found = robin.model.load_state_dict(named, strict=False)
            if found.unexpected_keys or set(dict(robin.model.named_parameters())) - set(named):
                raise RuntimeError(f"{kept} is of another model")
            aside = self.folder / "start-weak.aside"
            aside.mkdir(exist_ok=True)
            robin.save(aside)
            aside.rename(out)
        return Checkpoint.of(out)

    def before(self, start: str) -> Figures:
        """Figures of a start, measured once."""
        kept = self.folder / f"before-{start}.json"
        if not kept.exists():
            write_json(kept, {name: row.tolist() for name, row in self.measured(self.start(start)).items()})
        return {name: np.array(row) for name, row in json.loads(kept.read_text()).items()}

    def trained(self, out: Path, steps: int, resources: Resources, rate: float = 1.0) -> Checkpoint:
        out.mkdir(parents=True, exist_ok=True)
        student = self.student(steps=steps, compile=False, rate=rate)
        return student.train(self.learnt.path, sg.Selection(), out, resources)

    def line(self, run: Run) -> dict[str, Any]:
        """Make a run, and what it gave."""
        line = {"benchmark": "refiners_learn", "folder": self.folder.name} | attrs.asdict(run)
        if run.arm == "none":
            return line | compared(self.before(run.start), self.before(run.start))
        out = self.folder / f"{run.start}-{run.arm}-{run.seed}"
        out.mkdir(parents=True, exist_ok=True)
        steps, meter = self._steps(run, out), Meter(out / "spent.json")
        after = self.measured(self._learned(run, out / "run", steps, meter))
        spent = {"steps": steps, "cpu_min": round(meter.spent / 60, 2)}
        return line | spent | compared(self.before(run.start), after)

    def _steps(self, run: Run, out: Path) -> int:
        """As many as the time is for, by a few that are thrown away; kept, so that a run that was cut goes on."""
        kept = out / "steps.json"
        if not kept.exists():
            steps = 1
            if minutes := self.fixed["minutes"]:
                probe, times = out / "probe", list[float]()
                shutil.rmtree(probe, ignore_errors=True)
                told = "loss" if run.arm == "sft" else "seconds"
                self._learned(
                    run, probe, PROBE, lambda name, *_: times.append(time.process_time()) if name == told else None
                )
                steps = max(1, int(minutes * 60 * (len(times) - 1) / (times[-1] - times[0])))
            write_json(kept, steps)
        return int(json.loads(kept.read_text()))

    def _learned(self, run: Run, out: Path, steps: int, reporter: Callable[[str, float, int], None]) -> Checkpoint:
        out.mkdir(parents=True, exist_ok=True)
        resources = Resources(roots=self.roots, checkpoint=self.start(run.start), seed=run.seed, reporter=reporter)
        if run.arm == "sft":
            return self.trained(out, steps, resources, self.fixed["rate"] / STAGES["scratch"].rates["language"])
        reward: Any = F1Reward(FamilyOptions())
        if run.arm == "recall":
            reward = RecallHardReward(GraphRewardOptions(wrong=0.0))
        shared = {name: self.fixed[name] for name in ("batch", "group", "rate")}
        refiner: GrpoRefiner | RaftRefiner = (
            RaftRefiner(RaftOptions(rewards=(sg.Use("x"), sg.Use("format")), steps=steps, **shared))
            if run.arm == "raft"
            else GrpoRefiner(GrpoOptions(rewards=(sg.Use("x"), sg.Use("format")), steps=steps, **shared))
        )
        form = FormatReward(GraphRewardOptions())
        parts = {
            "rewards": (
                Part("x", 1.0, Resources(), reward),
                Part("format", self.fixed["format_weight"], Resources(), form),
            )
        }
        resources = attrs.evolve(resources, student=self.student(), parts=parts)
        refiner.setup(resources)
        return refiner.refine(self.unseen.path, sg.Selection(), out, resources)

    def measured(self, checkpoint: Checkpoint) -> Figures:
        """Figures of each held-out image."""
        rows = {name: np.zeros(len(self.held)) for name in (*SAMPLED, *GREEDY)}
        resources = Resources(checkpoint=checkpoint, roots=self.roots)
        warm, cold = (self.student(temperature=value).policy(resources) for value in (1.0, COLD))
        for first in range(0, len(self.held), AT_ONCE):
            samples = self.held[first : first + AT_ONCE]
            said = zip(samples, answers(warm, samples, 2), answers(cold, samples, 1), strict=True)
            for place, (sample, drawn, likeliest) in enumerate(said, start=first):
                for name, value in {**sampled(sample, drawn), **greedy(sample, likeliest)}.items():
                    rows[name][place] = value
        return rows


class Meter:
    """CPU seconds of a run, those before it was cut too; told at each step of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = float(json.loads(path.read_text())) if path.exists() else 0.0
        self._begin = time.process_time()
        self.spent = self._before

    def __call__(self, name: str, value: float, step: int) -> None:
        if name == "loss":
            self.spent = self._before + time.process_time() - self._begin
            write_json(self._path, self.spent)


def answers(policy: Policy, samples: Sequence[sg.Sample], group: int) -> list[list[Rollout]]:
    """The policy's answers about each image."""
    found: dict[str, list[Rollout]] = {sample.image_id: [] for sample in samples}
    for one in policy.rollouts([bare(sample) for sample in samples], group=group, seed=0):
        found[one.sample.image_id].append(one)
    return list(found.values())


def sampled(sample: sg.Sample, rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Means over the sampled answers about an image."""
    truths = [truth_of(sample, one.part) for one in rollouts]
    outcomes: list[list[Outcome]] = [[one.outcome] for one in rollouts]
    rewards = {
        "f1": F1Reward(FamilyOptions()),
        "precision": PrecisionReward(FamilyOptions()),
        "recall": RecallHardReward(GraphRewardOptions(wrong=0.0)),
    }
    found = {
        name: float(np.mean([group[0].total for group in reward.score(truths, outcomes)]))
        for name, reward in rewards.items()
    }
    said = [len(one.outcome.graph.relations) for one in rollouts if one.outcome.graph is not None]
    malformed = float(np.mean([bool(one.outcome.faults) for one in rollouts]))
    return {**found, "malformed": malformed, "said": float(np.mean(said))}


def greedy(sample: sg.Sample, rollouts: Sequence[Rollout]) -> dict[str, float]:
    """The likeliest answer to each subject, all of an image against its truth."""
    outcomes = [one.outcome for one in rollouts]
    truth = {one.triplet for one in sample.graph.relations.values()}
    found = [row for one in outcomes if one.graph is not None for row in one.graph.relations.values()]
    said = sorted(found, key=lambda one: -(one.score or 0.0))
    pairs: dict[tuple[int, int], Any] = {}
    for one in said:
        pairs.setdefault((one.subject, one.object), one.triplet)
    ranked = [triplet in truth for triplet in pairs.values()]
    return {
        "greedy_f1": 2 * len(truth & {one.triplet for one in said}) / (len(said) + len(truth)),
        "greedy_malformed": float(np.mean([bool(one.faults) for one in outcomes])),
        "r20": sum(ranked[:20]) / len(truth),
        "r50": sum(ranked[:50]) / len(truth),
    }


def compared(before: Figures, after: Figures) -> dict[str, Any]:
    """Means before and after, and the interval of the difference over images."""
    dice = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for name in (*SAMPLED, *GREEDY):
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
