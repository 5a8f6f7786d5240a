"""The suites of renderers, captioners, questioners and judges, each met by a toy; and a map that lies in a file."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image

import sgforge as sg
from sgforge.columns import Column
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.file_refs import FileRef
from sgforge.plugins import Owner, Registry
from sgforge.testing.contracts.items import CaptionerContract, JudgeContract, QuestionerContract, RendererContract
from tests.columns import toys


@sg.hookimpl
def sgforge_register_captioners(register):
    register("toy", toys.Captioner)


@sg.hookimpl
def sgforge_register_questioners(register):
    register("toy", toys.Questioner)


@sg.hookimpl
def sgforge_register_judges(register):
    register("toy", toys.Judge)


@sg.hookimpl
def sgforge_register_renderers(register):
    register("toy", Painter)


class Painter:
    """One grey, as large as the layout says."""

    def setup(self, resources) -> None:
        self.files = resources.files

    def render(self, samples):
        edits = []
        for sample in samples:
            stream = io.BytesIO()
            Image.new("RGB", (sample.graph.width or 8, sample.graph.height or 8), "grey").save(stream, "PNG")
            edits.append(sg.Edit(image=self.files.put(stream.getvalue(), ".png")))
        return edits


class Toys:
    """The components of this module, and no others."""

    def registry(self) -> Registry:
        registry = Registry()
        assert registry.add(sys.modules[__name__], Owner("toy")).ok
        return registry


class TestRenderer(Toys, RendererContract):
    component = "toy"


class TestCaptioner(Toys, CaptionerContract):
    component = "toy"


class TestQuestioner(Toys, QuestionerContract):
    component = "toy"


class TestJudge(Toys, JudgeContract):
    component = "toy"


class _Says(toys.Judge):
    said: object = None

    def _answer(self, sample):
        return sg.Edit.value("image", None, "answers", self.said)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"yes": [0.5, 0.5]}, "answers are"),
        ({"yes": [0.5], "total": 0.5}, "1 answers to 2 questions"),
        ({"yes": [0.5, 1.5], "total": 0.5}, "no chances in"),
        ({"yes": [0.5, None], "total": None}, "the total is missing"),
    ],
)
def test_the_suite_of_judges_catches_answers_that_are_none(tmp_path, said, told):
    class Suite(JudgeContract):
        component = "says"

        def registry(self):
            class Plugin:
                @sg.hookimpl
                def sgforge_register_judges(self, register):
                    register("says", type("Says", (_Says,), {"said": said}))

            registry = Registry()
            assert registry.add(Plugin(), Owner("says")).ok
            return registry

    with pytest.raises(AssertionError, match=told):
        Suite().test_answers_are_chances_and_a_total(tmp_path)


class Mapper:
    """Keeps a map of 64 x 64 numbers for each first region."""

    columns = (Column("region", "toy.map", "f4", (64, 64)),)

    def setup(self, resources) -> None:
        self.files = resources.files

    def edit(self, samples):
        return [
            sg.Edit.value("region", 0, "toy.map", self.files.put(np.full((64, 64), 7, "<f4").tobytes(), ".f4"))
            for _ in samples
        ]


def test_a_wide_value_lies_in_a_file_that_is_kept_once(tmp_path):
    report = sg.Pipeline(sg.edit(Mapper())).run(toys.Source(3), tmp_path / "d", progress=False)
    assert report.status == "done"
    dataset = sg.Dataset.open(tmp_path / "d")
    refs = dataset.column("region/toy.map").values
    assert len(refs) == 3
    assert isinstance(refs[0], FileRef)
    assert len({ref.sha256 for ref in refs}) == 1
    assert (np.frombuffer(dataset.read_file(refs[0]), "<f4") == 7).all()
    (tmp_path / "d/files" / refs[0].sha256[:2] / f"{refs[0].sha256}.f4").unlink()
    assert any("gone" in problem for problem in verify_dataset(tmp_path / "d").problems)
    with pytest.raises(sg.SgforgeError, match="make it again"):
        dataset.read_file(refs[0])
