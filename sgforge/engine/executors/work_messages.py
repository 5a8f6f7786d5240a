"""Work as a message: what another process is told, to open a component as the driver would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import msgpack

from sgforge.engine.executors.model_messages import model_fields
from sgforge.engine.executors.work import Training, Work
from sgforge.engine.models.child_models import ModelAccess
from sgforge.engine.planning.components import ComponentSpec, find_spec
from sgforge.engine.planning.part_resources import with_parts
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.plugins import Registry
from sgforge.stages import Checkpoint, Files, Model, Resources, Worker
from sgforge.steps import RunSettings

__all__ = ["access_in", "pack_work", "unpack_work"]

Lend: TypeAlias = Callable[[Mapping[str, Any]], Model]
_PLAIN = ("devices", "dtype", "seed")
_OWN = ("method", "answers", "batch_size")


def pack_work(work: Work, *, shares_roots: bool = True) -> bytes:
    """Component, options, method, plain resources and the names of models; a given instance cannot be sent.

    `shares_roots`: whether the other process sees the folders of pictures under the same paths; else it is told none.
    """
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
            "component": _named(spec),
            **{name: getattr(work, name) for name in _OWN},
            "resources": {name: getattr(resources, name) for name in _PLAIN},
            "worker": attrs.astuple(resources.worker),
            "checkpoint": weights,
            "scratch": None if scratch is None else str(scratch),
            "model": None if resources.model is None else resources.model.name,
            "models": {model.name: model_fields(model) for model in (*resources.models, *work.training.lent.models)},
            "roots": _folders(resources.roots),
            "images": _folders(work.images) if shares_roots else None,
            "files": resources.files is not None,
            "training": _training_fields(work.training),
        }
    )
    return packed


def access_in(message: bytes) -> ModelAccess | None:
    """What the training in a message of work needs to ask models, before it is unpacked with them."""
    return _access_of(msgpack.unpackb(message)["training"])


def unpack_work(
    message: bytes, registry: Registry, lend: Lend, files: Files | None = None, images: Roots | None = None
) -> Work:
    """The work that `pack_work` packed, its component found in this process.

    `lend` gives each of its models as it is asked here: `DistantModel.of`, or one of a gateway of this process. `files`
    keeps what the component makes: `DistantFiles`, or those of the dataset. `images`: where pictures are found if the
    message names no folders: `DistantRoots`.
    """
    given: Mapping[str, Any] = msgpack.unpackb(message)
    spec = _found(registry, given["component"])
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
    )
    training = _training_of(registry, given["training"])
    if training.student is not None:
        lent = attrs.evolve(resources, model=bind(training.student.model))
        training = attrs.evolve(training, lent=with_parts(training.student, lent, bind))
    resources = with_parts(spec, resources, bind)
    own = {name: given[name] for name in _OWN}
    return Work(spec=spec, resources=resources, images=_roots(given["images"]) or images, training=training, **own)


def _named(spec: ComponentSpec) -> list[Any]:
    return [spec.kind, spec.name, dict(spec.settings)]


def _found(registry: Registry, named: Sequence[Any]) -> ComponentSpec:
    spec, faults = find_spec(registry, *named)
    if faults:
        raise StepError(f"{spec.kind} {spec.name!r} is another one here than in the driver: {faults[0].message}")
    return spec


def _training_fields(training: Training) -> dict[str, Any]:
    student, access = training.student, training.access
    return {
        "run": attrs.asdict(training.run),
        "student": None if student is None else _named(student),
        "access": None if access is None else access.as_json(),
    }


def _training_of(registry: Registry, fields: Mapping[str, Any]) -> Training:
    student = fields["student"]
    return Training(
        run=RunSettings(**fields["run"]),
        student=None if student is None else _found(registry, student),
        access=_access_of(fields),
    )


def _access_of(fields: Mapping[str, Any]) -> ModelAccess | None:
    return None if fields["access"] is None else ModelAccess.from_json(fields["access"])


def _folders(roots: Roots | None) -> dict[str, str] | None:
    return None if roots is None else {name: str(roots.resolve(f"{name}:")) for name in roots.names()}


def _roots(folders: Mapping[str, str] | None) -> Roots | None:
    return None if folders is None else Roots(folders)
