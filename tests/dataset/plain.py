"""A source of six images and a teacher, given as instances: a small run that leaves a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

import sgforge as sg
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph


@attrs.frozen
class Options:
    word: str = "holding"


class Source:
    """Six images of two regions and a relation."""

    revision, options = 1, Options()

    def samples(self, roots, name):
        for number in range(6):
            regions = [Region("a", (0, 0, 5, 5)), Region("b", (1, 1, 9, 9))]
            yield Sample(f"im{number}", SceneGraph(100, 100, regions, [Relation(0, "on", 1)]), split="train")


class Teacher:
    revision = 1

    def __init__(self, word: str = "holding") -> None:
        self.options = Options(word)

    def complete(self, samples: Sequence[Sample]) -> list[Edit]:
        return [Edit.add(Relation(0, f"{self.options.word}-{sample.image_id}", 1, score=0.25)) for sample in samples]


def run(data: Path, *words: str, progress=False):
    """Run a teacher for each word over the six images."""
    steps = [sg.complete(Teacher(word), name=word) for word in words or ("holding",)]
    return sg.Pipeline(*steps).run(Source(), data, progress=progress)
