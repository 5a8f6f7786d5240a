"""Truths, answers as texts, and the parts of a reward, for the tests of rewards."""

from __future__ import annotations

import gzip
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.stages import Credit, Outcome
from sgforge_grpo import _REWARDS

DATA = Path(__file__).parents[1] / "data" / "grpo"

Thing = tuple[str, tuple[float, float, float, float]]
Fact = tuple[int, str, int]


def cases() -> Iterator[dict[str, Any]]:
    """The recorded values of the released rewards."""
    with gzip.open(DATA / "rewards.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def bigram(first: str, second: str) -> float:
    """The similarity that the recorded values were made with."""
    if first == second:
        return 1.0
    one, other = (
        {text} if len(text) == 1 else {text[i : i + 2] for i in range(len(text) - 1)} for text in (first, second)
    )
    return len(one & other) / len(one | other) if one | other else 0.0


def _pairs(text: str) -> set[str]:
    return {text} if len(text) == 1 else {text[place : place + 2] for place in range(len(text) - 1)}


def exact(first: str, second: str) -> float:
    """The other one."""
    return float(first == second)


def graph(things: Sequence[Thing], facts: Sequence[Fact] = (), size: tuple[int, int] = (100, 100)) -> SceneGraph:
    """A graph of labelled boxes and triplets of indices."""
    return SceneGraph(*size, [Region(name, box) for name, box in things], [Relation(*fact) for fact in facts])


def sample(things: Sequence[Thing], facts: Sequence[Fact] = (), image_id: str = "a") -> Sample:
    """A truth."""
    return Sample(image_id, graph(things, facts))


def said(things: Sequence[tuple[str, Any]], facts: Sequence[tuple[Any, Any, Any]] = (), tags: bool = True) -> str:
    """A completion: things by id and box as they are, facts by ids."""
    objects = [{"id": id_, "bbox": list(box) if isinstance(box, tuple) else box} for id_, box in things]
    relations = [{"subject": a, "predicate": b, "object": c} for a, b, c in facts]
    body = json.dumps({"objects": objects, "relationships": relations})
    return f"<think></think><answer>{body}</answer>" if tags else body


def built(name: str, measure: Any = None, /, **options: Any) -> Any:
    """A reward by its registered name; `measure`: a similarity that is no name."""
    target, config = _REWARDS[name]
    module, _, kind = target.partition(":")
    return getattr(importlib.import_module(f"sgforge_grpo.{module}"), kind)(config(**options), measure)


def credit_of(name: str, truth: Sample, outcome: Outcome | str | SceneGraph, **options: Any) -> Credit:
    """What one outcome is worth."""
    if isinstance(outcome, str):
        outcome = Outcome(text=outcome)
    elif isinstance(outcome, SceneGraph):
        outcome = Outcome(outcome)
    ((credit,),) = built(name, **options).score([truth], [[outcome]])
    return credit


def worth(name: str, truth: Sample, outcome: Outcome | str | SceneGraph, **options: Any) -> float:
    """Its total."""
    return credit_of(name, truth, outcome, **options).total
