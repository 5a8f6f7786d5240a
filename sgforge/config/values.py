"""What a config file says, checked: the values that the engine builds its pipeline from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.models.settings import GatewaySettings, ModelSettings
from sgforge.stages import Selection

__all__ = ["DEFAULT_SOURCE", "PipelineConfig", "SourceConfig", "StepConfig", "default_names"]

DEFAULT_SOURCE: Final = "source"
"""The name of the source that is written as `[source]`."""


@attrs.frozen
class SourceConfig:
    """One source: the component `use` and its options, plain values as written."""

    use: str
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class StepConfig:
    """One step: the component `use` of the stage `verb`, the reserved keys, and the component's options.

    `options` are plain values as written, checked against the component's options class.
    """

    verb: str
    use: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    name: str | None = None
    on: Selection | None = None
    weights: str | None = None
    batch_size: int | None = None
    workers: int | None = None


@attrs.frozen
class PipelineConfig:
    """A whole config file. Relative paths are relative to the current directory.

    `models`: settings by "provider/model". `gateway`: budget, price file and the like. `responses`: the file that
    keeps paid answers, None for the one in the dataset's folder.
    """

    dataset: Path
    branch: str = "main"
    roots: Mapping[str, Path] = attrs.field(factory=dict)
    sources: Mapping[str, SourceConfig] = attrs.field(factory=dict)
    models: Mapping[str, ModelSettings] = attrs.field(factory=dict)
    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    responses: Path | None = None
    steps: tuple[StepConfig, ...] = ()


def default_names(verbs: Sequence[str | None], names: Sequence[str | None]) -> list[str]:
    """The name of each step: its own, else its verb, numbered from the verb's second use on (`filter`, `filter-2`)."""
    uses: dict[str, int] = {}
    found = []
    for verb, name in zip(verbs, names, strict=True):
        plain = verb or "step"
        uses[plain] = uses.get(plain, 0) + 1
        found.append(name or (plain if uses[plain] == 1 else f"{plain}-{uses[plain]}"))
    return found
