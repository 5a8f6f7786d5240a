"""Work as a message: what another process is told, to open a component as the driver would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import msgpack

from sgforge.engine.executors.model_messages import model_fields
from sgforge.engine.executors.work import Work
from sgforge.engine.planning.components import find_spec
from sgforge.engine.planning.part_resources import with_parts
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.plugins import Registry
from sgforge.stages import Checkpoint, Files, Model, Resources, Worker
from sgforge.stages.values import Reporter

__all__ = ["pack_work", "unpack_work"]

Lend: TypeAlias = Callable[[Mapping[str, Any]], Model]
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
            "roots": _folders(resources.roots),
            "images": _folders(work.images),
            "files": resources.files is not None,
        }
    )
    return packed


def unpack_work(
    message: bytes, registry: Registry, lend: Lend, reporter: Reporter | None = None, files: Files | None = None
) -> Work:
    """The work that `pack_work` packed, its component found in this process.

    `lend` gives each of its models as it is asked here: `DistantModel.of`, or one of a gateway of this process. `files`
    keeps what the component makes: `DistantFiles`, or those of the dataset.
    """
    given: Mapping[str, Any] = msgpack.unpackb(message)
    spec, faults = find_spec(registry, *given["component"])
    if faults:
        raise StepError(f"{spec.kind} {spec.name!r} is another one here than in the driver: {faults[0].message}")
    checkpoint, scratch = given["checkpoint"], given["scratch"]
    models = {name: lend(fields) for name, fields in given["models"].items()}

    def bind(name: str | None) -> Model | None:
        return None if name is None else models[name]

    resources = Resources(
        **{**given["resources"], "devices": tuple(given["resources"]["devices"])},
        worker=Worker(*given["worker"]),
        checkpoint=None if checkpoint is None else Checkpoint(**{**checkpoint, "path": Path(checkpoint["path"])}),
        scratch=None if scratch is None else Path(scratch),
        model=bind(given["model"]),
        roots=_roots(given["roots"]),
        files=files if given["files"] else None,
        reporter=reporter,
    )
    resources = with_parts(spec, resources, bind)
    own = {name: given[name] for name in _OWN}
    return Work(spec=spec, resources=resources, images=_roots(given["images"]), **own)


def _folders(roots: Roots | None) -> dict[str, str] | None:
    return None if roots is None else {name: str(roots.resolve(f"{name}:")) for name in roots.names()}


def _roots(folders: Mapping[str, str] | None) -> Roots | None:
    return None if folders is None else Roots(folders)
