"""A dataset that grows by runs of small components: steps, pictures, trainings, evaluations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import numpy as np
from columns.pictures import SIDE, picture

import sgforge as sg
from sgforge.edits import Edit
from sgforge.engine.reporting.report import RunReport
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.stages import Checkpoint, Judged, Needs, Ranking, Report

IMAGES = 4


@attrs.frozen(kw_only=True)
class Config:
    """What a run does: whether it renders pictures, in which shade, completes, trains with which rate, generates."""

    shade: int = 0
    amount: int = 1
    rate: int = 0
    generates: bool = False
    evaluates: bool = False


@attrs.frozen
class Options:
    value: int = 0


class Source:
    """Graphs without an image; the last one is held out."""

    def samples(self, roots, name):
        for number in range(IMAGES):
            graph = SceneGraph(SIDE, SIDE, [Region("cup", (1, 1, 9, 9)), Region("table", (1, 9, 15, 15))], ON)
            yield Sample(f"g{number}", graph, split="val" if number == IMAGES - 1 else "train")


ON = [Relation(0, "on", 1)]


class Renderer:
    """A picture for each graph."""

    revision = 1

    def __init__(self, value: int) -> None:
        self.options = Options(value)
        self.files = None

    def setup(self, resources) -> None:
        self.files = resources.files

    def render(self, samples: Sequence[Sample]) -> list[Edit]:
        return [
            Edit(image=self.files.put(picture(int(sample.image_id[1:]), self.options.value), ".png"))
            for sample in samples
        ]


class Teacher:
    """Adds relations."""

    revision = 1

    def __init__(self, value: int) -> None:
        self.options = Options(value)

    def complete(self, samples: Sequence[Sample]) -> list[Edit]:
        rows = [Relation(1, f"p{number}", 0, score=0.5) for number in range(self.options.value)]
        return [Edit.add(*rows) for _ in samples]


class Student:
    """Its weights are its rate."""

    revision = 1

    def __init__(self, value: int, stops: bool = False) -> None:
        self.options = Options(value)
        self.needs = Needs()
        self._stops = stops
        self.rate = -1

    def setup(self, resources) -> None:
        if resources.checkpoint is not None:
            self.rate = json.loads((resources.checkpoint.path / "weights.json").read_text())

    def train(self, snapshot_path: Path, selection, out_dir: Path, resources) -> Checkpoint:
        (out_dir / "state").write_text("begun")
        if self._stops:
            raise RuntimeError("the device is gone")
        (out_dir / "weights.json").write_text(json.dumps(self.options.value))
        (out_dir / "state").unlink()
        return Checkpoint.of(out_dir)

    def generate(self, samples: Sequence[Sample]) -> list[Edit]:
        return [Edit.add(Relation(0, f"rate {self.rate}", 1, score=0.5)) for _ in samples]

    def rank(self, samples: Sequence[Sample]) -> list[Ranking]:
        pairs = np.array([(0, 1), (1, 0)], np.int32)
        return [Ranking(s.graph.all.regions, pairs, ("on",), np.ones((2, 1), np.float32)) for s in samples]


class Evaluator:
    """Counts images."""

    revision = 1
    mode = "predcls"
    options = Options()

    def evaluate(self, judged: Iterable[Judged]) -> Report:
        return Report("growing", {"images": float(len(list(judged)))})


def run(data: Path, config: Config, branch: str = "main") -> RunReport:
    """One run of a config."""
    steps = [sg.render(Renderer(config.shade))] if config.shade else []
    steps.append(sg.complete(Teacher(config.amount)))
    if config.rate:
        student = Student(config.rate)
        steps.append(sg.train(student))
        steps += [sg.generate(student)] if config.generates else []
        steps += [sg.evaluate(Evaluator())] if config.evaluates else []
    return sg.Pipeline(*steps).run(Source(), data, branch=branch, progress=False)


def computed(report: RunReport) -> int:
    """How many images a run computed at its steps."""
    return sum(step.counts.computed for step in report.steps)
