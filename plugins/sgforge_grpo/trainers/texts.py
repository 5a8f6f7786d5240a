"""Rewards as other trainers call them: completions and the truths that came with their rows, as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sgforge.config import structure_options
from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.jsonl import parse_line
from sgforge.plugins import load_plugins
from sgforge.stages import Credit, Outcome, Resources
from sgforge.stages.rewards import check_credit, range_of

__all__ = ["TextReward", "completion_text"]


@lru_cache(maxsize=4096)
def _truth(line: str) -> Sample:
    return parse_line(line, "solution")


def completion_text(completion: Any) -> str:
    """The text of a completion: itself, or the content of the last of its messages."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        content = completion.get("content")
        if isinstance(content, list):
            return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
        return content if isinstance(content, str) else ""
    if isinstance(completion, Sequence) and completion:
        return completion_text(completion[-1])
    return ""


class TextReward:
    """A registered reward that scores texts against truths, each a line of graph JSONL (the column `solution`).

    Called as trainers call rewards: `reward(completions, solution, **columns) -> list[float | None]`, None where it
    could not tell. `name` is what trainers call it. The parts of the last call are in `parts`.
    """

    def __init__(self, name: str = "hard", **options: Any) -> None:
        component = load_plugins().lookup("reward", name)
        self._reward = component.build(structure_options(component, options, f"reward {name}"))
        if hasattr(self._reward, "setup"):
            self._reward.setup(Resources())
        self._range = range_of(self._reward)
        self.__name__ = f"sgforge_{name.replace('-', '_')}"
        self.parts: list[dict[str, float]] = []

    def __call__(self, completions: Sequence[Any], solution: Sequence[str] | None = None, **columns: Any) -> list[Any]:
        """A total for each completion."""
        if solution is None:
            raise ConfigError(
                'the rows have no column "solution": export them with --to ms-swift, verifiers or trl, or add the '
                "truth of each row as a line of graph JSONL"
            )
        groups: dict[str, list[int]] = {}
        for place, line in enumerate(solution):
            groups.setdefault(line, []).append(place)
        outcomes = [[Outcome(text=completion_text(completions[place])) for place in own] for own in groups.values()]
        credits = self._reward.score([_truth(line) for line in groups], outcomes)
        found: list[Any] = [None] * len(completions)
        self.parts = [{} for _ in completions]
        for places, own, scored in zip(groups.values(), outcomes, credits, strict=True):
            for place, outcome, one in zip(places, own, scored, strict=True):
                checked = check_credit(one, outcome, self._range)
                if isinstance(checked, Credit):
                    found[place], self.parts[place] = float(checked.total), dict(checked.parts)
        return found

    @property
    def malformed(self) -> float:
        """The share of the last completions that had a fault."""
        return sum(parts.get("faults", 0.0) > 0 for parts in self.parts) / max(1, len(self.parts))
