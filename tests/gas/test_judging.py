"""Judges over a real socket, the reward made of their answers, and the audit of real graphs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image

from sgforge.cli.main import main
from sgforge.graph import Caption, Question, Region, Relation, Sample, SceneGraph, Span
from sgforge.images import Roots
from sgforge.models import Gateway, GatewaySettings, ModelSettings
from sgforge.plugins import load_plugins
from sgforge.stages import Failure, Outcome, Part, Resources
from sgforge.testing import RewardContract
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider, FakeRequest, FakeSettings
from sgforge_gas.captions.captioner import ParaphrasingCaptioner
from sgforge_gas.config import JudgeOptions, ParaphraseOptions, SceneQuestionsOptions, VqaScoreOptions
from sgforge_gas.judging.audit import audit, wilson
from sgforge_gas.judging.model_judge import GasJudge
from sgforge_gas.judging.reward import SceneQuestionsReward, credit_of, trl_reward
from sgforge_gas.judging.vqascore import VqaScoreJudge
from sgforge_gas.questions import Asker, score_answers


@pytest.fixture
def park(tmp_path: Path) -> Sample:
    Image.new("RGB", (64, 48), (40, 160, 60)).save(tmp_path / "park.png")
    regions = [Region("dog", (2, 2, 20, 20), attributes=["red"]), Region("bench", (30, 10, 60, 40))]
    graph = SceneGraph(64, 48, regions, [Relation(0, "to the left of", 1, category="spatial")])
    image = Roots({"photos": tmp_path}).image("photos:park.png")
    questions = tuple(Asker(choices=True).ask(graph))
    return Sample("park", graph, uri="photos:park.png", image=image, values={"questions": questions})


def provider(name: str, settings: ModelSettings) -> Any:
    return load_plugins().lookup("model", name).build(settings)


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[Any, list[FakeRequest]]]:
    """Runs a component on a sample against a scripted server; gives its answer and the requests that arrived."""

    def run(component: Any, method: str, sample: Sample, script: Callable[[FakeRequest], FakeAnswer]) -> Any:
        seen: list[FakeRequest] = []

        def record(request: FakeRequest) -> FakeAnswer:
            seen.append(request)
            return script(request)

        async def main_(fake: FakeProvider) -> Any:
            async with Gateway.open(tmp_path / "responses.sqlite", GatewaySettings(), provider) as gateway:
                model = gateway.bind("compat/any", ModelSettings(base_url=fake.openai_url))
                component.setup(Resources(model=model))
                return await getattr(component, method)(sample)

        with FakeProvider(record, FakeSettings(latency_s=0.0)) as fake:
            return asyncio.run(main_(fake)), seen

    return run


def text_of(request: FakeRequest) -> str:
    return json.dumps(request.body, ensure_ascii=False)


def asked_in(request: FakeRequest) -> list[str]:
    return re.findall(r"(\d+)\. ([^(]*?) \(", text_of(request))


def says(answers: Callable[[str], str]) -> Callable[[FakeRequest], FakeAnswer]:
    """A judge that answers each question of a request by its text."""

    def script(request: FakeRequest) -> FakeAnswer:
        rows = [{"question": int(number), "answer": answers(text)} for number, text in asked_in(request)]
        return FakeAnswer(json.dumps({"answers": rows}))

    return script


def judge(**options: Any) -> GasJudge:
    return GasJudge(JudgeOptions(model="compat/any", probabilities=False, **options))


def right(question: Question) -> str:
    return question.answer or ""


def test_right_answers_give_a_total_of_one(park: Sample, ask) -> None:
    by_text = {one.text: right(one) for one in park.values["questions"]}
    edit, seen = ask(judge(), "judge", park, says(lambda text: by_text[text]))
    answers = edit.values[0].value
    assert answers["total"] == 1.0
    expected = [0.0 if one.answer == "no" else 1.0 for one in park.values["questions"]]
    assert answers["yes"] == expected
    assert all("image" in text_of(request) for request in seen)


def test_what_depends_on_a_no_is_not_asked(park: Sample, ask) -> None:
    def answers(text: str) -> str:
        return "no" if "there a dog" in text else "yes"

    edit, seen = ask(judge(), "judge", park, says(answers))
    yes = edit.values[0].value["yes"]
    for place, question in enumerate(park.values["questions"]):
        if question.choices == ("yes", "no"):
            assert (yes[place] is None) == (0 in question.dependencies), question.text
    asked = " ".join(text_of(request) for request in seen)
    assert "Is the dog red" not in asked
    edit, seen = ask(judge(gate=False), "judge", park, says(answers))
    assert None not in edit.values[0].value["yes"][:3]


@pytest.mark.parametrize("word", ["yes", "no"])
def test_one_word_for_everything_is_worth_at_most_half(park: Sample, ask, word: str) -> None:
    sample = attrs.evolve(park, values={"questions": tuple(Asker(counts=False).ask(park.graph))})
    edit, _ = ask(judge(gate=False), "judge", sample, says(lambda text: word))
    assert edit.values[0].value["total"] <= 0.5


@pytest.mark.parametrize(
    "answer",
    [
        '{"answers": []}',
        '{"answers": [{"question": 99, "answer": "yes"}]}',
        '{"answers": [{"question": 1, "answer": "?"}]}',
    ],
)
def test_answers_out_of_form_are_counted_and_count_as_wrong(park: Sample, ask, answer: str) -> None:
    edit, _ = ask(judge(), "judge", park, lambda request: FakeAnswer(answer))
    assert edit.faults["unanswered"] >= 1
    assert edit.values[0].value["total"] == 0.0
    assert GasJudge.notes(edit.faults)


def test_a_sample_without_questions_or_picture_fails(park: Sample, ask) -> None:
    found, seen = ask(judge(), "judge", attrs.evolve(park, values={}), says(lambda text: "yes"))
    assert isinstance(found, Failure)
    assert found.reason == "no-questions"
    found, seen = ask(judge(), "judge", attrs.evolve(park, image=None), says(lambda text: "yes"))
    assert found.reason == "no-image"
    assert not seen


@pytest.mark.parametrize(("word", "total"), [("Yes.", 1.0), ("no", 0.0), ("maybe", None)])
def test_vqascore_asks_whether_the_caption_fits(park: Sample, ask, word: str, total: float | None) -> None:
    captioned = attrs.evolve(park, values={"caption": Caption("a red dog")})
    found, seen = ask(
        VqaScoreJudge(VqaScoreOptions(model="compat/any")), "judge", captioned, lambda request: FakeAnswer(word)
    )
    assert "a red dog" in text_of(seen[0])
    if total is None:
        assert found.reason == "unanswered"
    else:
        assert found.values[0].value == {"yes": [], "total": total}
    bare, _ = ask(VqaScoreJudge(VqaScoreOptions(model="compat/any")), "judge", park, lambda request: FakeAnswer("yes"))
    assert bare.reason == "no-caption"


# The reward


class TestSceneQuestions(RewardContract):
    component = "scene-questions"


class Saying:
    """A judge that gives each question what a function says."""

    def __init__(self, yes: Callable[[Question], float]) -> None:
        self.yes = yes

    def judge(self, samples):
        from sgforge_gas.judging.model_judge import answered

        return [
            answered(one.values["questions"], [self.yes(question) for question in one.values["questions"]], "balanced")
            for one in samples
        ]


def reward(yes: Callable[[Question], float] | None, **options: Any) -> SceneQuestionsReward:
    found = SceneQuestionsReward(SceneQuestionsOptions(**options))
    parts = {} if yes is None else {"judge": (Part("judge", 1.0, Resources(), Saying(yes)),)}
    found.setup(Resources(parts=parts))
    return found


def test_credit_per_element(park: Sample) -> None:
    plain = attrs.evolve(park, values={})
    found = reward(lambda one: float(one.answer != "no" and one.kind != "attribute"))
    ((credit,),) = found.score([plain], [[Outcome(plain.graph, plain.image)]])
    asked = Asker().ask(plain.graph)
    expected = score_answers(asked, [float(one.answer != "no" and one.kind != "attribute") for one in asked])
    assert credit.total == expected.balanced < 1
    assert credit.parts["kind.existence"] == 1.0
    # The dog: there, not red, not another colour, one; the bench: there, one.
    assert credit.regions == (pytest.approx(3 / 4), 1.0)
    assert credit.relations == (1.0,)


def test_each_outcome_has_its_own_picture(park: Sample) -> None:
    seen = []

    class Looking(Saying):
        def judge(self, samples):
            seen.extend(sample.image for sample in samples)
            return super().judge(samples)

    found = reward(None)
    found._judge = Looking(lambda one: float(one.answer != "no"))
    other = attrs.evolve(park.image)
    group = [Outcome(None, park.image), Outcome(None, None), Outcome(None, other)]
    ((first, second, third),) = found.score([park], [group])
    assert (first.total, third.total) == (1.0, 1.0)
    assert second.reason == "no-image"
    assert len(seen) == 2


def test_answers_that_stand_with_the_sample_count(park: Sample) -> None:
    questions = park.values["questions"]
    yes = [0.0 if one.answer == "no" else 1.0 for one in questions]
    judged = attrs.evolve(park, values={"questions": questions, "answers": {"yes": yes, "total": 1.0}})
    ((credit,),) = reward(None).score([judged], [[Outcome(judged.graph)]])
    assert credit.total == 1.0
    ((failure,),) = reward(None).score([park], [[Outcome(park.graph)]])
    assert failure.reason == "no-answers"


def test_a_trl_reward(park: Sample) -> None:
    from sgforge.jsonl import dump_sample

    line = dump_sample(attrs.evolve(park, values={})).decode()
    function = trl_reward(
        lambda completion: park.image if completion == "good" else None,
        lambda picture, questions: [float(one.answer != "no") for one in questions],
    )
    found = function(
        completions=["good", "bad", "good"], graph=[line, line, None], prompts=["p"] * 3, trainer_state=None
    )
    assert found == [1.0, 0.0, None]
    assert function.__name__ == "scene_questions"


def test_the_credit_of_one_set_of_answers_needs_no_graph(park: Sample) -> None:
    asked = Asker(counts=False, negatives=False).ask(park.graph)
    credit = credit_of(asked, [1.0, 1.0, 0.0, 1.0], "gated")
    assert credit.total == 0.75
    assert credit.regions is None


# The audit


def test_wilson_by_hand() -> None:
    # 8 of 10: (0.8 + z2/20 -+ z sqrt(0.016 + z2/400)) / (1 + z2/10), z = 1.96.
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0


def test_the_audit_counts_by_predicate_the_worst_first(park: Sample) -> None:
    regions = [Region("dog", attributes=["red"]), Region("bench"), Region("cat")]
    relations = [Relation(0, "near", 1), Relation(0, "on", 1), Relation(2, "near", 1)]
    graph = SceneGraph(0, 0, regions, relations)
    asked = tuple(Asker().ask(graph))
    samples = []
    for number in range(10):
        yes = [
            None if one.kind == "count" else 0.0 if one.answer == "no" or (" on " in one.text and number < 7) else 1.0
            for one in asked
        ]
        values = {"questions": asked, "answers": {"yes": yes, "total": 0.5}}
        samples.append(Sample(f"i{number}", graph, values=values))
    found = audit([*samples, Sample("bare", graph)])
    assert [(row.name, row.yes, row.asked) for row in found.predicates] == [("on", 3, 10), ("near", 20, 20)]
    assert {row.name: row.precision for row in found.labels} == {"bench": 1.0, "cat": 1.0, "dog": 1.0}
    assert [row.name for row in found.attributes] == ["red"]
    assert found.said_yes_to_false == 0.0
    assert found.images == 10
    assert found.skipped == {"images without answers": 1, "questions not asked": 30}


# Paraphrases


def test_a_paraphrase_that_swaps_is_asked_again_and_ours_stands(park: Sample, ask) -> None:
    texts = iter(["A bench is to the left of a red dog.", "A red dog sits quietly to the left of a green old bench."])
    captioner = ParaphrasingCaptioner(ParaphraseOptions(model="compat/any", tries=2))
    edit, seen = ask(captioner, "caption", park, lambda request: FakeAnswer(next(texts)))
    caption = edit.values[0].value
    assert caption.text == "A red dog sits quietly to the left of a green old bench."
    assert [caption.text[span.start : span.end] for span in caption.spans] == ["dog", "bench"]
    assert edit.faults == {"paraphrase-binding": 1}
    assert len(seen) == 2
    edit, _ = ask(captioner, "caption", attrs.evolve(park, image_id="p2"), lambda request: FakeAnswer("A dog."))
    assert isinstance(edit.values[0].value, Caption)
    assert ParaphrasingCaptioner.notes({"paraphrase-binding": 1, "kept-own": 1})


def test_a_paraphrase_has_spans_of_labels_that_bring_an_article(ask) -> None:
    graph = SceneGraph(0, 0, [Region(label="the man"), Region(label="a bench")], [Relation(0, "on a", 1)])
    captioner = ParaphrasingCaptioner(ParaphraseOptions(model="compat/any", tries=1))
    edit, _ = ask(captioner, "caption", Sample("b", graph), lambda request: FakeAnswer("A man sits on a bench."))
    caption = edit.values[0].value
    assert caption == Caption("A man sits on a bench.", [Span(2, 5, 0), Span(16, 21, 1)])


def test_a_paraphrase_of_nothing_fails(ask) -> None:
    captioner = ParaphrasingCaptioner(ParaphraseOptions(model="compat/any"))
    found, _ = ask(captioner, "caption", Sample("a"), lambda request: FakeAnswer("x"))
    assert found.reason == "no-objects"


def test_the_audit_needs_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "p.toml"
    config.write_text(
        f'dataset = "{tmp_path}/d"\n[source]\nuse = "gas"\ncount = 3\ncomplexity = [4]\n[[step]]\nquestion = "gas"\n'
    )
    assert main(["run", str(config)]) == 0
    capsys.readouterr()
    assert main(["gas", "audit", str(tmp_path / "d")]) == 2
    assert "no image has answers" in capsys.readouterr().err
