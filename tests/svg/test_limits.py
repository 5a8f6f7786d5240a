"""The limits of verdicts and predicates, and views that hide regions; the model is a script, nothing is sent."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.models import ChatRequest, ChatResponse
from sgforge.models.provider import Capabilities
from sgforge.stages import Failure, Resources
from sgforge_svg.answers import read_completion
from sgforge_svg.config import VqaConfig
from sgforge_svg.view import look_at
from sgforge_svg.vqa import VqaFilter


class Judge:
    """Gives one answer to whatever is asked: P(yes), or the rows of an answer without probabilities."""

    def __init__(self, answer: float | list[dict[str, Any]]) -> None:
        self.answer = answer
        self.capabilities = Capabilities(probabilities=isinstance(answer, float))

    async def complete(self, request: ChatRequest) -> ChatResponse:
        if isinstance(self.answer, float):
            return ChatResponse("yes", None, "call", probabilities={"yes": self.answer, "no": 1 - self.answer})
        return ChatResponse("", {"answers": self.answer}, "call")


@pytest.fixture
def pair(tmp_path: Path) -> Sample:
    Image.new("RGB", (64, 64), (40, 160, 60)).save(tmp_path / "a.png")
    regions = [Region("boy", (0, 0, 30, 60)), Region("ball", (30, 30, 60, 60))]
    graph = SceneGraph(64, 64, regions, [Relation(0, "throwing", 1, category="interactional")])
    return Sample("a", graph, "photos:a.png", image=Roots({"photos": tmp_path}).image("photos:a.png"))


def judged(sample: Sample, answer: float | list[dict[str, Any]], **options: Any) -> Edit:
    vqa = VqaFilter(VqaConfig(model="compat/judge", **options))
    vqa.setup(Resources(model=Judge(answer)))  # type: ignore[arg-type]
    edit = asyncio.run(vqa.filter(sample))
    assert isinstance(edit, Edit)
    return edit


@pytest.mark.parametrize(("degree", "status"), [(0.625, "kept"), (0.75, "kept"), (0.5, "rejected")])
def test_the_threshold_itself_keeps_a_relation(pair: Sample, degree: float, status: str) -> None:
    (verdict,) = judged(pair, degree, threshold=0.625, probe_rate=0.0).verdicts
    assert (verdict.status, verdict.degree) == (status, degree)


@pytest.mark.parametrize(("degree", "said"), [(0.625, "yes"), (0.5, "no")])
def test_the_threshold_itself_is_a_yes_to_a_probe(pair: Sample, degree: float, said: str) -> None:
    faults = judged(pair, degree, threshold=0.625, probe_rate=1.0).faults
    (probe,) = (reason for reason in faults if reason.startswith("probe-"))
    assert probe.endswith(f"-{said}")


@pytest.mark.parametrize("number", [0, 2, -1, True, "1", None])
def test_an_answer_to_no_question_is_no_answer(pair: Sample, number: object) -> None:
    vqa = VqaFilter(VqaConfig(model="compat/judge", probe_rate=0.0))
    vqa.setup(Resources(model=Judge([{"question": number, "answer": "no"}])))  # type: ignore[arg-type]
    failure = asyncio.run(vqa.filter(pair))
    assert isinstance(failure, Failure)
    assert (failure.reason, "1 unknown-question" in failure.detail) == ("unanswered", True)


@pytest.mark.parametrize(("predicate", "fault"), [("standing right behind", None), ("standing right there behind", 1)])
def test_a_predicate_may_have_as_many_words_as_is_said(pair: Sample, predicate: str, fault: int | None) -> None:
    row = {"predicate": predicate, "object": 2, "category": "spatial"}
    answer = {"subjects": [{"region": 1, "description": "a boy", "relations": [row]}]}
    edit = read_completion(look_at(pair, 9), answer, subjects=1, relations_per_subject=1, max_predicate_words=3)
    assert [relation.predicate for relation in edit.relations] == ([predicate] if fault is None else [])
    assert edit.faults.get("long-predicate") == fault


def test_a_relation_to_a_hidden_region_is_hidden_too() -> None:
    regions = [Region("wall", (0, 0, 90, 90)), Region("cup", (0, 0, 5, 5)), Region("door", (0, 0, 60, 90))]
    relations = [Relation(0, "behind", 1), Relation(1, "near", 2), Relation(2, "in", 0)]
    view = look_at(Sample("a", SceneGraph(100, 100, regions, relations)), 2)
    assert list(view.regions) == [0, 2]
    assert list(view.relations()) == [2]
    known = json.loads(view.facts(view.relations().values()))["known_relations"]
    assert known == [{"subject": 2, "predicate": "in", "object": 1}]
