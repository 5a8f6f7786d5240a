"""What a vision-language model is asked, and how the truth reads as an answer. The words are our own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from sgforge.errors import ConfigError
from sgforge.graph import Relation, Sample, SceneGraph
from sgforge_grpo.config import VlmOptions
from sgforge_grpo.reading.answer import Frame, read_answer
from sgforge_grpo.reading.completion import parsed

__all__ = ["Question", "answer_text", "question_of", "read_relations"]


@attrs.frozen(eq=False)
class Question:
    """What is asked about an image: a text, the regions that it names by number, and how boxes are written."""

    text: str
    shown: tuple[int, ...]
    frame: Frame


def question_of(sample: Sample, options: VlmOptions, frame: Frame) -> Question:
    """The question of the options' task about a sample."""
    if options.task == "graph":
        return Question(_graph_text(options), (), frame)
    regions = sorted(sample.graph.regions, key=lambda index: (-_area(sample.graph, index), index))
    shown = tuple(sorted(regions[: options.max_regions]))
    return Question(_relations_text(sample.graph, shown, options, frame), shown, frame)


def _area(graph: SceneGraph, index: int) -> float:
    region = graph.all.regions[index]
    box = region.box or (region.mask.box if region.mask is not None else None)
    return (box[2] - box[0]) * (box[3] - box[1]) if box is not None else 0.0


def _graph_text(options: VlmOptions) -> str:
    return (
        "Describe this picture as a scene graph. Write JSON and nothing else, an object with two lists. "
        '"objects": one entry for each thing you see, with "id" (its name, a dot, a running number) and "bbox" (left, '
        'top, right, bottom as numbers). "relationships": one entry for each relation that holds between two of them, '
        'with "subject" and "object" (ids from the first list) and "predicate" (a few words).' + _vocabulary(options)
    )


def _relations_text(graph: SceneGraph, shown: Sequence[int], options: VlmOptions, frame: Frame) -> str:
    lines = []
    for number, index in enumerate(shown, 1):
        place = "" if options.regions == "marks" else f" {json.dumps(_written(graph, index, frame))}"
        lines.append(f"{_id(graph, index, number)}{place}")
    how = "The marks in the picture carry their numbers. " if options.regions == "marks" else ""
    listed = "\n".join(lines)
    return (
        f"These regions of the picture are known:\n{listed}\n{how}Say how they relate. Write JSON and nothing else: an "
        'object with the list "relationships", one entry for each relation, with "subject" and "object" (the names '
        'above, number included) and "predicate" (a few words).' + _vocabulary(options)
    )


def _vocabulary(options: VlmOptions) -> str:
    """The closed lists, where there are any."""
    told = ""
    for what, path in (("names of objects", options.labels), ("predicates", options.predicates)):
        if path is not None:
            told += f" Use only these {what}: {', '.join(_lines(path))}."
    return told


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None


def _id(graph: SceneGraph, index: int, number: int) -> str:
    return f"{graph.all.regions[index].label or 'region'}.{number}"


def _written(graph: SceneGraph, index: int, frame: Frame) -> list[float]:
    """A region's box as the model writes boxes: whole numbers, of fractions three digits."""
    region = graph.all.regions[index]
    box = region.box or (region.mask.box if region.mask is not None else None) or (0.0, 0.0, 0.0, 0.0)
    sides = [side / size * scale for side, size, scale in zip(box, _twice(frame), _scales(frame), strict=True)]
    return [round(side, 3) for side in sides] if max(frame.scale) <= 1 else [round(side) for side in sides]


def _twice(frame: Frame) -> tuple[float, float, float, float]:
    return frame.width, frame.height, frame.width, frame.height


def _scales(frame: Frame) -> tuple[float, float, float, float]:
    return (*frame.scale, *frame.scale)


def answer_text(sample: Sample, question: Question, options: VlmOptions) -> str:
    """The truth as the answer to learn: relations in the order of subject, object and predicate."""
    graph = sample.graph
    shown = question.shown if options.task == "relations" else tuple(graph.regions)
    numbers = {index: number for number, index in enumerate(shown, 1)}
    rows = sorted((row.subject, row.object, row.predicate) for row in graph.relations.values())
    relations = [
        {"subject": _id(graph, a, numbers[a]), "predicate": predicate, "object": _id(graph, b, numbers[b])}
        for a, b, predicate in dict.fromkeys(rows)
        if a in numbers and b in numbers
    ]
    if options.task == "relations":
        return json.dumps({"relationships": relations}, ensure_ascii=False)
    objects = [
        {"id": _id(graph, index, number), "bbox": _written(graph, index, question.frame)}
        for index, number in numbers.items()
    ]
    return json.dumps({"objects": objects, "relationships": relations}, ensure_ascii=False)


def read_relations(text: str, question: Question) -> tuple[list[Relation], list[str]]:
    """Relations between the regions shown, in the order said, each once; and a code for each thing left out."""
    whole, faults = parsed(text)
    items = whole.get("relationships") if whole is not None else None
    if whole is not None and not isinstance(items, list):
        faults.append("no-relationships")
    found: dict[tuple[int, str, int], None] = {}
    for one in items if isinstance(items, list) else ():
        fault = _take(one, question, found)
        if fault is not None:
            faults.append(fault)
    count = len(found)
    scores = [1 - place / (count + 1) for place in range(count)]
    relations = [
        Relation(subject, predicate, target, score=score)
        for (subject, predicate, target), score in zip(found, scores, strict=True)
    ]
    return relations, faults


def _take(one: Any, question: Question, found: dict[tuple[int, str, int], None]) -> str | None:
    if not isinstance(one, dict):
        return "no-relation"
    predicate = one.get("predicate")
    if not (isinstance(predicate, str) and predicate.strip()):
        return "no-predicate"
    ends = [_numbered(one.get(key), question) for key in ("subject", "object")]
    if ends[0] is None or ends[1] is None:
        return "unknown-id"
    if ends[0] == ends[1]:
        return "self-relation"
    row = (ends[0], predicate.strip(), ends[1])
    if row in found:
        return "duplicate-relation"
    found[row] = None
    return None


def _numbered(id_: Any, question: Question) -> int | None:
    """The region that an id names by its number."""
    number = id_.strip().rpartition(".")[2] if isinstance(id_, str) else ""
    if not (number.isascii() and number.isdecimal() and len(number) < 6 and 1 <= int(number) <= len(question.shown)):
        return None
    return question.shown[int(number) - 1]


def read_graph(text: str, question: Question) -> tuple[SceneGraph, list[str]]:
    """A whole graph with its own regions; relations are scored by the order in which they were said."""
    answer = read_answer(text, question.frame)
    graph = answer.as_graph(round(question.frame.width), round(question.frame.height))
    count = len(graph.relations)
    relations = [attrs.evolve(row, score=1 - place / (count + 1)) for place, row in enumerate(graph.all.relations)]
    return SceneGraph(graph.width, graph.height, graph.all.regions, relations), list(answer.faults)
