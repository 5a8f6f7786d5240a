"""What passes between processes, alone: it arrives as it was sent, and errors are what they were."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import attrs
import engine_toys
import numpy as np
import pytest
from dataset.given import edits, samples
from engine_toys import StageOptions, ToyTeacher
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sgforge.edits import Edit, apply_edit
from sgforge.engine.executors.answering import Outcome, StopRunError, answer_batch, recorded
from sgforge.engine.executors.check_answer import check_answer
from sgforge.engine.executors.error_messages import error_fields, error_of
from sgforge.engine.executors.model_messages import DistantModel, answer_question, model_fields
from sgforge.engine.executors.picture_messages import DistantRoots
from sgforge.engine.executors.sample_messages import (
    pack_end,
    pack_outcomes,
    pack_samples,
    unpack_outcomes,
    unpack_samples,
)
from sgforge.engine.executors.station import Station, open_station
from sgforge.engine.executors.work import Work
from sgforge.engine.executors.work_messages import pack_work, unpack_work
from sgforge.engine.planning.components import ComponentSpec, find_spec
from sgforge.errors import ImageError, StepError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.models import Capabilities, ChatRequest, ChatResponse, ImagePart, Message, TextPart, Usage
from sgforge.models.errors import (
    BudgetReachedError,
    DeferredError,
    ModelError,
    NotSentError,
    RunStoppedError,
    StoreError,
)
from sgforge.stages import Checkpoint, Failure, Ranking, Resources, Worker


@given(st.lists(samples(), max_size=3))
def test_samples_arrive_as_they_are(given_samples):
    assert unpack_samples(pack_samples(given_samples), None) == given_samples


def test_a_sample_arrives_with_its_picture(tmp_path):
    Image.new("RGB", (3, 2), (7, 8, 9)).save(tmp_path / "a.png")
    sent = [Sample("a", SceneGraph(3, 2), uri="pictures:a.png"), Sample("b", SceneGraph(3, 2))]
    seen, bare = unpack_samples(pack_samples(sent), Roots({"pictures": tmp_path}))
    assert seen.image.array()[0, 0].tolist() == [7, 8, 9]
    assert bare.image is None


@given(st.data())
def test_answers_arrive_with_the_effect_that_they_have(data):
    sample = data.draw(samples())
    answers = [*map(check_answer, data.draw(st.lists(edits(sample.graph), max_size=3))), Failure("why", "it was so")]
    calls = tuple(data.draw(st.lists(st.text("abc", min_size=1), max_size=2)))
    sent = [Outcome(answer, calls) for answer in answers]
    found = unpack_outcomes(pack_outcomes([sample] * len(sent), sent))
    assert [outcome.calls for outcome in found] == [calls] * len(sent)
    assert [outcome.answer for outcome in found] == answers


def test_a_sum_of_edits_arrives_as_one_that_does_the_same():
    graph = SceneGraph(9, 9, [Region("a"), Region("b")])
    # Each names its own row: both are the third region where they are made.
    parts = [Edit(regions=[Region(name)], relations=[Relation(0, "near", 2)]) for name in "cd"]
    (found,) = unpack_outcomes(pack_outcomes([Sample("x", graph)], [Outcome(Edit.sum(parts))]))
    assert not found.answer.parts
    assert apply_edit(graph, found.answer, "s") == apply_edit(graph, Edit.sum(parts), "s")
    assert [row.object for row in found.answer.relations] == [2, 3]


def test_fewer_outcomes_than_samples_are_those_of_the_first():
    two = [Sample("a"), Sample("b")]
    assert unpack_outcomes(pack_outcomes(two, [Outcome(Edit.drop("dull"))])) == [Outcome(Edit.drop("dull"))]


def test_a_ranking_arrives_as_it_is():
    pairs, scores = np.array([[0, 1], [1, 0]], np.int32), np.array([[0.5, 0], [1, 0.25]], np.float32)
    sent = Ranking((Region("a", (0, 0, 1, 1), score=0.5), Region("b")), pairs, ("on", "near"), scores)
    (found,) = unpack_outcomes(pack_outcomes([Sample("x")], [Outcome(sent)]))
    answer = found.answer
    assert (answer.regions, answer.predicates) == (sent.regions, sent.predicates)
    assert (answer.pairs.dtype, answer.scores.dtype) == (pairs.dtype, scores.dtype)
    assert answer.pairs.tolist() == [[0, 1], [1, 0]]
    assert answer.scores.tolist() == [[0.5, 0], [1, 0.25]]


@pytest.mark.parametrize(
    "spoilt",
    [
        Ranking(("no region",), np.zeros((0, 2), int), (), np.zeros((0, 0))),
        Ranking((Region(),), np.array([[None, None]], object), ("on",), np.zeros((1, 1))),
    ],
)
def test_a_ranking_that_no_message_holds_fails_its_sample_alone(spoilt):
    sent = [Outcome(spoilt), Outcome(Failure("other"))]
    first, second = unpack_outcomes(pack_outcomes([Sample("x"), Sample("y")], sent))
    assert first.answer.reason == "contract"
    assert second.answer == Failure("other")


ERRORS = [
    ModelError("refused", "it said no"),
    RunStoppedError("keys", "all refused"),
    StoreError("disk full"),
    BudgetReachedError("more than 5 USD"),
    NotSentError(),
    DeferredError("in a batch"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_model_is_the_same_where_it_was_asked(error):
    found = error_of(error_fields(error))
    assert type(found) is type(error)
    assert (str(found), found.reason, found.detail) == (str(error), error.reason, error.detail)
    assert (found.exit_code, found.stops_run, found.goes_back) == (error.exit_code, error.stops_run, error.goes_back)


def test_other_errors_keep_their_words_and_exit_code():
    error = StepError("it broke")
    error.exit_code = 3
    found = error_of(error_fields(error))
    assert (type(found), str(found), found.exit_code) == (StepError, "it broke", 3)
    assert str(error_of(error_fields(KeyError("k")))).startswith("KeyError: ")


def test_what_ends_the_run_there_ends_it_here():
    with pytest.raises(StopRunError, match="more than 5 USD") as found:
        unpack_outcomes(pack_end(StopRunError(BudgetReachedError("more than 5 USD"))))
    assert found.value.cause.exit_code == 3


class Asked:
    """A model that answers with what it was given, or raises."""

    name, capabilities, max_in_flight = "toy/one", Capabilities(images=True, sampling=frozenset({"seed"})), 7

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest, /) -> ChatResponse:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return ChatResponse(
            text="yes",
            parsed={"number": 2**80, "list": [1.5, None, "ü"]},
            call_id=f"call-{len(self.requests)}",
            usage=Usage(input=3, output=4),
            cost_usd=0.25,
            cached=True,
            model="one-2",
            repaired=True,
            probabilities={"yes": 0.75},
            notes=("smaller",),
        )


@pytest.fixture
def distant() -> Iterator[Callable[[Asked], DistantModel]]:
    """A model as another process would ask it: every question passes as bytes, to a loop that is not the asker's."""
    with ThreadPoolExecutor(1) as driver:
        yield lambda model: DistantModel.of(
            model_fields(model), lambda question: driver.submit(asyncio.run, answer_question([model], question))
        )


def test_a_question_arrives_whole_and_so_does_its_answer(distant):
    model = Asked()
    far = distant(model)
    assert (far.name, far.capabilities, far.max_in_flight) == ("toy/one", Asked.capabilities, 7)
    picture = ImagePart.from_pil(Image.new("RGB", (3, 2), "red"), "PNG", detail="low")
    request = ChatRequest(
        messages=(Message("system", "be short"), Message("user", (picture, TextPart("what?"), picture))),
        schema={"type": "object", "maximum": 2**70},
        max_tokens=9,
        temperature=0.5,
        seed=4,
        stop=("end",),
        choices=("yes", "no"),
        ordinal=2,
    )
    response = asyncio.run(far.complete(request))
    (arrived,) = model.requests
    assert arrived == request
    assert [part.load() for part in arrived.images] == [picture.load()] * 2
    assert arrived.images[0].size == (3, 2)
    assert arrived.images[0].detail == "low"
    assert response == asyncio.run(Asked().complete(request))


def test_calls_are_recorded_where_they_are_asked(distant):
    resources = Resources(model=distant(Asked()))
    request = ChatRequest(messages=(Message("user", "what?"),))

    def call(batch):
        for _ in batch:
            asyncio.run(resources.model.complete(request))
        return [Edit() for _ in batch]

    found = answer_batch(call, [Sample("a"), Sample("b")], check_answer, resources)
    assert [outcome.calls for outcome in found] == [("call-1", "call-2")] * 2


def test_a_question_that_was_kept_back_leaves_its_sample_unasked_whatever_is_answered(distant):
    resources = Resources(model=distant(Asked(NotSentError())))

    def call(batch):
        with pytest.raises(NotSentError):
            asyncio.run(resources.model.complete(ChatRequest(messages=(Message("user", "what?"),))))
        return [Edit() for _ in batch]

    assert answer_batch(call, [Sample("a")], check_answer, resources) == []
    with pytest.raises(NotSentError), recorded(resources):
        call([])


def test_work_arrives_as_it_was_planned(toys, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/one").write_text("1")
    spec, _ = find_spec(toys, "teacher", "toy", {"amount": 5, "fail": ["00001"]})
    checkpoint = Checkpoint.of(tmp_path / "weights", {"loss": 0.5})
    resources = Resources(
        devices=("cuda:1", "cuda:3"),
        dtype="bfloat16",
        seed=3,
        worker=Worker(1, 2),
        checkpoint=checkpoint,
        model=Asked(),
        scratch=tmp_path,
        roots=Roots({"truths": tmp_path}),
    )
    sent = Work(
        spec=spec,
        method="complete",
        resources=resources,
        images=Roots({"pictures": tmp_path}),
        batch_size=4,
    )
    found = unpack_work(pack_work(sent), toys, lambda fields: DistantModel.of(fields, lambda question: Future()))
    assert found.spec.options == StageOptions(amount=5, fail=("00001",))
    assert found.resources.model.name == "toy/one"
    bare = {"model": None, "roots": None}
    assert attrs.evolve(found.resources, **bare) == attrs.evolve(resources, **bare)
    assert found.resources.roots.resolve("truths:x") == tmp_path.resolve() / "x"
    assert (found.method, found.answers, found.batch) == ("complete", "edit", 4)
    assert found.images.resolve("pictures:x") == tmp_path.resolve() / "x"


def test_without_shared_folders_a_message_tells_none_and_pictures_are_sent(toys, tmp_path):
    spec, faults = find_spec(toys, "teacher", "toy", {})
    assert not faults
    Image.new("RGB", (5, 3), (9, 0, 0)).save(tmp_path / "a.png")
    roots = Roots({"pictures": tmp_path})
    work = Work(spec=spec, method="complete", resources=Resources(), images=roots)
    message = pack_work(work, shares_roots=False)
    assert str(tmp_path.resolve()).encode() not in message
    assert str(tmp_path.resolve()).encode() in pack_work(work)
    asked = []

    def send(question: bytes) -> Future[bytes]:
        asked.append(question)
        return driver.submit(asyncio.run, answer_question([], question, None, roots))

    with ThreadPoolExecutor(1) as driver:
        found = unpack_work(message, toys, lambda fields: pytest.fail("no model"), images=DistantRoots(send))
        sample = Sample("a", SceneGraph(5, 3), "pictures:a.png", image=roots.image("pictures:a.png"))
        (far,) = unpack_samples(pack_samples([sample]), found.images)
        assert not asked  # nothing is sent that nobody looks at
        assert far.image.size() == (5, 3)
        assert far.image.array()[0, 0].tolist() == [9, 0, 0]
        assert far.image.read_file() == (tmp_path / "a.png").read_bytes()
        assert far.image.sha256() == sample.image.sha256()
        assert len(asked) == 1  # and nothing twice
        with pytest.raises(ImageError, match="lies on another machine, without a path here"):
            far.image.path.stat()
        for uri in ("pictures:none.png", "pictures:../a.png", "other:a.png"):
            errors = []
            for where in (roots, found.images):
                with pytest.raises(ImageError) as caught:
                    where.image(uri).array()
                errors.append((str(caught.value), caught.value.code))
            assert errors[0] == errors[1]


def test_an_instance_cannot_be_sent():
    spec = ComponentSpec("teacher", "mine", "", {}, instance=ToyTeacher())
    work = Work(spec=spec, method="complete", resources=Resources())
    assert not work.may_leave
    with pytest.raises(StepError, match="mine is an instance: it works where it was given"):
        pack_work(work)


def station(toys, **options) -> Station:
    spec, faults = find_spec(toys, "teacher", "toy", options)
    assert not faults
    return open_station(Work(spec=spec, method="complete", resources=Resources()))


def test_a_station_answers_sample_by_sample_where_a_batch_fails(toys):
    batch = [engine_toys.sample(name) for name in ("00000", "00001", "00002")]
    found = unpack_outcomes(station(toys, crash=["00001"]).answer(pack_samples(batch)))
    teacher = ToyTeacher()
    assert [outcome.answer for outcome in found[::2]] == [teacher.answer(batch[0]), teacher.answer(batch[2])]
    assert (found[1].answer.reason, "cannot do 00001" in found[1].answer.detail) == ("exception", True)


def test_a_station_that_is_stopped_asks_nothing(toys, tmp_path: Path):
    asked = tmp_path / "log"
    one = station(toys, log=str(asked))
    one.stop()
    assert unpack_outcomes(one.answer(pack_samples([engine_toys.sample("00000")]))) == []
    assert not asked.exists()
