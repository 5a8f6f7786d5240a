"""R1-SGG's comparison as a recipe: training on truth, then reinforcement with each of its three rewards, in one table.

    python examples/r1sgg/run.py [--small]

Made scenes and a tiny Robin from random weights, so that it runs anywhere: with `--small` to see that it runs, else
about an hour on two cores. The columns are those of the paper's tables: failure rate (answers of which something could
not be read, sampled on held-out images), R@50 and mR@50 (predcls). For a vision-language model of your own put
`sg.train("vlm", base=...)` in place of the train step; everything else stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

import sgforge as sg
from sgforge.config import structure_options
from sgforge.images import Roots
from sgforge.plugins import load_plugins
from sgforge.stages import Checkpoint, Resources

ARMS = ("hard", "hard-relax", "soft")
ROBIN = {"preset": "tiny", "images": 8, "constrained": False, "temperature": 1.0, "max_tokens": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("demo/r1sgg"))
    args = parser.parse_args()
    scenes, held, steps, refined = (24, 6, 4, 1) if args.small else (3000, 200, 1200, 60)
    options = {**ROBIN, "steps": steps}
    print(f"{'':<28}{'failure rate':>14}{'R@50':>8}{'mR@50':>8}")
    for arm in (None, *ARMS):
        report = pipeline(options, arm, refined, args.small).run(
            sources(args.folder, scenes, held), args.folder / "data", progress=False
        )
        name = "refine" if arm else "train"
        checkpoint, measured = report.step(name).checkpoint, report.step("evaluate").report
        if checkpoint is None or measured is None:
            raise SystemExit("stopped before its end: run it again to go on from there")
        values: Mapping[str, float] = measured.values
        rate = failure_rate(options, checkpoint, args.folder, held)
        row = "SFT" if arm is None else f"SFT, then RL ({arm})"
        print(f"{row:<28}{rate:>14.1%}{values['R@50']:>8.1%}{values['mR@50']:>8.1%}", flush=True)


def pipeline(options: Mapping[str, Any], arm: str | None, steps: int, small: bool) -> sg.Pipeline:
    """Train; refine with one reward, or not; measure. The training is done once for all four."""
    made = [sg.train("robin", **options)]
    if arm is not None:
        batch = {"batch": 1, "group": 2} if small else {"batch": 4, "group": 8}
        made.append(sg.refine("grpo", rewards=[arm], steps=steps, rate=1e-4, **batch))
    return sg.Pipeline(*made, sg.evaluate("predcls"))


def sources(folder: Path, scenes: int, held: int) -> dict[str, Any]:
    """Scenes to learn from, and held-out ones."""
    kept = {"folder": str(folder / "scenes"), "size": 128, "pixel_relations": True}
    return {
        "learnt": sg.source("scenes", count=scenes, split="train", **kept),
        "held-out": sg.source("scenes", count=held, seed=100_000, split="val", **kept),
    }


def failure_rate(options: Mapping[str, Any], checkpoint: Checkpoint, folder: Path, held: int) -> float:
    """The share of sampled answers about held-out images of which something could not be read."""
    component = load_plugins().lookup("student", "robin")
    student = component.build(structure_options(component, dict(options), "robin"))
    dataset = sg.Dataset.open(folder / "data")
    roots = Roots(dict.fromkeys(("learnt", "held-out", "scenes"), folder / "scenes"))
    samples = [one for one in dataset if one.split == "val"][:held]
    shown = [attrs.evolve(one, image=roots.image(one.uri or "")) for one in samples]
    policy = student.policy(Resources(checkpoint=checkpoint))
    rollouts = policy.rollouts(shown, group=1, seed=0)
    return sum(bool(one.outcome.faults) for one in rollouts) / max(1, len(rollouts))


if __name__ == "__main__":
    main()
