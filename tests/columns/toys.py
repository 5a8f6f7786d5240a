"""Toy components that fill columns of every type, and what they give."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import numpy as np

from sgforge.columns import Column
from sgforge.edits import Edit
from sgforge.graph import Caption, Question, Region, Relation, Sample, SceneGraph, Span
from sgforge.stages import Failure

COLUMNS = (
    Column("image", "toy.half", "f2", (3,)),
    Column("region", "toy.byte", "u1"),
    Column("region", "toy.wide", "f4", (4, 5)),
    Column("relation", "toy.long", "i8", (2,)),
    Column("image", "toy.text", "text"),
    Column("region", "toy.json", "json"),
)
QUESTIONS = (
    Question("entity", "Is there a cät?", "yes", ("yes", "no"), (0,)),
    Question("relation", "Is it on the mat?", dependencies=(0,)),
)


class Source:
    """Images with two regions and a relation; every second one brings a text."""

    def __init__(self, count: int = 6) -> None:
        self.count = count

    def samples(self, roots, name):
        for number in range(self.count):
            graph = SceneGraph(0, 0, [Region("cat"), Region("mat")], [Relation(0, "on", 1)])
            values = {"toy.given": f"nöte {number}"} if number % 2 else {}
            yield Sample(f"i{number}", graph, split="train", values=values)


def edit_of(sample: Sample, scale: int = 1) -> Edit:
    """One value of each type, told from the image's id alone."""
    number = int(sample.image_id[1:]) * scale
    return Edit.sum(
        [
            Edit.value("image", None, "toy.half", [number, 0.5, -2.0]),
            Edit.value("region", 0, "toy.byte", 255 - number),
            Edit.value("region", 1, "toy.wide", np.full((4, 5), number, np.float64)),
            Edit.value("relation", 0, "toy.long", [2**40 + number, -1]),
            Edit.value("image", None, "toy.text", f"日本 {number}"),
            Edit.value("region", 1, "toy.json", {"b": [1, None, "x"], "a": number}),
        ]
    )


class Filler:
    """Fills one column of each type; `dies_at`: the image at which its process is killed."""

    columns = COLUMNS
    revision = 1
    options = None

    def __init__(self, scale: int = 1, dies_at: str | None = None) -> None:
        self.scale = scale
        self.dies_at = dies_at

    def edit(self, samples: Sequence[Sample]) -> list[Edit]:
        if any(sample.image_id == self.dies_at for sample in samples):
            os.kill(os.getpid(), signal.SIGKILL)
        return [edit_of(sample, self.scale) for sample in samples]


class Captioner:
    """Writes what it is told."""

    def __init__(self, words: str = "a cät on a mat") -> None:
        self.words = words

    def caption(self, samples: Sequence[Sample]) -> list[Edit]:
        span = Span(2, 5, 0)
        return [Edit.value("image", None, "caption", Caption(self.words, [span])) for _ in samples]


class Questioner:
    """Asks two questions."""

    def question(self, samples: Sequence[Sample]) -> list[Edit]:
        return [Edit.value("image", None, "questions", QUESTIONS) for _ in samples]


class Judge:
    """Answers as many as there are."""

    def judge(self, samples: Sequence[Sample]) -> list[Edit | Failure]:
        return [self._answer(sample) for sample in samples]

    def _answer(self, sample: Sample) -> Edit | Failure:
        if "questions" not in sample.values:
            return Failure("no-questions")
        answers = {"yes": [0.5] * len(sample.values["questions"]), "total": 0.25}
        return Edit.value("image", None, "answers", answers)


class Segmenter:
    """Adds a region."""

    def segment(self, samples: Sequence[Sample]) -> list[Edit]:
        return [Edit.add(Region("tail")) for _ in samples]


class Rejecter:
    """Judges, and touches nothing else."""

    def filter(self, samples: Sequence[Sample]) -> list[Edit]:
        return [Edit.reject(0, "dull") for _ in samples]
