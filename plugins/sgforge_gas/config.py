"""Options of what this plugin registers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

__all__ = [
    "CaptionerOptions",
    "Draws",
    "GasOptions",
    "Over",
    "ParaphraseOptions",
    "Plausibility",
    "QuestionerOptions",
    "Style",
]

Over: TypeAlias = Literal["structures", "complexity", "sizes", "histogram"]
Plausibility: TypeAlias = Literal["none", "types", "seen"]
Style: TypeAlias = Literal["sentence", "list", "dense"]


def _span(instance: object, attribute: attrs.Attribute[Any], value: tuple[float, ...]) -> None:
    if len(value) > 2 or any(one < 0 for one in value) or (value and value[0] > value[-1]):
        raise ValueError(f"must be one number from 0 or two, the lesser first, not {list(value)}")


def _from_0(instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"must be 0 or more, not {value}")


def _bound() -> Any:
    return attrs.field(default=(), converter=tuple, validator=_span)


@attrs.frozen
class Draws:
    """What graphs are drawn; bounds are `[n]` or `[least, most]`, none without it.

    `complexity`: objects + relations + attributes, [3, 9] where neither it nor `objects` is bounded. `components`:
    weakly connected ones. `average_degree`: of 2 relations / objects. `max_degree`: relations of one object, at most.
    `cycles`: relations may lead back to where they began. `parallel`: a pair may have several predicates.
    `prior`: what is equally likely, "complexity" (each of these, then each structure of it), "structures", "sizes"
    (each number of objects, relations and attributes, then each structure of it), or "histogram", by the weights of
    sizes in `histogram` (JSON, `[[objects, relations, attributes, weight], ...]`) or, without it, those of the graphs
    that the vocabulary was mined from. `vocabulary`: a JSON or TOML file; our starter without it. `plausibility`:
    "types" draws attributes and relations that fit the types of objects, "seen" by how often they were seen together
    in the graphs that the vocabulary was mined from, "none" any. `scene_attributes`: how many of the whole scene.
    `seed`: of all that is random.
    """

    complexity: tuple[int, ...] = _bound()
    objects: tuple[int, ...] = _bound()
    relations: tuple[int, ...] = _bound()
    attributes: tuple[int, ...] = _bound()
    components: tuple[int, ...] = _bound()
    average_degree: tuple[float, ...] = _bound()
    max_degree: int | None = attrs.field(default=None, validator=_from_0)
    cycles: bool = False
    parallel: bool = False
    prior: Over = "complexity"
    histogram: Path | None = None
    vocabulary: Path | None = None
    plausibility: Plausibility = "types"
    scene_attributes: tuple[int, ...] = attrs.field(default=(0, 2), converter=tuple, validator=_span)
    seed: int = attrs.field(default=0, validator=_from_0)


@attrs.frozen(kw_only=True)
class GasOptions(Draws):
    """Graphs drawn from a vocabulary, without images; see `Draws` for what is drawn.

    `count`: how many; `start`: the number of the first. Graph i is the same in any range and with any other options of
    the run. `split`: of all of them; without it some are held out by their ids.
    """

    count: int = attrs.field(default=1000, validator=_from_0)
    start: int = attrs.field(default=0, validator=_from_0)
    split: str | None = None


@attrs.frozen(kw_only=True)
class CaptionerOptions:
    """Captions written from graphs.

    `style`: "sentence" (clauses, each attribute at the first mention), "list" (the objects first, then a sentence for
    each subject) or "dense" (a paragraph, attributes in sentences of their own). `vocabulary`: how words are said; our
    starter and rules without it. `spans`: fill the column gas.spans with the span of every element.
    """

    style: Style = "sentence"
    vocabulary: Path | None = None
    spans: bool = True


@attrs.frozen(kw_only=True)
class ParaphraseOptions:
    """Captions reworded by a model, and checked.

    `model`: "provider/model". `tries`: how often it is asked before our own caption stands. `style`, `vocabulary`: of
    the caption that is reworded.
    """

    model: str
    tries: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    temperature: float | None = None
    style: Style = "sentence"
    vocabulary: Path | None = None


@attrs.frozen(kw_only=True)
class QuestionerOptions:
    """Questions that a graph answers.

    `counts`: how many there are of each label. `negatives`: questions whose answer is no for sure. `choices`: questions
    with several choices beside those with yes and no. `vocabulary`: how words are said and what excludes what; our
    starter without it. `seed`: of the wrong words that are chosen.
    """

    counts: bool = True
    negatives: bool = True
    choices: bool = False
    vocabulary: Path | None = None
    seed: int = attrs.field(default=0, validator=_from_0)
