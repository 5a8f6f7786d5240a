"""What the key of each built-in component holds, at default options, and what names each model beside its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from sgforge.config import dump_options
from sgforge.engine.context import step_fingerprint
from sgforge.engine.models.providers import ModelIdentities
from sgforge.engine.planning.components import find_spec
from sgforge.engine.planning.plan import PlannedStep
from sgforge.plugins import Registry
from sgforge.stages import VERBS, Selection

__all__ = ["MODEL", "SERVER", "identities", "row_of"]

MODEL = "compat/some-model"
"""What stands for the option `model`, the only one without a default."""
SERVER = "http://127.0.0.1:18731/v1"


def row_of(registry: Registry, step: str, **options: Any) -> dict[str, Any]:
    """Of a "verb component": the fingerprint of a step named as its component, what it is made of, all options."""
    verb, name = VERBS[step.partition(" ")[0]], step.partition(" ")[2]
    given = {"model": MODEL, **options} if registry.lookup(verb.kind, name).needs.model else dict(options)
    models = ModelIdentities(registry, {MODEL: {"base_url": SERVER}})
    found_spec, faults = find_spec(registry, verb.kind, name, given)
    assert not faults
    spec = attrs.evolve(found_spec, models=models)
    planned = PlannedStep(name, verb, spec, Selection())
    found = {"fingerprint": step_fingerprint(planned, 0, "a-run"), "identity": dict(spec.identity)}
    return {**found, "options": dump_options(spec.options)}


def identities(registry: Registry, provider: str, folder: Path) -> Mapping[str, str | None]:
    """What a provider adds to a model's name: as it is, at another server, with smaller pictures, in a folder."""
    names = {"plain": "m", "server": "n", "limits": "o", "folder": str(folder)}
    settings = {f"{provider}/n": {"base_url": SERVER}, f"{provider}/o": {"max_image_side": 512}}
    models = ModelIdentities(registry, settings)
    return {case: models.of(f"{provider}/{model}") for case, model in names.items()}
