"""Generate Any Scene, shown on drawn scenes: selection by questions, self-improvement, refinement by rewards.

    python benchmarks/gas_learns.py --work FOLDER [--processes N] [--arm ARM] [--small]

What is fixed stands in gas_learns.toml, written before the first run. A start is the renderer `tokens`, taught on
faulty pictures. Arms:

- `select`: of pictures with faults planted in them, the one that `scene-questions` prefers (with the judge that knows
  what was drawn) against a random one, and against that whose words are most like the caption's. How good a picture is,
  is told by no question: the share of things that have their kind, colour, column and row.
- `improve`: the start draws candidates of new graphs, and learns again from the best of each, of the top fraction.
- `grpo`: the start is refined on the new graphs with the reward `scene-questions`.
- `own`: as `improve`, from as many candidates chosen by chance; `again`: more training on the faulty pictures. Both
  for as many steps as `improve`, to tell what training alone is worth.

The score is the mean balanced score of the likeliest picture of each held-out graph, none of which was learnt from.
One JSON line an arm and seed, kept in FOLDER: a run that was cut goes on. Then one with all of it; intervals
are 95 %, bootstrapped over graphs. `--small`: few graphs and steps, to see that it runs.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from PIL import Image

from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.graph import Sample
from sgforge.selection import Selection
from sgforge.stages import Checkpoint, Failure, Part, Resources
from sgforge_gas.captions import Writer
from sgforge_gas.config import DrawnJudgeOptions, GasOptions, SceneQuestionsOptions, TokensOptions
from sgforge_gas.judging.drawn import DrawnJudge, answers_of
from sgforge_gas.judging.reward import SceneQuestionsReward
from sgforge_gas.questions import Asker, score_answers
from sgforge_gas.rendering.codes import codes_of, prompt_of, things_of
from sgforge_gas.rendering.layout import Drawn, laid_out
from sgforge_gas.rendering.procedural import NOTE, png_of, with_faults
from sgforge_gas.rendering.token_model import TokenModel, load, noise_of, save, say, teach
from sgforge_gas.rendering.tokens import TokensRenderer
from sgforge_gas.sampling import Sampler
from sgforge_gas.structures.dice import dice_of
from sgforge_gas.vocabulary import load_vocabulary
from sgforge_grpo.config import GrpoOptions
from sgforge_grpo.refining.refiners import GrpoRefiner

SCENES: Final = Path(__file__).parents[1] / "examples/gas/scenes.toml"
FIXED: Final = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
SMALL: Final = {
    **{"seeds": [1], "select_graphs": 40, "learnt": 40, "start_steps": 20, "round_graphs": 30, "candidates": 2},
    **{"round_steps": 10, "held_out": 20, "grpo_steps": 2, "grpo_batch": 4, "grpo_group": 4},
}
ARMS: Final = ("select", "improve", "own", "again", "grpo")
_LINES: Final = "lines.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where it is kept; a temporary folder without it")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--arm", choices=ARMS, action="append")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as spare:
        work = (args.work or Path(spare)) / ("small" if args.small else "full")
        work.mkdir(parents=True, exist_ok=True)
        fixed = {**FIXED, **(SMALL if args.small else {})}
        started = time.perf_counter()
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(args.processes, mp_context=context) as pool:
            run_arms(pool, args.arm or ARMS, fixed, work)
        print(json.dumps({"benchmark": "gas_learns", "seconds": round(time.perf_counter() - started), **told(work)}))


def run_arms(pool: Executor, arms: Sequence[str], fixed: dict[str, Any], work: Path) -> None:
    """Every arm of every seed that has no line yet; starts first, for the others begin with them."""
    done = {(line["arm"], line["seed"]) for line in lines_of(work)}
    todo = [(arm, seed) for arm in arms for seed in fixed["seeds"] if (arm, seed) not in done]
    running = [pool.submit(arm_of, arm, seed, fixed, work) for arm, seed in todo if arm == "select"]
    begun = sorted({seed for arm, seed in todo if arm != "select"})
    starts = [pool.submit(start_of, seed, fixed, work) for seed in begun]
    for start in starts:
        start.result()
    running += [pool.submit(arm_of, arm, seed, fixed, work) for arm, seed in todo if arm != "select"]
    for line in finished(running):
        with (work / _LINES).open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps({name: value for name, value in line.items() if not isinstance(value, list)}), flush=True)


def finished(running: Sequence[Future]) -> Iterator[dict[str, Any]]:
    for one in as_completed(running):
        yield one.result()


def arm_of(arm: str, seed: int, fixed: dict[str, Any], work: Path) -> dict[str, Any]:
    """The line of an arm and seed: a figure of every graph."""
    torch.set_num_threads(1)
    started = time.process_time()
    if arm == "select":
        found: dict[str, Any] = selected(seed, fixed)
    else:
        graphs = Graphs.of(seed, fixed)
        before = held_out_scores(model_in(start_of(seed, fixed, work)), graphs)
        after = held_out_scores({"improve": improved, "own": improved, "again": taught_again, "grpo": refined}[arm](
            arm, seed, fixed, work, graphs
        ), graphs)  # fmt: skip
        found = {"start": mean(before), "end": mean(after), "before": before, "after": after}
    return {"arm": arm, "seed": seed, "cpu_min": round((time.process_time() - started) / 60, 2), **found}


# Graphs.


def drawable(seed: int, count: int, complexity: Sequence[int], without: Sequence[Sample] = ()) -> list[Sample]:
    """Graphs that can be drawn, without stacks, none of them equal to one of others."""
    options = GasOptions(complexity=tuple(complexity), vocabulary=SCENES, scene_attributes=(0,), seed=seed)
    known = {tuple(prompt_of(sample.graph)) for sample in without}
    found: list[Sample] = []
    for sample in Sampler(options).samples(range(8 * count)):
        things = laid_out(sample.graph)
        is_flat = not isinstance(things, Failure) and all(thing.on < 0 for thing in things)
        if is_flat and tuple(prompt_of(sample.graph)) not in known:
            found.append(sample)
        if len(found) == count:
            break
    return found


def layout_of(sample: Sample) -> list[Drawn]:
    """The things of a graph that can be drawn."""
    things = laid_out(sample.graph)
    assert not isinstance(things, Failure)
    return things


@attrs.frozen(kw_only=True)
class Graphs:
    """Those of a seed: with faulty pictures, new ones, held-out ones."""

    learnt: list[Sample]
    new: list[Sample]
    held_out: list[Sample]

    @classmethod
    def of(cls, seed: int, fixed: dict[str, Any]) -> Graphs:
        learnt = drawable(seed, fixed["learnt"], fixed["complexity"])
        new = drawable(10 + seed, fixed["round_graphs"], fixed["complexity"])
        held_out = drawable(100 + seed, fixed["held_out"], fixed["complexity"], [*learnt, *new])
        return cls(learnt=learnt, new=new, held_out=held_out)


# Selection.


def selected(seed: int, fixed: dict[str, Any]) -> dict[str, Any]:
    """Of each graph the gain over the mean of its pictures, and over the one whose words are most alike."""
    words = load_vocabulary(SCENES)
    asker, writer = Asker(words), Writer(words)
    count = fixed["select_candidates"]
    dice = iter(dice_of(seed, range(fixed["select_graphs"] * count)))
    over_random, over_alike = [], []
    for sample in drawable(seed, fixed["select_graphs"], fixed["complexity"]):
        things = layout_of(sample)
        pictures = [shown_in(png_of(with_faults(things, fixed["fault_rate"], next(dice)), 64, "room"))
                    for _ in range(count)]  # fmt: skip
        asked = asker.ask(sample.graph)
        caption = writer.write(sample.graph).text
        truths = [truth(things, one) for one in pictures]
        chosen = truths[int(np.argmax([score_answers(asked, answers_of(one, asked)).balanced for one in pictures]))]
        over_random.append(round(chosen - mean(truths), 6))
        over_alike.append(round(chosen - truths[int(np.argmax([likeness(caption, one) for one in pictures]))], 6))
    return {"random": mean(over_random), "similarity": mean(over_alike), "over_random": over_random,
            "over_similarity": over_alike}  # fmt: skip


def shown_in(data: bytes) -> list[Drawn]:
    """What a picture notes that was drawn."""
    return [Drawn(**row) for row in json.loads(Image.open(io.BytesIO(data)).info[NOTE])]


def truth(meant: Sequence[Drawn], drawn: Sequence[Drawn]) -> float:
    """The share of things that were drawn as they were meant."""
    left = [(one.label, one.colour or "grey", one.column, one.row) for one in drawn]
    right = 0
    for one in meant:
        key = (one.label, one.colour or "grey", one.column, one.row)
        if key in left:
            left.remove(key)
            right += 1
    return right / max(len(meant), len(drawn))


def likeness(caption: str, drawn: Sequence[Drawn]) -> float:
    """How many words two texts share, of all that either has: what an image-text similarity sees of a scene."""
    words = set(caption.casefold().replace(";", "").replace(".", "").split())
    other = {word for one in drawn for word in (one.label, one.colour or "grey")}
    return len(words & other) / len(words | other)


# Learning.


def start_of(seed: int, fixed: dict[str, Any], work: Path) -> Path:
    """The folder of the start, made once."""
    folder = work / f"start-{seed}"
    if not folder.exists():
        torch.set_num_threads(1)
        model = load(TokensOptions(), Resources(seed=seed))
        learn(model, faulty_pairs(seed, fixed), fixed["start_steps"], fixed["start_rate"], seed)
        aside = Path(tempfile.mkdtemp(dir=work, prefix=".start-"))
        save(model, aside)
        aside.rename(folder)
    return folder


def faulty_pairs(seed: int, fixed: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    samples = drawable(seed, fixed["learnt"], fixed["complexity"])
    dice = iter(dice_of(seed, range(len(samples))))
    found = []
    for sample in samples:
        things = layout_of(sample)
        found.append(
            (prompt_of(sample.graph), codes_of(with_faults(things, fixed["fault_rate"], next(dice)) or things))
        )
    return found


def learn(model: TokenModel, pairs: Sequence[Any], steps: int, rate: float, seed: int) -> None:
    teach(model, pairs, TokensOptions(steps=steps, rate=rate), Resources(seed=seed))


def model_in(folder: Path) -> TokenModel:
    return load(TokensOptions(checkpoint=folder), Resources())


def worth(asker: Asker, sample: Sample, codes: Sequence[int]) -> float:
    """The balanced score of a picture, by the judge that knows what was drawn."""
    asked = asker.ask(sample.graph)
    return score_answers(asked, answers_of(things_of(codes), asked)).balanced


def held_out_scores(model: TokenModel, graphs: Graphs) -> list[float]:
    """Of the likeliest picture of each held-out graph."""
    asker = Asker(load_vocabulary(SCENES))
    said = say(model, [prompt_of(sample.graph) for sample in graphs.held_out], None, 1.0)
    return [round(worth(asker, sample, one.codes), 6) for sample, one in zip(graphs.held_out, said, strict=True)]


def improved(arm: str, seed: int, fixed: dict[str, Any], work: Path, graphs: Graphs) -> TokenModel:
    """The start after a round on its own pictures: the best ones, or by chance as many."""
    model = model_in(start_of(seed, fixed, work))
    asker = Asker(load_vocabulary(SCENES))
    count = fixed["candidates"]
    prompts = [prompt_of(sample.graph) for sample in graphs.new]
    noise = [noise_of(seed * 1_000_003 + place) for place in range(len(prompts) * count)]
    said = say(model, [prompt for prompt in prompts for _ in range(count)], noise, 1.0)
    rows = []
    for place, (sample, prompt) in enumerate(zip(graphs.new, prompts, strict=True)):
        own = [one.codes for one in said[place * count : (place + 1) * count]]
        scores = [worth(asker, sample, codes) for codes in own]
        best = int(np.argmax(scores))
        rows.append((scores[best], prompt, own[best]) if arm == "improve" else (0.0, prompt, own[0]))
    # A sort keeps the order of equals, and the candidates come in the order of the graphs: by chance in arm `own`.
    rows.sort(key=lambda row: -row[0])
    kept = rows[: round(len(rows) * fixed["top_fraction"])]
    learn(model, [row[1:] for row in kept], fixed["round_steps"], fixed["round_rate"], seed)
    return model


def taught_again(arm: str, seed: int, fixed: dict[str, Any], work: Path, graphs: Graphs) -> TokenModel:
    """The start after as many steps on the faulty pictures."""
    model = model_in(start_of(seed, fixed, work))
    learn(model, faulty_pairs(seed, fixed), fixed["round_steps"], fixed["round_rate"], seed + 50)
    return model


def refined(arm: str, seed: int, fixed: dict[str, Any], work: Path, graphs: Graphs) -> TokenModel:
    """The start after `grpo`, which goes on from its own states."""
    out = work / f"grpo-{seed}"
    out.mkdir(exist_ok=True)
    reward = SceneQuestionsReward(SceneQuestionsOptions(vocabulary=SCENES))
    judge = Part("judge", 1.0, Resources(), DrawnJudge(DrawnJudgeOptions()))
    reward.setup(Resources(parts={"judge": (judge,)}))
    options = GrpoOptions(
        rewards=("scene-questions",), steps=fixed["grpo_steps"], batch=fixed["grpo_batch"],
        group=fixed["grpo_group"], rate=fixed["grpo_rate"],
    )  # fmt: skip
    resources = Resources(
        seed=seed,
        checkpoint=Checkpoint.of(start_of(seed, fixed, work)),
        student=TokensRenderer(TokensOptions()),
        parts={"rewards": (Part("scene-questions", 1.0, Resources(), reward),)},
    )
    refiner = GrpoRefiner(options)
    refiner.setup(resources)
    return model_in(refiner.refine(published(out, graphs.new).path, Selection(), out, resources).path)


def published(folder: Path, samples: Sequence[Sample]) -> Snapshot:
    """Graphs as a snapshot, made anew by a run that was cut while it wrote."""
    data = folder / "data"
    if not (data / "snapshots").exists():
        shutil.rmtree(data, ignore_errors=True)
        with DatasetWriter.open(data) as writer:
            keys = [place.to_bytes(16, "big") for place in range(len(samples))]
            writer.publish_source([attrs.evolve(one, split="train") for one in samples], keys)
    (snapshot,) = (data / "snapshots").iterdir()
    return Snapshot.open(snapshot)


# What is told of all lines.


def lines_of(work: Path) -> list[dict[str, Any]]:
    path = work / _LINES
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def told(work: Path) -> dict[str, Any]:
    """Gains of each arm in all and by seed, and of `improve` and `grpo` over training alone."""
    lines = sorted(lines_of(work), key=lambda line: line["seed"])
    found: dict[str, Any] = {"cpu_min": round(sum(line["cpu_min"] for line in lines), 1)}
    gains: dict[str, dict[int, np.ndarray]] = {}
    for line in lines:
        if line["arm"] == "select":
            for over in ("over_random", "over_similarity"):
                gains.setdefault(f"select.{over}", {})[line["seed"]] = np.array(line[over])
        else:
            gains.setdefault(line["arm"], {})[line["seed"]] = np.array(line["after"]) - np.array(line["before"])
            found.setdefault("scores", {}).setdefault(line["arm"], []).append([line["start"], line["end"]])
    for arm, other in (("improve", "own"), ("improve", "again"), ("grpo", "again")):
        both = gains.get(arm, {}).keys() & gains.get(other, {}).keys()
        if both:
            gains[f"{arm} - {other}"] = {seed: gains[arm][seed] - gains[other][seed] for seed in sorted(both)}
    found["gains"] = {name: gain_of(by_seed) for name, by_seed in gains.items()}
    return found


def gain_of(by_seed: dict[int, np.ndarray]) -> dict[str, Any]:
    every = np.concatenate(list(by_seed.values()))
    return {
        "mean": mean(every),
        "interval": interval(every),
        "by_seed": {str(seed): [mean(rows), *interval(rows)] for seed, rows in by_seed.items()},
    }


def mean(values: Sequence[float] | np.ndarray) -> float:
    return round(float(np.mean(values)), 4)


def interval(values: np.ndarray, draws: int = 2000) -> list[float]:
    """The 95 % bootstrap interval of a mean, over graphs."""
    dice = np.random.default_rng(0)
    means = values[dice.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return [round(float(end), 4) for end in np.quantile(means, [0.025, 0.975])]


if __name__ == "__main__":
    main()
