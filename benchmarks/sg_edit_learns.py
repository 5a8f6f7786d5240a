"""Self-distillation on made scenes: what an editor between two rounds is worth (the paper's Figure 4, its direction).

    python benchmarks/sg_edit_learns.py --work FOLDER [--seeds 5] [--small]

Fixed before the first run: the student is `prior`; 30 seed scenes with true relations, 1,500 new ones with regions
alone, other scenes for each of 5 seeds; scenes 100000 to 100299 are held out; predcls, R@50 as convention `sgforge`
counts it. The first student labels the new scenes; an editor that knows the truth errs in a stated share of its
decisions; the second student learns from the seed and the labels. Labels count fully in every arm.

- `seed`: the seed alone. `unedited`: the student's labels of score 0.4 and more.
- `edited 10`, `edited 30`: of these, false ones removed and missing ones added, 10 or 30 % of the decisions wrong.
- `many`: its labels of 0.2 and more, unedited. `remove-only`: of these, false ones removed, 10 % wrong, none added.

Prints one JSON line: R@50 of each arm, and its difference from `seed` with the 95 % interval over images of each seed
(1,000 paired resamples). Bars: `edited 10` at least +4, `edited 30` +3, `unedited` at most +0.3 at its upper end;
`remove-only` at least +1 and `many` below 0 at its upper end.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs
import numpy as np

import sgforge as sg
from sgforge.dataset import DatasetWriter, Snapshot
from sgforge.testing.scenes import make_scene
from sgforge_baseline.config import PriorOptions
from sgforge_baseline.prior import PriorStudent

SIZE: Final = 128
HELD: Final = 100_000
DRAWS: Final = 1000
BARS: Final = {"edited 10": 4.0, "edited 30": 3.0, "remove-only": 1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="100 new scenes, 30 held out, one seed")
    args = parser.parse_args()
    started = time.process_time()
    new, held_out, seeds = (100, 30, 1) if args.small else (1_500, 300, args.seeds)
    held = [make_scene(HELD + place, SIZE).sample for place in range(held_out)]
    runs = [one_seed(args.work / f"seed-{seed}", seed, new, held) for seed in range(seeds)]
    arms = list(runs[0])
    figures = {arm: round(100 * float(np.mean([run[arm].mean() for run in runs])), 1) for arm in arms}
    differences = {arm: [interval(run[arm] - run["seed"]) for run in runs] for arm in arms if arm != "seed"}
    bars = {arm: all(low > 0 for _, low, _ in differences[arm]) and mean_of(differences[arm]) >= least
            for arm, least in BARS.items()}  # fmt: skip
    bars["unedited"] = all(high <= 0.3 for _, _, high in differences["unedited"])
    bars["many"] = all(high < 0 for _, _, high in differences["many"])
    minutes = round((time.process_time() - started) / 60, 1)
    print(json.dumps({"benchmark": "sg_edit_learns", "R@50": figures, "minus seed": differences, "held": bars,
                      "cpu_min": minutes}))  # fmt: skip


def one_seed(folder: Path, seed: int, new: int, held: Sequence[sg.Sample]) -> dict[str, np.ndarray]:
    """R@50 of every held-out image, by arm."""
    first = 200_000 + 10_000 * seed
    known = [make_scene(first + place, SIZE).sample for place in range(30)]
    truth = [make_scene(first + 30 + place, SIZE).sample for place in range(new)]
    student = trained(folder / "seed", known)
    dice = random.Random(seed)
    labels = {least: [labelled(student, sample, least) for sample in truth] for least in (0.4, 0.2)}
    given = {
        "unedited": labels[0.4],
        "edited 10": [edited(one, sample, 0.1, dice) for one, sample in zip(labels[0.4], truth, strict=True)],
        "edited 30": [edited(one, sample, 0.3, dice) for one, sample in zip(labels[0.4], truth, strict=True)],
        "many": labels[0.2],
        "remove-only": [
            edited(one, sample, 0.1, dice, adds=False) for one, sample in zip(labels[0.2], truth, strict=True)
        ],
    }
    found = {"seed": recalls(student, held)}
    for arm, samples in given.items():
        found[arm] = recalls(trained(folder / arm.replace(" ", "-"), [*known, *samples]), held)
    return found


def trained(folder: Path, samples: Sequence[sg.Sample]) -> PriorStudent:
    """A student of these samples; what the folder holds of an earlier run is not used."""
    named = [attrs.evolve(sample, split="train") for sample in samples]
    place = folder / f"data-{time.time_ns()}"
    with DatasetWriter.open(place) as writer:
        snapshot: Snapshot = writer.publish_source(named, [row.to_bytes(16, "big") for row in range(len(named))])
    student = PriorStudent(PriorOptions(label_images=0, relations_per_subject=99))
    out = place / "weights"
    out.mkdir()
    student.setup(sg.Resources(checkpoint=student.train(snapshot.path, sg.Selection(), out, sg.Resources())))
    return student


def labelled(student: PriorStudent, truth: sg.Sample, least: float) -> sg.Sample:
    """A new scene with the student's relations of at least this score, as if they were certain."""
    graph = truth.graph
    bare = attrs.evolve(truth, graph=sg.SceneGraph(graph.width, graph.height, graph.all.regions))
    chosen = PriorStudent(attrs.evolve(student.options, min_score=least))
    chosen._trained = student._trained
    (edit,) = chosen.generate([bare])
    assert isinstance(edit, sg.Edit)
    relations = [attrs.evolve(relation, score=None) for relation in edit.relations]
    return attrs.evolve(truth, graph=sg.SceneGraph(graph.width, graph.height, graph.all.regions, relations))


def edited(labels: sg.Sample, truth: sg.Sample, error: float, dice: random.Random, adds: bool = True) -> sg.Sample:
    """The labels after an editor who knows the truth and errs in this share of its decisions."""
    right = {relation.triplet for relation in truth.graph.relations.values()}
    had = {relation.triplet for relation in labels.graph.relations.values()}
    kept = [one for one in labels.graph.relations.values() if (one.triplet in right) != (dice.random() < error)]
    missing = [one for one in truth.graph.relations.values() if one.triplet not in had]
    added = [one for one in missing if dice.random() >= error] if adds else []
    graph = labels.graph
    return attrs.evolve(labels, graph=sg.SceneGraph(graph.width, graph.height, graph.all.regions, [*kept, *added]))


def recalls(student: PriorStudent, held: Sequence[sg.Sample]) -> np.ndarray:
    """R@50 of each image: the best predicate of each pair, the best 50 pairs, the share of true triplets among them."""
    found = []
    for ranking, sample in zip(student.rank(held), held, strict=True):
        assert isinstance(ranking, sg.Ranking)
        best = ranking.scores.argmax(axis=1)
        top = np.argsort(-ranking.scores.max(axis=1), kind="stable")[:50]
        pairs = ranking.pairs.tolist()
        said = {(pairs[row][0], ranking.predicates[best[row]], pairs[row][1]) for row in top.tolist()}
        true = {relation.triplet for relation in sample.graph.relations.values()}
        found.append(len(said & true) / len(true))
    return np.array(found)


def interval(difference: np.ndarray) -> list[float]:
    """The mean difference and its 95 % interval over images, in percent."""
    dice = np.random.default_rng(0)
    means = difference[dice.integers(0, len(difference), (DRAWS, len(difference)))].mean(axis=1)
    return [round(100 * float(value), 1) for value in (difference.mean(), *np.percentile(means, (2.5, 97.5)))]


def mean_of(differences: Sequence[Sequence[float]]) -> float:
    """The mean over seeds of the mean differences."""
    return float(np.mean([difference[0] for difference in differences]))


if __name__ == "__main__":
    main()
