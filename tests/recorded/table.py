"""What the key of each built-in component holds, at default options, and what names each model beside its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from sgforge.config import dump_options
from sgforge.engine.components import find_spec
from sgforge.engine.context import step_fingerprint
from sgforge.engine.plan import PlannedStep
from sgforge.engine.providers import ModelIdentities
from sgforge.plugins import Registry
from sgforge.stages import VERBS, Selection

__all__ = ["MODEL", "SERVER", "identities", "rows"]

MODEL = "compat/some-model"
"""What stands for the option `model`, the only one without a default."""
SERVER = "http://127.0.0.1:18731/v1"
_OURS = "sgforge"


def rows(registry: Registry) -> Iterator[tuple[str, dict[str, Any]]]:
    """By "verb component": the fingerprint of a step named as its component, what it is made of, all options."""
    models = ModelIdentities(registry, {MODEL: {"base_url": SERVER}})
    for component in registry.components():
        for verb in VERBS.values():
            if verb.kind != component.kind or component.owner.distribution != _OURS:
                continue
            given = {"model": MODEL} if component.needs.model else {}
            spec = attrs.evolve(find_spec(registry, verb.kind, component.name, given)[0], models=models)
            step = PlannedStep(component.name, verb, spec, Selection())
            found = {"fingerprint": step_fingerprint(step, 0, "a-run"), "identity": dict(spec.identity)}
            yield f"{verb.name} {component.name}", {**found, "options": dump_options(spec.options)}


def identities(registry: Registry, provider: str, folder: Path) -> Mapping[str, str | None]:
    """What a provider adds to a model's name: as it is, at another server, with smaller pictures, in a folder."""
    names = {"plain": "m", "server": "n", "limits": "o", "folder": str(folder)}
    settings = {f"{provider}/n": {"base_url": SERVER}, f"{provider}/o": {"max_image_side": 512}}
    models = ModelIdentities(registry, settings)
    return {case: models.of(f"{provider}/{model}") for case, model in names.items()}
