"""What Robin learns on made scenes, against `prior` and against its own twin that sees blank pictures.

    python benchmarks/robin_learns.py --work FOLDER [--arm ARM] [--steps N] [--device cuda] [--processes N] [--small]

Fixed before the first run: scenes 0 to 4999 at 128 pixels with `pixel_relations` train, 100000 to 100299 are held out;
predcls; R@50 and ngR@50 as convention `sgforge` counts them, average precision of a predicate over all held-out pairs.
All arms train on all 21 predicates. R@50, ngR@50 and mAP are scored on the 18 that boxes and labels may tell, `same
colour as`, `same pattern as` and `paler than` by their own precision. Prints one JSON line an arm, with the minutes of
its training, of CPU and of wall, cuts counted in, and with the 95 % interval (1,000 paired resamples of images) of R@50
minus prior's where prior was run in this folder.
Arms: `prior`; `pair-head`, beside a decoder that speaks of a tenth of the images; `head-alone` and `blank`, its twin
that sees grey pictures; `decoder`, words alone, ranked by the probabilities of words, with a reference layer, and
`no-references`, the same without one; and what might make words tell what only pixels do: `describe-first`, which
writes objects with their attributes before it relates them; `comparing-layer`, in which regions look at each other
before words see them; and `region-text-first`, which goes on from `region-text`, taught to say what regions are and are
like. `--device cuda` reckons in the same float32. `--dtype bfloat16` is fast where the CPU has it, and many times
slower where it has not. `--processes` draw the scenes.
Everything is kept in FOLDER: a training that was cut goes on, and each printed line is added to
FOLDER/full/figures.jsonl. `--small`: 60 scenes, a few steps, to see that it runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from PIL import Image

import sgforge as sg
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.images import Roots
from sgforge.stages import Judged, Ranking
from sgforge.testing.scenes import scene_samples
from sgforge_baseline.config import PriorOptions
from sgforge_baseline.prior import PriorStudent
from sgforge_eval.config import RecallOptions
from sgforge_eval.pipeline.evaluators import PredclsEvaluator
from sgforge_robin.config import RobinOptions
from sgforge_robin.student import RobinStudent

PIXELS: Final = ("same colour as", "same pattern as", "paler than")
SIDE: Final = 128
HELD: Final = 100_000
CHUNK: Final = 100
DRAWS: Final = 1000
SPOKEN: Final = 60
"""Held-out images whose free answers are read."""
COLD: Final = 1e-3
"""A temperature at which the likeliest token is drawn."""
ROBIN: Final = {"preset": "tiny", "images": 16, "rate": 1.0, "pair_head": True, "save_every": 50, "compile": False}
WORDS: Final = {"images": 4, "steps": 1400, "pair_head": False, "reference_layer": True}
"""Of the arms that speak of every image, which costs some ten times as much; also what fits into 30 minutes."""
ARMS: Final[dict[str, dict[str, Any]]] = {
    "pair-head": {"steps": 1250, "spoken": 0.1, "reference_layer": True},
    "head-alone": {"steps": 1250, "spoken": 0.0},
    "blank": {"steps": 1250, "spoken": 0.0},
    "decoder": WORDS,
    "no-references": {**WORDS, "reference_layer": False},
    "describe-first": {**WORDS, "steps": 600, "tasks": ("graph", "relations", "pair")},
    "comparing-layer": {**WORDS, "comparing_layer": True},
    "region-text": {**WORDS, "steps": 500, "tasks": ("describe", "attributes")},
    "region-text-first": {**WORDS, "steps": 1100},
    "prior": {},
}
"""Steps of 16 images, four epochs; of `pair-head` a tenth of the examples also speak, what fits into 30 minutes.
`head-alone` and its blank twin learn no words."""
BEFORE: Final = {"region-text-first": "region-text"}
"""Whose weights an arm goes on from."""


@attrs.frozen(eq=False)
class Scored:
    """One arm on the held-out images: recalls of each image (18 predicates), precision of each predicate."""

    recall: np.ndarray
    free: np.ndarray
    precision: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--arm", choices=ARMS, action="append")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, help="a shorter training, for a look at it")
    parser.add_argument("--ranker", choices=("pair-head", "language"), help="of an arm that has both")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="that draw scenes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    train, held = (60, 20) if args.small else (5_000, 300)
    folder = args.work / ("small" if args.small else "full")
    seen = scenes(folder, train, held, args.processes)
    for arm in args.arm or ARMS:
        data = blanked(folder, seen) if arm == "blank" else seen
        steps = 4 if args.small else args.steps
        ranker = args.ranker or ("pair-head" if ARMS[arm].get("pair_head", True) else "language")
        line = json.dumps(run(arm, folder, data, ranker, steps, sg.Resources(devices=(args.device,), dtype=args.dtype)))
        with (folder / "figures.jsonl").open("a") as kept:
            kept.write(f"{line}\n")
        print(line, flush=True)


@attrs.frozen(eq=False)
class Data:
    """The snapshot to learn from, its images, and the held-out samples."""

    snapshot: Snapshot
    roots: Roots
    held: list[sg.Sample]


def scenes(folder: Path, train: int, held: int, processes: int) -> Data:
    """The scenes, made once."""
    pictures = folder / "scenes"
    ranges = [(0, train), (HELD, HELD + held)]
    if processes > 1:
        parts = [(at, min(at + CHUNK, end)) for first, end in ranges for at in range(first, end, CHUNK)]
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.map(partial(drawn, pictures), parts, chunksize=1)
    roots = Roots({"scenes": pictures})
    kept = [attrs.evolve(sample, image=roots.image(sample.uri or "")) for sample in drawn(pictures, ranges[1])]
    return Data(published(folder / "data", pictures, ranges[0]), roots, kept)


def drawn(pictures: Path, numbers: tuple[int, int]) -> list[sg.Sample]:
    """The scenes from one number up to another; what is there is not drawn again."""
    first, end = numbers
    return list(scene_samples(pictures, end - first, first, size=SIDE, uri="scenes:", pixel_relations=True))


def blanked(folder: Path, seen: Data) -> Data:
    """The same scenes, every picture a grey one."""
    blank = folder / "blank"
    blank.mkdir(exist_ok=True)
    for path in sorted((folder / "scenes").glob("*.png")):
        if not (blank / path.name).exists():
            Image.new("RGB", (SIDE, SIDE), (128, 128, 128)).save(blank / path.name)
    roots = Roots({"scenes": blank})
    return Data(
        seen.snapshot, roots, [attrs.evolve(sample, image=roots.image(sample.uri or "")) for sample in seen.held]
    )


def published(folder: Path, pictures: Path, numbers: tuple[int, int]) -> Snapshot:
    """The training scenes as a snapshot."""
    if not list(folder.glob("snapshots/*")):
        shutil.rmtree(folder, ignore_errors=True)  # one that was cut
        samples = drawn(pictures, numbers)
        with DatasetWriter.open(folder) as writer:
            writer.publish_source(
                [attrs.evolve(sample, split="train") for sample in samples],
                [place.to_bytes(16, "big") for place in range(len(samples))],
            )
    (snapshot,) = (folder / "snapshots").iterdir()
    return Snapshot.open(snapshot)


class Clock:
    """The minutes a training takes, of CPU and of wall, kept beside it, so that those before a cut count too."""

    def __init__(self, out: Path) -> None:
        self._path = out / "minutes.json"
        self._before: dict[str, float] = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def tick(self, metric: str, value: float, step: int) -> None:
        """Called with every figure that a training tells."""
        if metric == "loss" and step % 10 == 0:
            self.keep()

    def keep(self) -> dict[str, float]:
        """The minutes up to now, which are kept."""
        spent = {"cpu_min": time.process_time() - self._cpu, "wall_min": time.perf_counter() - self._wall}
        found = {name: self._before.get(name, 0.0) + seconds / 60 for name, seconds in spent.items()}
        aside = self._path.with_suffix(".tmp")
        aside.write_text(json.dumps(found))
        aside.replace(self._path)
        return {name: round(minutes, 1) for name, minutes in found.items()}


def run(arm: str, folder: Path, data: Data, ranker: str, steps: int | None, machine: sg.Resources) -> dict[str, Any]:
    """Train an arm, for so many steps where they are said, and score it."""
    options = {**ARMS[arm], **({"steps": steps} if steps and arm != "prior" else {})}
    name = f"{arm}, by words" if arm == "pair-head" and ranker == "language" else arm
    out = folder / f"out-{arm}-{options.get('steps', 0)}"
    out.mkdir(exist_ok=True)
    student: Any
    if arm == "prior":
        student = PriorStudent(PriorOptions())
    else:
        student = RobinStudent(RobinOptions(**{**ROBIN, **options}, ranker=ranker))
    clock = Clock(out)
    resources = attrs.evolve(machine, roots=data.roots, checkpoint=base_of(arm, folder), reporter=clock.tick)
    checkpoint = student.train(data.snapshot.path, sg.Selection(), out, resources)
    figures: dict[str, Any] = {"benchmark": "robin_learns", "arm": name, "device": machine.device, **clock.keep()}
    trained = {key: round(float(value), 4) for key, value in checkpoint.metrics.items()}
    if arm == "region-text":  # it was asked of no relation
        return figures | {"training": trained}
    student.setup(attrs.evolve(machine, dtype="float32", checkpoint=checkpoint))
    rankings = [ranking for sample in data.held for ranking in student.rank([sample])]
    scored = score(rankings, data.held)
    np.save(folder / f"recall-{name}.npy", scored.recall)
    learnable = [value for predicate, value in scored.precision.items() if predicate not in PIXELS]
    figures |= {
        "R@50": percent(scored.recall.mean()), "ngR@50": percent(scored.free.mean()),
        "mAP": percent(np.mean(learnable)), "AP": {key: percent(value) for key, value in scored.precision.items()},
        "training": trained,
    }  # fmt: skip
    if arm != "prior" and (folder / "recall-prior.npy").exists():
        figures["R@50 minus prior"] = interval(scored.recall - np.load(folder / "recall-prior.npy"))
    if ranker == "language" and arm != "prior":
        figures |= spoken(student, data.held, attrs.evolve(machine, dtype="float32", checkpoint=checkpoint))
    return figures


def base_of(arm: str, folder: Path) -> sg.Checkpoint | None:
    """The weights that an arm goes on from."""
    if arm not in BEFORE:
        return None
    found = sorted(folder.glob(f"out-{BEFORE[arm]}-[0-9]*/training.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit(f"{arm} goes on from {BEFORE[arm]}: run that arm first")
    return sg.Checkpoint.of(found[-1].parent)


def score(rankings: Sequence[Any], held: Sequence[sg.Sample]) -> Scored:
    """Recall and precision of rankings; the mean recall is checked against the product's own evaluator."""
    recall, free = [], []
    by_predicate: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for ranking, sample in zip(rankings, held, strict=True):
        assert isinstance(ranking, Ranking), ranking
        truth = np.zeros(ranking.scores.shape, np.bool_)
        row = {tuple(pair): place for place, pair in enumerate(ranking.pairs.tolist())}
        column = {predicate: place for place, predicate in enumerate(ranking.predicates)}
        for one in sample.graph.relations.values():
            truth[row[one.subject, one.object], column[one.predicate]] = True
        for predicate, place in column.items():
            by_predicate.setdefault(predicate, []).append((ranking.scores[:, place], truth[:, place]))
        kept = [place for predicate, place in column.items() if predicate not in PIXELS]
        scores, right = ranking.scores[:, kept], truth[:, kept]
        best = scores.argmax(axis=1)
        pairs = np.arange(len(scores))
        top = np.argsort(-scores[pairs, best], kind="stable")[:50]
        recall.append(right[top, best[top]].sum() / right.sum())
        flat = np.argsort(-scores.ravel(), kind="stable")[:50]
        free.append(right.ravel()[flat].sum() / right.sum())
    check(rankings, held, float(np.mean(recall)))
    precision = {
        predicate: average_precision(np.concatenate([s for s, _ in parts]), np.concatenate([t for _, t in parts]))
        for predicate, parts in sorted(by_predicate.items())
    }
    return Scored(np.array(recall), np.array(free), precision)


def check(rankings: Sequence[Ranking], held: Sequence[sg.Sample], recall: float) -> None:
    """The product's evaluator gives the same mean recall on the 18 predicates."""
    judged = []
    for ranking, sample in zip(rankings, held, strict=True):
        kept = [place for place, predicate in enumerate(ranking.predicates) if predicate not in PIXELS]
        graph = sample.graph
        relations = [one for one in graph.all.relations if one.predicate not in PIXELS]
        truth = sg.SceneGraph(graph.width, graph.height, graph.all.regions, relations)
        cut = Ranking(
            ranking.regions, ranking.pairs, tuple(ranking.predicates[place] for place in kept), ranking.scores[:, kept]
        )
        judged.append(Judged(sample.image_id, truth, cut))
    report = PredclsEvaluator(RecallOptions(k=(50,), bootstrap=0)).evaluate(judged)
    assert abs(report.values["R@50"] - recall) < 1e-6, (dict(report.values), recall)


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """The mean of the precision at each true pair, by falling score."""
    right = truth[np.argsort(-scores, kind="stable")]
    at = np.flatnonzero(right) + 1
    return float((np.arange(1, len(at) + 1) / at).mean()) if len(at) else float("nan")


def interval(difference: np.ndarray) -> list[float]:
    """The mean difference and its 95 % interval over images, in percent."""
    dice = np.random.default_rng(0)
    means = difference[dice.integers(0, len(difference), (DRAWS, len(difference)))].mean(axis=1)
    return [percent(value) for value in (difference.mean(), *np.percentile(means, (2.5, 97.5)))]


def spoken(student: RobinStudent, held: Sequence[sg.Sample], machine: sg.Resources) -> dict[str, float]:
    """What share of the likeliest answers about a subject has anything the parser drops, without a grammar."""
    bare = [attrs.evolve(sample, graph=sg.SceneGraph(SIDE, SIDE, sample.graph.all.regions)) for sample in held[:SPOKEN]]
    answers = RobinStudent(attrs.evolve(student.options, temperature=COLD)).policy(machine).rollouts(bare, 1, 0)
    faulty = sum(bool({*one.outcome.faults} - {"duplicate-relation"}) for one in answers)
    return {"subjects": len(answers), "malformed": percent(faulty / len(answers))}


def percent(value: Any) -> float:
    return round(100 * float(value), 1)


if __name__ == "__main__":
    main()
