"""The counterfactual filter over a real socket: what the judge sees when a region is hidden, and what follows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from svg.test_components import ask, facts_in

from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.images import Roots
from sgforge.stages import Failure
from sgforge.testing.fake_provider import FakeAnswer, FakeRequest
from sgforge_svg.config import CounterfactualConfig
from sgforge_svg.counterfactual import CounterfactualFilter

__all__ = ["ask"]


@pytest.fixture
def scene(tmp_path: Path) -> Sample:
    """A red boy and a blue ball on green; two relations of the same pair, and a spatial one."""
    pixels = np.full((240, 320, 3), (40, 160, 60), np.uint8)
    pixels[40:200, 20:90] = (250, 0, 0)
    pixels[100:200, 200:300] = (0, 0, 250)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    regions = [Region("boy", (20, 40, 90, 200)), Region("ball", (200, 100, 300, 200))]
    relations = [
        Relation(0, "throwing", 1, category="interactional"),
        Relation(0, "playing with", 1, category="interactional"),
        Relation(0, "left of", 1, category="spatial"),
    ]
    image = Roots({"photos": tmp_path}).image("photos:a.png")
    return Sample("a", SceneGraph(320, 240, regions, relations), uri="photos:a.png", image=image)


def shows(request: FakeRequest, color: tuple[int, int, int]) -> bool:
    pixels = np.asarray(Image.open(io.BytesIO(request.images[0])).convert("RGB")).astype(int)
    return bool((np.abs(pixels - np.array(color)).sum(axis=2) < 60).sum() > 500)


def judge(request: FakeRequest) -> FakeAnswer:
    """Says yes to "playing with" whatever it sees; "throwing" it believes only where it sees a boy."""
    is_prior = facts_in(request)["claim"]["predicate"] == "playing with"
    p = 0.9 if is_prior or shows(request, (250, 0, 0)) else 0.2
    return FakeAnswer("yes", tokens={"yes": p, "no": 1 - p})


def test_a_yes_that_stays_without_the_subject_is_language_prior(ask: Any, scene: Sample) -> None:
    component = CounterfactualFilter(CounterfactualConfig(model="compat/judge"))
    edit, requests = ask(component, "filter", scene, judge)
    assert isinstance(edit, Edit)
    assert {v.index: (v.status, v.reason, round(v.degree, 4)) for v in edit.verdicts} == {
        0: ("kept", None, 0.7),
        1: ("rejected", "language-prior", 0.0),
    }
    assert edit.faults == {"asked about: throwing": 1, "asked about: playing with": 1, "prior: playing with": 1}
    assert component.notes(edit.faults) == [
        "'playing with': the judge's yes was language prior in 1 of 1 (100%)",
        "'throwing': the judge's yes was language prior in 0 of 1 (0%)",
    ]
    # As it is, without the boy, without the ball, for each of the two.
    assert len(requests) == 6
    seen = sorted((shows(request, (250, 0, 0)), shows(request, (0, 0, 250))) for request in requests)
    assert seen == sorted([(True, True), (False, True), (True, False)] * 2)


@pytest.mark.parametrize(("hide", "asked"), [("subject", 4), ("object", 4), ("either", 6)])
def test_one_end_or_each_in_turn_is_hidden(hide: Any, asked: int, ask: Any, scene: Sample) -> None:
    component = CounterfactualFilter(CounterfactualConfig(model="compat/judge", hide=hide))
    edit, requests = ask(component, "filter", scene, judge)
    assert len(requests) == asked
    assert {v.index: v.status for v in edit.verdicts}[0] == ("rejected" if hide == "object" else "kept")


def test_what_the_judge_denies_is_asked_once_and_stays(ask: Any, scene: Sample) -> None:
    component = CounterfactualFilter(CounterfactualConfig(model="compat/judge"))
    edit, requests = ask(component, "filter", scene, lambda _: FakeAnswer("no", tokens={"no": 0.9, "yes": 0.1}))
    assert (edit.verdicts, edit.faults, len(requests)) == ((), {"judge-no": 2}, 2)


def test_an_image_without_an_answer_is_not_done(ask: Any, scene: Sample) -> None:
    component = CounterfactualFilter(CounterfactualConfig(model="compat/judge"))
    failure, _ = ask(component, "filter", scene, lambda _: FakeAnswer("Hard to say."))
    assert isinstance(failure, Failure)
    assert failure.reason == "unanswered"
