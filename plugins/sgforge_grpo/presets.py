"""Presets of R1-SGG's released code: rewards weighed and added as it does (Chen et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.labels import Similarity
from sgforge.stages import Credit, Outcome
from sgforge_grpo.config import PresetOptions
from sgforge_grpo.rewards import (
    EdgeSoftReward,
    FormatReward,
    GraphReward,
    NodeAccuracyReward,
    NodeBoxReward,
    RecallHardReward,
    RecallRelaxReward,
)

__all__ = ["HardPreset", "HardRelaxPreset", "SoftPreset"]

_Held: TypeAlias = Mapping[str, tuple[Callable[..., GraphReward], str]]


class _Preset(GraphReward):
    """Rewards weighed and added, which read each answer once."""

    held: ClassVar[_Held] = {}
    """The parts by name: what makes one, and which weight of the options it has."""

    def __init__(self, options: Any, similarity: Similarity | None = None) -> None:
        self.options = options
        self._similarity = similarity
        self._desk = None
        preset: PresetOptions = options
        self._parts = {name: make(options, similarity) for name, (make, _) in self.held.items()}
        self._weights = {name: float(getattr(preset, weight)) for name, (_, weight) in self.held.items()}
        if not any(self._weights.values()):
            raise ConfigError("the weights of all parts are 0, so that nothing is worth anything")
        self.range = (0.0, sum(self._weights.values()))

    def credits(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[Credit]:
        """The credits of all outcomes, one group behind the other, of all parts together."""
        found = [part.credits(samples, outcomes) for part in self._parts.values()]
        return [self._sum(dict(zip(self._parts, row, strict=True))) for row in zip(*found, strict=True)]

    def _sum(self, credits: Mapping[str, Credit]) -> Credit:
        total = sum(self._weights[name] * credit.total for name, credit in credits.items())
        parts = {name: credit.total for name, credit in credits.items()}
        faults = next(iter(credits.values())).parts.get("faults")
        if faults is not None:
            parts["faults"] = faults
        regions, relations = (self._rows(credits, kind) for kind in ("regions", "relations"))
        return Credit(min(total, self.range[1]), parts, regions, relations)

    def _rows(self, credits: Mapping[str, Credit], kind: str) -> tuple[float, ...] | None:
        """Credit of each row, summed over the parts that give any."""
        given = {name: getattr(credit, kind) for name, credit in credits.items() if getattr(credit, kind) is not None}
        if not given:
            return None
        weights = [self._weights[name] for name in given]
        columns = zip(*given.values(), strict=True)
        return tuple(sum(w * value for w, value in zip(weights, column, strict=True)) for column in columns)


class HardPreset(_Preset):
    """R1-SGG's "Hard Recall": form, and `recall-hard`."""

    held: ClassVar[_Held] = {"format": (FormatReward, "form"), "recall-hard": (RecallHardReward, "edges")}


class HardRelaxPreset(_Preset):
    """R1-SGG's "Hard Recall + Relax": form, and `recall-relax`."""

    held: ClassVar[_Held] = {"format": (FormatReward, "form"), "recall-relax": (RecallRelaxReward, "edges")}


class SoftPreset(_Preset):
    """R1-SGG's "Soft Recall": form, both rewards of nodes, and `edge-soft`."""

    held: ClassVar[_Held] = {
        "format": (FormatReward, "form"),
        "node-accuracy": (NodeAccuracyReward, "nodes"),
        "node-box": (NodeBoxReward, "nodes"),
        "edge-soft": (EdgeSoftReward, "edges"),
    }
