"""Configs as they are saved beside a dataset: resolved, secrets replaced by `***`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from sgforge.config.secret import REDACTED, is_secret
from sgforge.config.strict import unstructure
from sgforge.config.values import PipelineConfig

__all__ = ["dump_config", "dump_options"]

_CREDENTIALS_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+@")


def dump_options(options: Any) -> dict[str, Any]:
    """Typed options (an attrs value, or None) as plain values, defaults included, secrets replaced."""
    if options is None:
        return {}
    marks = {field.alias: field.metadata.get("secret") for field in attrs.fields(type(options))}
    return {name: _redact(name, value, marks.get(name)) for name, value in unstructure(options).items()}


def dump_config(config: PipelineConfig) -> str:
    """A config as JSON text with sorted keys: every option with its value, secrets replaced."""
    plain = {
        "dataset": str(config.dataset),
        "branch": config.branch,
        "roots": {name: str(path) for name, path in config.roots.items()},
        "responses": None if config.responses is None else str(config.responses),
        "sources": {name: {"use": source.use, **dump_options(source.typed)} for name, source in config.sources.items()},
        "models": {name: dump_options(settings) for name, settings in config.models.items()},
        "gateway": dump_options(config.gateway),
        "step": [
            {
                step.verb: step.use,
                "name": step.name,
                "on": None if step.on is None else {"source": step.on.sources, "split": step.on.splits},
                "weights": step.weights,
                "batch_size": step.batch_size,
                "workers": step.workers,
                **dump_options(step.typed),
            }
            for step in config.steps
        ],
    }
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def _redact(name: str, value: Any, marked: bool | None = None) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _redact(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact(name, item, marked) for item in value]
    if isinstance(value, str):
        if marked or (marked is None and is_secret(name)):
            return REDACTED
        return _CREDENTIALS_IN_URL.sub(f"{REDACTED}@", value)
    return value
