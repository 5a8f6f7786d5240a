"""What graph rewards cost: six of them over 400 answers, and 8 answers to each of 50 truths. One JSON line.

    python benchmarks/rewards.py [--small]

The measure is a pure-Python loop of 2,000,000 `s += i * i` in the same run. R1-SGG's released code needs 3.9 to 4.7
times that loop for 400 answers and six rewards (measured on such answers, similarities kept); the lower
figure stands for it here. Answers are texts of 4 to 14 objects and 2 to 14 relations, read anew in every measured run.
All take turns, and the best of several runs of each counts, of the loop too. Bars:

- `released_by_ours` >= 5: 400 answers, a truth each.
- `released_by_ours_in_groups` >= 20: 50 truths with 8 answers each.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.stages import Outcome
from sgforge_grpo import desk, rewards
from sgforge_grpo.config import GraphRewardOptions

RELEASED = 3.9
"""Loops that the released code needs for 400 answers."""
KINDS = (
    rewards.FormatReward,
    rewards.NodeAccuracyReward,
    rewards.NodeBoxReward,
    rewards.EdgeSoftReward,
    rewards.RecallHardReward,
    rewards.RecallRelaxReward,
)
LABELS = ("man", "woman", "cup", "table", "horse", "tree", "traffic light", "sky", "dog", "shirt", "door", "bike")
PREDICATES = ("on", "near", "behind", "wearing", "holding", "riding", "in front of", "under")


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the answers")
    answers = 40 if parser.parse_args().small else 400
    dice = random.Random(1)
    alone = [case(dice, 1) for _ in range(answers)]
    groups = [case(dice, 8) for _ in range(answers // 8)]
    runs = [partial(scored, cases, mode) for mode in ("robust", "upstream") for cases in (alone, groups)]
    loop, *seconds = best([count, *runs])
    result: dict[str, Any] = {"benchmark": "rewards", "answers": answers, "loop_seconds": round(loop, 4)}
    for prefix, own in (("", seconds[:2]), ("upstream_", seconds[2:])):
        # The answers of --small are a tenth.
        single, grouped = (one * 400 / answers for one in own)
        result[f"{prefix}released_by_ours"] = round(RELEASED * loop / single, 1)
        result[f"{prefix}released_by_ours_in_groups"] = round(RELEASED * loop / grouped, 1)
        result[f"{prefix}microseconds_an_answer"] = [round(one / 400 * 1e6, 1) for one in (single, grouped)]
    print(json.dumps(result))


def best(runs: Sequence[Callable[[], Any]], times: int = 7) -> list[float]:
    """The least CPU time of each of the runs, in seconds; they take turns, so that other work slows them all alike."""
    found = [[cpu_time(run) for run in runs] for _ in range(times)]
    return [min(each) for each in zip(*found, strict=True)]


def cpu_time(run: Callable[[], Any]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


def count() -> int:
    """The loop that everything is measured by."""
    total = 0
    for i in range(2_000_000):
        total += i * i
    return total


def scored(cases: list[tuple[Sample, list[Outcome]]], mode: Any) -> None:
    """All answers by six rewards that share what they read."""
    desk._desks.clear()
    options = GraphRewardOptions(mode=mode, similarity="exact")
    samples, outcomes = [sample for sample, _ in cases], [group for _, group in cases]
    for kind in KINDS:
        kind(options).score(samples, outcomes)


def case(dice: random.Random, answers: int) -> tuple[Sample, list[Outcome]]:
    """A truth, and what models may make of it."""
    things = [(dice.choice(LABELS), box(dice)) for _ in range(dice.randint(4, 14))]
    facts = set[tuple[int, str, int]]()
    for _ in range(dice.randint(2, 14)):
        first, second = dice.sample(range(len(things)), 2)
        facts.add((first, dice.choice(PREDICATES), second))
    graph = SceneGraph(1000, 1000, [Region(*thing) for thing in things], [Relation(*fact) for fact in sorted(facts)])
    return Sample("a", graph), [Outcome(text=said(dice, things, sorted(facts))) for _ in range(answers)]


def box(dice: random.Random) -> tuple[int, int, int, int]:
    x, y = dice.randrange(800), dice.randrange(800)
    return x, y, x + dice.randrange(20, 200), y + dice.randrange(20, 200)


def said(dice: random.Random, things: list[Any], facts: list[Any]) -> str:
    """An answer with boxes a little off, a thing too many now and then, and one relation in four wrong."""
    objects = [
        {"id": f"{label}.{place + 1}", "bbox": [min(1000, max(0, side + dice.randint(-9, 9))) for side in sides]}
        for place, (label, sides) in enumerate(things)
    ]
    if dice.random() < 0.3:
        objects.append({"id": f"{dice.choice(LABELS)}.99", "bbox": list(box(dice))})
    relations = [
        {
            "subject": objects[first]["id"],
            "predicate": predicate if dice.random() < 0.75 else dice.choice(PREDICATES),
            "object": objects[second]["id"],
        }
        for first, predicate, second in facts
    ]
    return f"<think></think><answer>{json.dumps({'objects': objects, 'relationships': relations})}</answer>"


if __name__ == "__main__":
    main()
