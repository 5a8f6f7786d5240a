"""What a config file says: the steps and sources of a pipeline as Python makes them, and where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.config.faults import Fault
from sgforge.config.places import FilePlaces
from sgforge.models.settings import GatewaySettings, ModelSettings
from sgforge.stages import VERBS
from sgforge.steps import ExecutorChoice, SourceStep, Step

__all__ = ["DEFAULT_SOURCE", "PipelineConfig", "default_names", "verbs_in"]

DEFAULT_SOURCE: Final = "source"
"""The name of the source that is written as `[source]`."""


@attrs.frozen
class PipelineConfig:
    """A whole config file. Relative paths are relative to the current directory.

    `models`: settings by "provider/model". `gateway`: budget, price file and the like. `responses`: the file that
    keeps paid answers, None for the one in the dataset's folder. `executor`: where components work, None for here.

    Names and options of components are not looked at here: whoever resolves the pipeline does it, with `faults`, what
    is wrong with the file itself, and `places`. A source or step that cannot be read is None, so that the others keep
    their place.
    """

    dataset: Path
    branch: str = "main"
    roots: Mapping[str, Path] = attrs.field(factory=dict)
    sources: Mapping[str, SourceStep | None] = attrs.field(factory=dict)
    models: Mapping[str, ModelSettings] = attrs.field(factory=dict)
    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    responses: Path | None = None
    executor: ExecutorChoice | None = None
    steps: tuple[Step | None, ...] = ()
    faults: tuple[Fault, ...] = ()
    places: FilePlaces | None = attrs.field(default=None, eq=False)


def default_names(verbs: Sequence[str | None], names: Sequence[str | None]) -> list[str]:
    """The name of each step: its own, else its verb, numbered from the verb's second use on (`filter`, `filter-2`)."""
    uses: dict[str, int] = {}
    found = []
    for verb, name in zip(verbs, names, strict=True):
        plain = verb or "step"
        uses[plain] = uses.get(plain, 0) + 1
        found.append(name or (plain if uses[plain] == 1 else f"{plain}-{uses[plain]}"))
    return found


def verbs_in(table: Mapping[str, Any]) -> list[str]:
    """The keys of a step's table that name its stage; exactly one where it is in order.

    A component may call an option that holds components by the name of a verb, such as `judge`: beside a stage that
    is named by a text, a table or list under such a key is that option.
    """
    found = [verb for verb in VERBS if verb in table]
    named = [verb for verb in found if not isinstance(table[verb], (Mapping, list))]
    return named or found
