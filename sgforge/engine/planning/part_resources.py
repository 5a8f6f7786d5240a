"""What the parts in a component's options are set up with."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from sgforge.engine.planning.components import ComponentSpec, PartSpec
from sgforge.engine.planning.devices import devices_for
from sgforge.stages import Checkpoint, Model, Part, Resources

__all__ = ["with_parts"]

Bind = Callable[[str | None], Model | None]


def with_parts(spec: ComponentSpec, resources: Resources, bind: Bind) -> Resources:
    """The resources of a component with those that its parts will be set up with, and parts of these.

    A part has its own devices, checkpoint and model, which `bind` gives by name; the rest is its holder's.
    """
    if not spec.parts:
        return resources
    seats = {option: tuple(_seat(part, resources, bind) for part in held) for option, held in spec.parts.items()}
    return attrs.evolve(resources, parts=seats)


def _seat(part: PartSpec, holder: Resources, bind: Bind) -> Part:
    spec = part.spec
    weights = spec.checkpoint if spec.takes_weights else None
    own = attrs.evolve(
        holder,
        devices=devices_for(spec.needs),
        checkpoint=None if weights is None else Checkpoint.of(weights),
        model=bind(spec.model),
        parts={},
    ).of_process(holder.worker.rank, holder.worker.world)
    if _computes_elsewhere(holder) and _computes_elsewhere(own):
        # Both use a GPU: a worker and its parts use the same ones.
        own = attrs.evolve(own, devices=holder.devices)
    return Part(part.name, part.weight, with_parts(spec, own, bind))


def _computes_elsewhere(resources: Resources) -> bool:
    return resources.device != "cpu"
