"""The options of the Robin student, with their defaults; light to import."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import validators

__all__ = ["RobinOptions"]

_POSITIVE = validators.ge(1)
_NOT_NEGATIVE = validators.ge(0)


_TASKS: Final = (
    *("describe", "attributes", "relations", "graph", "detection"),
    *("grounding", "referring", "question", "choice", "pair"),
)


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


def _check_tasks(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    for name in value:
        if name not in _TASKS:
            near = get_close_matches(name, _TASKS, 1)
            raise ValueError(f"there is no task {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _check_weights(instance: Any, attribute: Any, value: Mapping[str, float]) -> None:
    for name, weight in value.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"the weight of source {name!r} must be 0 or more, not {weight}")


@attrs.frozen
class RobinOptions:
    """`robin`: the student of Synthetic Visual Genome, a language model that sees an image and its regions.

    `preset`: its size when it is trained from random weights or from `language` and `tower`; "tiny" and "small" are
    ours, "3b" is the released one. `stage`: what learns, at which rates (`docs/robin.md`). `steps`: training steps, 0
    for the stage's epochs; `tasks`: what is asked in place of the stage's own; `images`: images a step, 0 for the
    stage's; `capacity`: positions of a packed row, 0 for the stage's; `rate`: scales the stage's learning rates.
    `lora`: the rank of adapters that learn instead of the language model's own weights, 0 for none. `source_weights`:
    how often an epoch shows the images of a source, by its name; 1 where it is not named. `save_every`: steps between
    saved states. `checkpointing`: compute activations again instead of keeping them. `compile`: on CUDA, compile layers
    and blocks; the first steps take a minute more. `sharding`: of several processes (`run = {processes = N}`) each
    holds the whole model ("replicated"), or a share of its weights, gradients and moments ("sharded"), while it is
    trained as while it is refined; both learn the same, up to rounding, so that it is in no key. `pair_head`: train one
    beside the decoder, for the closed vocabulary of the training; `spoken`: the share of examples that ask anything in
    words, the others teach the pair head alone. `comparing_layer`: put a new layer over the regions' tokens that tells
    each what it shares with others; a checkpoint that has one keeps it in any case. `reference_layer`: put a new layer
    beside the table of words that tells, wherever a line of text is about a region, what that one looks like; a
    checkpoint that has one keeps it in any case. `language`, `tower`: folders with a plain language model (weights and
    tokenizer.json) and with LAION's CLIP weights, to train from. `checkpoint`: a folder with a trained Robin: what
    generates where no training runs before, and what a training goes on from. `parity`: reproduce the released code
    where the default differs.

    `mode`: ask about each subject, or for the whole graph at once, or where no region is given ("detect") for objects
    with their boxes and relations; images with regions are then asked about each subject. `constrained`: answers about
    subjects follow a grammar, so that they always parse. `temperature`: 0 takes the likeliest token. `max_tokens`: of
    an answer. `relations_per_subject`: `generate` adds at most so many (R), and none with a lower score than
    `min_score`, in [0, 1]. `ranker`: what scores pairs where a Robin is evaluated, the words' probabilities or the pair
    head; `generate` always answers in words. `max_pairs`: pairs ranked in an image; where there are more, each region
    is paired with those nearest. `predicates`, `labels`: files with one a line, the closed vocabularies that `rank`
    scores; by default those of the training.
    """

    preset: Literal["tiny", "small", "3b"] = "tiny"
    stage: Literal["scratch", "projector", "extractor", "language", "1", "2"] = "scratch"
    steps: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    tasks: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_check_tasks)
    images: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    capacity: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    rate: float = attrs.field(default=1.0, validator=validators.gt(0.0))
    lora: int = attrs.field(default=0, validator=_NOT_NEGATIVE)
    source_weights: dict[str, float] = attrs.field(factory=dict, validator=_check_weights, hash=False)
    save_every: int = attrs.field(default=100, validator=_POSITIVE)
    checkpointing: bool = False
    compile: bool = True
    sharding: Literal["replicated", "sharded"] = attrs.field(default="replicated", eq=False)
    pair_head: bool = False
    comparing_layer: bool = False
    reference_layer: bool = False
    spoken: float = attrs.field(default=1.0, validator=validators.and_(_NOT_NEGATIVE, validators.le(1.0)))
    language: Path | None = None
    tower: Path | None = None
    checkpoint: Path | None = None
    parity: bool = False
    mode: Literal["per-subject", "full-graph", "detect"] = "per-subject"
    constrained: bool = True
    temperature: float = attrs.field(default=0.0, validator=_NOT_NEGATIVE)
    max_tokens: int = attrs.field(default=256, validator=_POSITIVE)
    relations_per_subject: int = attrs.field(default=5, validator=_POSITIVE)
    min_score: float = attrs.field(default=0.0, validator=validators.and_(_NOT_NEGATIVE, validators.le(1.0)))
    ranker: Literal["language", "pair-head"] = "language"
    max_pairs: int = attrs.field(default=2000, validator=_POSITIVE)
    predicates: Path | None = None
    labels: Path | None = None
