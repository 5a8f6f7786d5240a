"""Questions and their answers. The wording is ours; the forms of answers are those of the released model."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import attrs

from sgforge_robin.text.graphs import NOTHING, GraphText, RelationText, serialise_graph, serialise_relations
from sgforge_robin.text.plain import attribute_texts, plain_name, plain_predicate, plain_sentence

__all__ = [
    "CHOICES",
    "Task",
    "Turn",
    "ask_attributes",
    "ask_choice",
    "ask_description",
    "ask_detection",
    "ask_graph",
    "ask_grounding",
    "ask_pair",
    "ask_question",
    "ask_referring",
    "ask_relations",
    "opening",
]

_PERSONA: Final = "You describe images by their regions and by how these relate."
_LETTERS: Final = "ABCD"
CHOICES: Final = len(_LETTERS)
"""Places that a choice may have."""


class Task(StrEnum):
    """What a training example asks."""

    DESCRIBE = "describe"
    ATTRIBUTES = "attributes"
    RELATIONS = "relations"
    GRAPH = "graph"
    DETECTION = "detection"
    GROUNDING = "grounding"
    REFERRING = "referring"
    QUESTION = "question"
    CHOICE = "choice"
    PAIR = "pair"


@attrs.frozen
class Turn:
    """A question about an image, and the answer that is learnt."""

    task: Task
    question: str
    answer: str


def opening(boxes: Sequence[str], names: Sequence[str] | None = None) -> str:
    """All that stands before the first question: the persona, the image, and its regions.

    Special tokens are spelled; `<image>` stands for the picture. `boxes`: a region's box text, "" for none; `names`:
    what is known to be in it, "" for nothing.
    """
    known = [""] * len(boxes) if names is None else names
    items = (
        " ".join(part for part in (f"region{number} <mask><pos>", box, plain_name(name)) if part)
        for number, (box, name) in enumerate(zip(boxes, known, strict=True), start=1)
    )
    regions = f"It has {len(boxes)} marked regions: {', '.join(items)}.\n" if boxes else ""
    return f"<|im_start|>system\n{_PERSONA}<|im_end|>\n<|im_start|>user\n<image>\nThis is the whole picture. {regions}"


def ask_description(region: int, text: str = "") -> Turn:
    """What a region is; the answer is a name or a phrase."""
    return Turn(Task.DESCRIBE, f"What is region{region}?", plain_name(text))


def ask_attributes(region: int, attributes: Sequence[str] = ()) -> Turn:
    """What a region is like."""
    return Turn(Task.ATTRIBUTES, f"What is region{region} like?", ", ".join(attribute_texts(attributes)) or NOTHING)


def ask_relations(subject: int, relations: Sequence[RelationText] = ()) -> Turn:
    """How one region relates to the others: `regionJ predicate, regionL predicate`."""
    answer = serialise_relations(relations) or NOTHING
    return Turn(Task.RELATIONS, f"Relations of region{subject}?", answer)


def ask_graph(graph: GraphText = GraphText()) -> Turn:
    """The whole graph of the given regions."""
    return Turn(Task.GRAPH, "Describe all regions, then all their relations.", serialise_graph(graph))


def ask_detection(graph: GraphText = GraphText()) -> Turn:
    """A graph with boxes where no region was given."""
    answer = serialise_graph(graph, detection=True)
    return Turn(Task.DETECTION, "Find the objects with their boxes, then relate them.", answer)


def ask_grounding(sentence: str, region: int = 0) -> Turn:
    """Which region a sentence means."""
    return Turn(
        Task.GROUNDING, f"Which region is meant by: {plain_sentence(sentence)}?", f"region{region}" if region else ""
    )


def ask_referring(region: int, sentence: str = "") -> Turn:
    """A sentence that means one region and no other."""
    return Turn(Task.REFERRING, f"Describe region{region} so that nothing else is meant.", plain_sentence(sentence))


def ask_question(question: str, graph: GraphText = GraphText(), answer: str = "") -> Turn:
    """A question about the picture, answered through the graph it needs: the graph, then `Answer: ...`."""
    text = f"{serialise_graph(graph)}\n\nAnswer: {plain_sentence(answer)}"
    return Turn(Task.QUESTION, f"{plain_sentence(question)} First give the graph that tells.", text)


def ask_choice(question: str, boxes: Sequence[str], right: int = 0) -> Turn:
    """Which of up to four places answers a question; the answer is its letter. `boxes`: their box texts."""
    if not 0 <= right < len(boxes) <= len(_LETTERS):
        raise ValueError(
            f"a choice has 1 to {len(_LETTERS)} places, the right one among them; got {right} of {len(boxes)}"
        )
    choices = " ".join(f"{letter}. {box}" for letter, box in zip(_LETTERS, boxes, strict=False))
    return Turn(Task.CHOICE, f"{plain_sentence(question)} {choices}", _LETTERS[right])


def ask_pair(subject: int, object_: int, predicate: str = "") -> Turn:
    """How one region relates to one other: a predicate or `none`. Ours: its answers rank a closed vocabulary."""
    answer = plain_predicate(predicate) or NOTHING
    return Turn(Task.PAIR, f"region{subject} to region{object_}?", answer)
