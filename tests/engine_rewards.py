"""Toy rewards, and a refiner that takes them for its signal; a plugin, so that child processes find them too."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import attrs

import sgforge
from sgforge.graph import Sample
from sgforge.stages import Checkpoint, Credit, Failure, Needs, Outcome, Resources, RewardSum, Selection, Use, parts


@attrs.frozen
class AgreementOptions:
    odd: tuple[str, ...] = ()


class Agreement:
    """The share of an outcome's kept relations that say what the truth says of their pair; 1 for none.

    `odd`: images of which it says what no reward may: "ID:nan", "ID:high", "ID:rows", "ID:text", "ID:failure".
    """

    range = (0.0, 1.0)

    def __init__(self, options: AgreementOptions = AgreementOptions()) -> None:
        self.options = options
        self.odd = dict(text.split(":") for text in options.odd)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[object]]:
        return [
            [self.one(sample, outcome) for outcome in group] for sample, group in zip(samples, outcomes, strict=True)
        ]

    def one(self, sample: Sample, outcome: Outcome) -> object:
        odd = self.odd.get(sample.image_id)
        if odd == "nan":
            return Credit(float("nan"))
        if odd == "high":
            return Credit(1.5)
        if odd == "rows":
            return Credit(0.5, relations=(0.5,) * 99)
        if odd == "text":
            return 0.5
        if odd == "failure":
            return Failure("unsure", "cannot tell")
        if outcome.graph is None:
            return Credit(0.0, {"kept": 0.0})
        true = set(sample.graph.triplets())
        said = [triplet in true for triplet in _triplets(outcome)]
        kept = outcome.graph.relations
        rows = tuple(float(said[index]) for index in range(len(outcome.graph.all.relations)))
        total = sum(rows[index] for index in kept) / len(kept) if kept else 1.0
        return Credit(total, {"kept": float(len(kept))}, relations=rows)


def _triplets(outcome: Outcome) -> list[tuple[object, str, object]]:
    assert outcome.graph is not None
    rows = outcome.graph.all
    return [(rows.regions[row.subject].label, row.predicate, rows.regions[row.object].label) for row in rows.relations]


class Scores:
    """The score of each relation, from -1 for 0 to 1; for the whole their mean. Async."""

    range = (-1.0, 1.0)

    async def score(self, sample: Sample, outcomes: Sequence[Outcome]) -> list[Credit]:
        found = []
        for outcome in outcomes:
            rows = () if outcome.graph is None else outcome.graph.all.relations
            values = tuple(2 * (1.0 if row.score is None else row.score) - 1 for row in rows)
            total = sum(values) / len(values) if values else 0.0
            found.append(Credit(total, relations=values if outcome.graph is not None else None))
        return found


@attrs.frozen
class RefinerOptions:
    rewards: tuple[Use, ...] = parts("reward")


class RewardedRefiner:
    """Notes in the checkpoint what each training image's graph is worth."""

    def __init__(self, options: RefinerOptions) -> None:
        self.options = options

    def refine(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        from sgforge.dataset import Snapshot

        assert resources.checkpoint is not None
        counts = json.loads((resources.checkpoint.path / "counts.json").read_text())
        snapshot = Snapshot.open(snapshot_path)
        samples = [snapshot.sample(row) for row in snapshot.rows(selection).tolist()]
        rewards = RewardSum(resources.parts["rewards"])
        scored = rewards.score(samples, [[Outcome(sample.graph), Outcome()] for sample in samples])
        totals = {
            sample.image_id: [one.total if isinstance(one, Credit) else one.reason for one in group]
            for sample, group in zip(samples, scored, strict=True)
        }
        (out_dir / "counts.json").write_text(json.dumps(counts))
        (out_dir / "totals.json").write_text(json.dumps(totals))
        return Checkpoint.of(out_dir)


@sgforge.hookimpl
def sgforge_register_rewards(register) -> None:
    register("agreement", Agreement, config=AgreementOptions)
    register("scores", Scores)


@sgforge.hookimpl
def sgforge_register_refiners(register) -> None:
    register("rewarded", RewardedRefiner, config=RefinerOptions, needs=Needs())


def this_plugin() -> ModuleType:
    return sys.modules[__name__]


def install(folder: Path) -> None:
    """Make this module an installed plugin for processes that have `folder` on their path."""
    info = folder / "engine_rewards-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-rewards\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\nrewards = engine_rewards\n")
