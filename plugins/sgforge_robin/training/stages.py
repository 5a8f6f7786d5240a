"""The stages of training: what learns, at which rates, how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from sgforge_robin.text.tasks import Task

__all__ = ["STAGES", "Stage"]

_PARTS: Final = ("tower", "projector", "extractor", "language", "pair_head", "comparing_layer", "reference_layer")


@attrs.frozen
class Stage:
    """One stage. `rates`: the peak learning rate of each part that learns; parts without one are frozen.

    `epochs`, `batch` (images a step), `warmup` (share of all steps, linear) before a cosine to zero, `decay` (weight
    decay, not of biases and norms), `capacity` (positions of a packed row), `kept` (the least share of an image's
    regions that an epoch shows), `tasks`.
    """

    rates: Mapping[str, float] = attrs.field(converter=dict, hash=False)
    epochs: int
    batch: int
    capacity: int
    tasks: tuple[Task, ...]
    warmup: float = 0.03
    decay: float = 0.0
    kept: float = 1.0


_GRAPHS: Final = (Task.DESCRIBE, Task.RELATIONS, Task.PAIR)
_NEW: Final = dict.fromkeys(_PARTS[4:], 1e-3)
"""Ours, of parts that the released model does not have."""
_ALL: Final = (
    *_GRAPHS,
    *(Task.ATTRIBUTES, Task.REFERRING, Task.GROUNDING, Task.CHOICE, Task.QUESTION, Task.GRAPH, Task.DETECTION),
)
"""Of the later stages; what the images do not hold (phrases, attributes, questions) is not asked."""

STAGES: Final[Mapping[str, Stage]] = {
    # Ours: everything from random weights, on small sets.
    "scratch": Stage(
        rates=dict.fromkeys(_PARTS, 1.5e-3), epochs=4, batch=8, capacity=2048, tasks=_GRAPHS, decay=0.01, kept=1.0
    ),
    # Stage 0 in three phases, after Osprey's. The projector's own figures are not in the release: ours.
    "projector": Stage(rates={"projector": 1e-3}, epochs=1, batch=128, capacity=2048, tasks=(Task.DESCRIBE,)),
    # Osprey, its second script: the extractor alone, 2e-5, 2 epochs, batch 4, 2048 positions.
    "extractor": Stage(
        rates={"extractor": 2e-5}, epochs=2, batch=4, capacity=2048, tasks=(Task.DESCRIBE, Task.ATTRIBUTES)
    ),
    # Osprey, its third script: all but the tower, 1e-5, 2 epochs, batch 4, 2048 positions.
    "language": Stage(
        rates=dict.fromkeys(_PARTS[1:4], 1e-5), epochs=2, batch=4, capacity=2048, tasks=(Task.DESCRIBE, Task.ATTRIBUTES)
    ),
    # Stage 1: the tower learns from here on (released folder names); rate, batch and epochs as in stage 2: ours.
    "1": Stage(
        rates={**dict.fromkeys(_PARTS, 1e-5), **_NEW},
        epochs=1,
        batch=64,
        capacity=8192,
        tasks=_ALL,
        kept=0.7,
    ),
    # Stage 2: 1e-5, tower unfrozen, batch 64, 2 epochs, regions shuffled (the released checkpoint's folder name);
    # 70 to 100 % of the regions (released code).
    "2": Stage(
        rates={**dict.fromkeys(_PARTS, 1e-5), **_NEW},
        epochs=2,
        batch=64,
        capacity=8192,
        tasks=_ALL,
        kept=0.7,
    ),
}
"""By name; `docs/robin.md` says which numbers are cited and which are ours."""
