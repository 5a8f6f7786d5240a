"""The tables of a config file as typed values, before sources and steps are read one by one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from sgforge.models.settings import GatewaySettings, ModelSettings
from sgforge.steps import RunSettings

__all__ = ["Document", "On", "SourceKeys", "StepKeys"]


@attrs.frozen
class Document:
    """The top level of a config; steps and sources are read one by one."""

    dataset: Path
    branch: str = "main"
    roots: Mapping[str, Path] = attrs.field(factory=dict)
    source: Mapping[str, Any] | None = None
    sources: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    models: Mapping[str, ModelSettings] = attrs.field(factory=dict)
    gateway: GatewaySettings = attrs.field(factory=GatewaySettings)
    responses: Path | None = None
    executor: Mapping[str, Any] | None = None
    step: list[Mapping[str, Any]] = attrs.field(factory=list)


@attrs.frozen
class On:
    """The `on` table of a step."""

    source: str | tuple[str, ...] | None = None
    split: str | tuple[str, ...] | None = None


def _from_one(instance: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} must be 1 or more, not {value}")


def _printable(instance: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is not None and not (value and value.isprintable()):
        raise ValueError(f"{attribute.name} must be one line of printable text, not {value!r}")


@attrs.frozen
class SourceKeys:
    """The reserved keys of a source, but the one that names it."""

    copies: int | None = attrs.field(default=None, validator=_from_one)


@attrs.frozen
class StepKeys:
    """The reserved keys of a step."""

    name: str | None = attrs.field(default=None, validator=_printable)
    on: On | None = None
    weights: str | None = None
    batch_size: int | None = attrs.field(default=None, validator=_from_one)
    workers: int | None = attrs.field(default=None, validator=_from_one)
    run: RunSettings | None = None
