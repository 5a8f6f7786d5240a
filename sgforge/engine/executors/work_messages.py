"""Work as a message: what another process is told, to open a component as the driver would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgpack

from sgforge.engine.executors.model_messages import DistantModel, Send, model_fields
from sgforge.engine.executors.work import Work
from sgforge.engine.planning.components import find_spec
from sgforge.engine.planning.part_resources import with_parts
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.plugins import Registry
from sgforge.stages import Checkpoint, Model, Resources, Worker

__all__ = ["pack_work", "unpack_work"]

_PLAIN = ("devices", "dtype", "seed")
_OWN = ("method", "answers", "batch_size")


def pack_work(work: Work) -> bytes:
    """Component, options, method, plain resources and the names of models; a given instance cannot be sent."""
    spec, resources = work.spec, work.resources
    for _, one in spec.walk():
        if one.instance is not None:
            raise StepError(f"{one.name} is an instance: it works where it was given")
    checkpoint, scratch = resources.checkpoint, resources.scratch
    weights = None
    if checkpoint is not None:
        weights = {**attrs.asdict(checkpoint), "path": str(checkpoint.path.resolve())}
    packed: bytes = msgpack.packb(
        {
            "component": [spec.kind, spec.name, dict(spec.settings)],
            **{name: getattr(work, name) for name in _OWN},
            "resources": {name: getattr(resources, name) for name in _PLAIN},
            "worker": attrs.astuple(resources.worker),
            "checkpoint": weights,
            "scratch": None if scratch is None else str(scratch),
            "model": None if resources.model is None else resources.model.name,
            "models": {model.name: model_fields(model) for model in resources.models},
            "images": None if work.images is None else _folders(work.images),
        }
    )
    return packed


def unpack_work(message: bytes, registry: Registry, send: Send) -> Work:
    """The work that `pack_work` packed, its component found in this process; questions to models go by `send`."""
    given: Mapping[str, Any] = msgpack.unpackb(message)
    spec, faults = find_spec(registry, *given["component"])
    if faults:
        raise StepError(f"{spec.kind} {spec.name!r} is another one here than in the driver: {faults[0].message}")
    checkpoint, scratch, images = (given[name] for name in ("checkpoint", "scratch", "images"))
    models = {name: DistantModel.of(fields, send) for name, fields in given["models"].items()}

    def bind(name: str | None) -> Model | None:
        return None if name is None else models[name]

    resources = Resources(
        **{**given["resources"], "devices": tuple(given["resources"]["devices"])},
        worker=Worker(*given["worker"]),
        checkpoint=None if checkpoint is None else Checkpoint(**{**checkpoint, "path": Path(checkpoint["path"])}),
        scratch=None if scratch is None else Path(scratch),
        model=bind(given["model"]),
    )
    resources = with_parts(spec, resources, bind)
    own = {name: given[name] for name in _OWN}
    return Work(spec=spec, resources=resources, images=None if images is None else Roots(images), **own)


def _folders(roots: Roots) -> dict[str, str]:
    return {name: str(roots.resolve(f"{name}:")) for name in roots.names()}
