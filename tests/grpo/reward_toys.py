"""A reward of words, with faults of every kind, for tests of refiners; a plugin beside `policy_toys`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import policy_toys

import sgforge
from sgforge.graph import Sample
from sgforge.stages import Credit, Failure, Outcome


@attrs.frozen
class WordOptions:
    """`word` is worth 1 by its share of the answer; `fault` breaks something on answers that begin with another."""

    word: str = "on"
    fault: str = ""
    most: float = 1.0


class WordReward:
    def __init__(self, options: WordOptions = WordOptions()) -> None:
        self.options = options
        self.range = (0.0, options.most)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Any]]:
        return [[self._one(outcome) for outcome in group] for group in outcomes]

    def _one(self, outcome: Outcome) -> Any:
        words = (outcome.text or "").split()
        if words and words[0] == "near" and self.options.fault:
            if self.options.fault == "raises":
                raise ValueError("no such word")
            return {"nan": Credit(math.nan), "far": Credit(7.0), "fails": Failure("odd", "an odd word")}[
                self.options.fault
            ]
        return Credit(self.options.most * words.count(self.options.word) / max(1, len(words)))


@sgforge.hookimpl
def sgforge_register_rewards(register) -> None:
    register("word", WordReward, config=WordOptions)


def environment(folder: Path) -> Mapping[str, str]:
    """That of `policy_toys`, in which this plugin and that of rewards and refiners are found as well."""
    found = policy_toys.policy_environment(folder)
    info = folder / "reward_toys-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reward-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sgforge]\nwords = grpo.reward_toys\n")
    return {**found, "SGFORGE_PLUGINS": "toys,policies,words,grpo"}
