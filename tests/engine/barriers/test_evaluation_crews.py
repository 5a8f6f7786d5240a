"""Who answers in an evaluation: as in item steps, one bad image costs itself, and each is given what it needs."""

from __future__ import annotations

import asyncio
from collections import Counter

import attrs
import engine_toys
import pytest
from engine_toys import EvaluatorOptions, ToyEvaluator, ToySgdet, ToyStudent, ToyTeacher
from hypothesis import given
from hypothesis import strategies as st

import sgforge as sg
from sgforge.edits import Edit
from sgforge.engine.barriers.evaluation import _Finder
from sgforge.engine.executors.crew import ask
from sgforge.engine.executors.local import LocalExecutor
from sgforge.engine.executors.work import Work
from sgforge.engine.planning.components import ComponentSpec
from sgforge.errors import SgforgeError, StepError
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.models import Capabilities, ModelSettings, Usage
from sgforge.models.provider import Reply
from sgforge.stages import VERBS, Failure, Needs, Resources
from sgforge.testing import IsolatedPlugins


class AsyncSegmenter:
    """Finds one region; cannot do the images named in `bad`; knows how many questions were asked at once."""

    def __init__(self, bad: str = "") -> None:
        self.bad = bad
        self.asked: list[str] = []
        self.in_flight = self.most = 0

    async def segment(self, sample: Sample) -> Edit:
        self.asked.append(sample.image_id)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if sample.image_id in self.bad:
            raise RuntimeError("cannot do this one")
        return Edit.add(Region(box=(0, 0, 1, 1)))


class SyncSegmenter(AsyncSegmenter):
    """The same by batches, which fail as a whole."""

    def segment(self, samples):  # type: ignore[override]
        self.asked += [sample.image_id for sample in samples]
        if any(sample.image_id in self.bad for sample in samples):
            raise RuntimeError("cannot do one of these")
        return [Edit.add(Region(box=(0, 0, 1, 1))) for _ in samples]


def find(segmenter: object, names: str, workers: int | None = None) -> list[Sample | Failure]:
    async def found() -> list[Sample | Failure]:
        spec = ComponentSpec("segmenter", "toy", "", {}, instance=segmenter)
        crew = await LocalExecutor().open(Work(spec=spec, method="segment", resources=Resources(), workers=workers))
        try:
            return await _Finder("segment", VERBS["segment"], crew, {}).find(
                [Sample(name, SceneGraph(4, 4)) for name in names]
            )
        finally:
            await crew.close()

    return asyncio.run(found())


@pytest.mark.parametrize("kind", [AsyncSegmenter, SyncSegmenter])
def test_one_bad_image_costs_one_image(kind):
    segmenter = kind("b")
    shown = find(segmenter, "abcd")
    assert [isinstance(each, Failure) for each in shown] == [False, True, False, False]
    # Async: each once. Sync: the batch, then one by one.
    assert len(segmenter.asked) == (4 if kind is AsyncSegmenter else 8)


def test_no_more_questions_are_asked_at_once_than_the_step_says():
    segmenter = AsyncSegmenter()
    assert len(find(segmenter, "abcdefghij", workers=3)) == 10
    assert segmenter.most == 3


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.text("abcdefgh"), st.integers(1, 3), st.integers(1, 4))
def test_answers_come_in_the_order_of_the_samples(names, bad, batch, workers):
    class Segmenter(AsyncSegmenter):
        async def segment(self, sample):
            for _ in range(ord(sample.image_id) % 3):
                await asyncio.sleep(0)
            if sample.image_id in bad:
                return Failure("bad", sample.image_id)
            return Edit.add(Region(label=sample.image_id))

    async def answers():
        spec = ComponentSpec("segmenter", "toy", "", {}, instance=Segmenter())
        work = Work(spec=spec, method="segment", resources=Resources(), batch_size=batch, workers=workers)
        crew = await LocalExecutor().open(work)
        return await ask(crew, [Sample(name, SceneGraph(4, 4)) for name in names])

    said = [one.detail if isinstance(one, Failure) else one.regions[0].label for one in asyncio.run(answers())]
    assert said == list(names)


@pytest.mark.parametrize("kind", [AsyncSegmenter, SyncSegmenter])
def test_a_run_counts_the_image_that_its_segmenter_cannot_do_once(toys, tmp_path, kind):
    segmenter = kind(("00009",))
    report = sg.Pipeline(
        sg.segment(segmenter, on={"split": "train"}), sg.train(ToyStudent()), sg.evaluate(ToySgdet())
    ).run(sg.source("toy", count=20), tmp_path, progress=False)
    found = report.step("evaluate").report
    assert (found.images_used, found.values["failures"]) == (3, 1.0)
    held_out = Counter(name for name in segmenter.asked if int(name) % 5 == 4)
    assert set(held_out.values()) <= ({1} if kind is AsyncSegmenter else {2})


class BrokeError(SgforgeError):
    stops_run = True
    exit_code = 3


@pytest.mark.parametrize("swallows", [False, True])
def test_a_budget_that_ends_in_an_evaluation_ends_the_run_as_in_any_step(toys, tmp_path, swallows):
    class Segmenter(AsyncSegmenter):
        async def segment(self, sample):
            if int(sample.image_id) % 5 == 4:
                raise BrokeError("the budget is reached")
            return Edit.add(Region(box=(0, 0, 9, 9)))

    class Patient(ToySgdet):
        def evaluate(self, judged):
            try:
                return super().evaluate(judged)
            except Exception:
                if not swallows:
                    raise
                return super().evaluate([])

    steps = sg.segment(Segmenter(), on={"split": "train"}), sg.train(ToyStudent()), sg.evaluate(Patient())
    report = sg.Pipeline(*steps).run(sg.source("toy", count=20), tmp_path, progress=False)
    assert (report.status, report.message) == ("budget", "the budget is reached")
    assert report.step("evaluate").status == "unfinished"
    assert not list((tmp_path / "steps").glob("*/report.json"))
    assert not list((tmp_path / "steps").glob("*/predictions.jsonl"))


def test_an_evaluator_without_a_mode_is_told_which_there_are(toys, tmp_path):
    class Modeless(ToyEvaluator):
        mode = "phrdet"

    with pytest.raises(
        StepError, match="Modeless has mode 'phrdet'; an evaluator's mode is one of predcls, sgcls, sgdet"
    ):
        sg.Pipeline(sg.train(ToyStudent()), sg.evaluate(Modeless())).run(
            sg.source("toy", count=20), tmp_path, progress=False
        )


GIVEN: dict[str, Resources] = {}


class Provider:
    """A model that costs nothing and says x."""

    def __init__(self, settings):
        self.settings = settings

    def capabilities(self, model):
        return Capabilities(images=False, paid=False)

    def identity(self, model):
        return None

    def problems(self, model):
        return []

    def body(self, model, request, encode):
        return {}

    def load(self, model): ...

    async def send(self, body):
        return b"{}"

    def read(self, raw):
        return Reply("x", "stop", Usage(input=1, output=1))

    async def close(self): ...


@attrs.frozen
class Options:
    model: str = "toy/one"


class Judge(ToyEvaluator):
    mode = "sgdet"

    def __init__(self, options=Options()):
        super().__init__(EvaluatorOptions())

    def setup(self, resources):
        GIVEN["judge"] = resources

    def evaluate(self, judged):
        from sgforge.models import ChatRequest, Message

        model = GIVEN["judge"].model
        text = asyncio.run(model.complete(ChatRequest([Message("user", "what?")]))).text
        report = super().evaluate(judged)
        return attrs.evolve(report, notes=(text,))


class Student(ToyStudent):
    def setup(self, resources):
        super().setup(resources)
        GIVEN["student"] = resources


class Segmenter(ToyTeacher):
    def setup(self, resources):
        GIVEN["segmenter"] = resources

    def segment(self, samples):
        return [Edit() for _ in samples]


class Plugin:
    @sg.hookimpl
    def sgforge_register_evaluators(self, register):
        register("judge", Judge, config=Options, needs=Needs(model=True))

    @sg.hookimpl
    def sgforge_register_models(self, register):
        register("toy", Provider, config=ModelSettings)


def test_everyone_in_an_evaluation_is_given_what_components_are_given(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with IsolatedPlugins(engine_toys.this_plugin(), Plugin()):
        steps = sg.segment(Segmenter()), sg.train(Student()), sg.evaluate("judge", model="toy/one")
        report = sg.Pipeline(*steps).run(
            sg.source("toy", count=20), tmp_path / "data", progress=False, seed=7, roots={"pictures": pictures}
        )
    judge = GIVEN["judge"]
    assert judge.model.name == "toy/one"
    assert judge.roots.resolve("pictures:") == pictures
    assert report.step("evaluate").report.notes == ("x",)
    assert GIVEN["student"].checkpoint is not None
    for given_one in GIVEN.values():
        assert (given_one.seed, given_one.scratch) == (7, judge.scratch)
        assert given_one.scratch is not None
        assert given_one.device == judge.device
