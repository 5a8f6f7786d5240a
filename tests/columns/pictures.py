"""A toy renderer, and components that look at what it made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from PIL import Image

from sgforge.edits import Edit
from sgforge.graph import Caption, Region, Relation, Sample, SceneGraph
from sgforge.stages import Ranking, Report
from tests.support.dying import maybe_die

SIDE = 16


class Layouts:
    """Graphs without an image; the last one is held out."""

    def __init__(self, count: int = 6) -> None:
        self.count = count

    def samples(self, roots, name):
        for number in range(self.count):
            graph = SceneGraph(0, 0, [Region("cat"), Region("mat")], [Relation(0, "on", 1)])
            yield Sample(f"g{number}", graph, split="val" if number == self.count - 1 else "train")


@attrs.frozen
class Options:
    shade: int = 100


def picture(number: int, shade: int) -> bytes:
    """A PNG of one grey, another one for each image."""
    stream = io.BytesIO()
    Image.fromarray(np.full((SIDE, SIDE, 3), shade + number, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


class Renderer:
    revision = 1

    def __init__(self, options: Options = Options()) -> None:
        self.options = options
        self.files: Any = None

    def setup(self, resources) -> None:
        self.files = resources.files

    def render(self, samples: Sequence[Sample]) -> list[Edit]:
        edits = []
        for sample in samples:
            maybe_die()
            edits.append(Edit(image=self.files.put(picture(int(sample.image_id[1:]), self.options.shade), ".png")))
            maybe_die()
        return edits


class Captioner:
    """Says how bright the picture is: it has to look at it."""

    revision = 1
    options = Options()

    def caption(self, samples: Sequence[Sample]) -> list[Edit]:
        maybe_die()
        return [
            Edit.value("image", None, "caption", Caption(f"grey {sample.image.array()[0, 0, 0]}")) for sample in samples
        ]


class Student:
    """Ranks nothing, but by the brightness of the picture that it is shown."""

    revision = 1
    options = Options()

    def setup(self, resources) -> None:
        pass

    def train(self, snapshot_path, selection, out_dir, resources):
        from sgforge.stages import Checkpoint

        folder = out_dir / "weights"
        folder.mkdir(exist_ok=True)
        (folder / "w").write_text("w")
        return Checkpoint.of(folder)

    def generate(self, samples):
        return [Edit() for _ in samples]

    def rank(self, samples):
        return [
            Ranking(
                regions=sample.graph.all.regions,
                pairs=np.array([[0, 1]]),
                predicates=("on",),
                scores=np.array([[sample.image.array()[0, 0, 0] / 255]], np.float32),
            )
            for sample in samples
        ]


class Evaluator:
    """The score of the one pair, and the truth's width, which is that of the picture."""

    revision = 1
    options = Options()
    mode = "predcls"

    def evaluate(self, judged):
        scores = [(float(one.prediction.scores[0, 0]) * 255, one.truth.width) for one in judged]
        return Report("toy", {"brightness": scores[0][0] / 255, "width": scores[0][1] / 100})
