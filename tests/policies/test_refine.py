"""Refiners in a pipeline: which student they get, what becomes of it, and what is refused before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from policy_toys import CategoricalStudent, ClimbOptions, ClimbRefiner, Fixed, read_logits, write_logits
from support.extras import needs_extra

import sgforge as sg
from sgforge.engine.context import step_fingerprint
from sgforge.errors import PluginError, PreflightError
from sgforge.plugins import Owner, Registry

needs_extra("robin")

TRAIN = sg.train("categorical")


def run(data: Path, *steps):
    return sg.Pipeline(*steps).run(sg.source("toy", count=20), data, progress=False)


def plan(registry, *steps):
    return sg.Pipeline(*steps).request(sg.source("toy"), "data").resolve(registry)


def said(data: Path) -> set[str]:
    """What `generate` says of the images."""
    rows = (relation for sample in sg.Dataset.open(data) for relation in sample.graph.relations.values())
    return {relation.predicate for relation in rows if relation.made_by == "generate"}


def test_a_student_learns_what_is_rewarded(toys, tmp_path):
    steps = (TRAIN, sg.refine("climb"), sg.generate("categorical"))
    report = run(tmp_path / "data", *steps)
    trained, refined = (read_logits(report.step(name).checkpoint.path) for name in ("train", "refine"))
    # "under" is commonest of what it is trained on, "on" is rewarded.
    assert trained.argmax(1).tolist() == [3, 3]
    assert refined.argmax(1).tolist()[0] == 0
    assert said(tmp_path / "data") == {"on"}
    folder = report.step("refine").checkpoint.path.parents[1]
    told = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in told] == list(range(12))
    assert told[-1]["value"] > told[0]["value"]
    again = run(tmp_path / "data", *steps)
    assert [step.counts.computed for step in again.steps] == [0, 0, 0, 0]


def test_two_ranks_refine_it_to_the_same_weights(toys, tmp_path):
    run(tmp_path / "one", TRAIN)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    alone = run(tmp_path / "one", TRAIN, sg.refine("climb", steps=4))
    both = run(tmp_path / "two", TRAIN, sg.refine("climb", steps=4, run={"processes": 2}))
    first, second = (read_logits(report.step("refine").checkpoint.path) for report in (alone, both))
    before = read_logits(alone.step("train").checkpoint.path)
    assert np.abs(first - before).max() > 0.1
    assert np.abs(first - second).max() < 1e-5


def test_an_instance_refines_the_student_of_given_weights_in_this_process(toys, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    write_logits(weights, np.zeros((2, 4)))
    steps = (sg.generate("categorical", checkpoint=weights), sg.refine(ClimbRefiner(ClimbOptions(steps=2))))
    refined = run(tmp_path / "data", *steps).step("refine").checkpoint
    assert read_logits(refined.path)[0].argmax() == 0


@pytest.mark.parametrize("here", [False, True])
def test_the_parts_of_a_student_reach_its_policy(toys, tmp_path, here):
    coach = [sg.use("fixed", total=25.0, weight=2.0)]
    refiner = ClimbRefiner(ClimbOptions(steps=0)) if here else "climb"
    step = sg.refine(refiner) if here else sg.refine(refiner, steps=0)
    report = run(tmp_path / "data", sg.train("coached", coach=coach), step)
    trained, refined = (read_logits(report.step(name).checkpoint.path) for name in ("train", "refine"))
    np.testing.assert_allclose(refined, trained + 50.0)


def test_the_parts_of_a_student_are_closed_behind_it(toys, tmp_path):
    told = []

    class Coach(Fixed):
        def setup(self, resources):
            super().setup(resources)
            told.append("setup")

        def close(self):
            told.append("close")

    steps = sg.train("coached", coach=[Coach()]), sg.refine(ClimbRefiner(ClimbOptions(steps=0)))
    run(tmp_path / "data", *steps)
    assert told == ["setup", "close"] * 2


def test_the_parts_of_a_student_are_in_the_key_of_what_is_refined(toys, tmp_path):
    def refined(total):
        coach = [sg.use("fixed", total=total)]
        steps = plan(toys, sg.train("coached", coach=coach), sg.refine("climb"))
        return step_fingerprint(steps.step("refine"), 0, "a run", weights="of equal weights", read="equal images")

    assert refined(1.0) == refined(1.0)
    assert refined(1.0) != refined(2.0)


def test_what_the_student_is_set_to_is_in_the_key_of_what_is_refined(toys):
    def key(**options):
        steps = plan(toys, sg.train("categorical", **options), sg.refine("climb"))
        return step_fingerprint(steps.step("refine"), 0, "a run", weights="of equal weights", read="equal images")

    assert key() == key(temperature=0.7)
    assert key() != key(temperature=0.5)


def test_a_student_that_cannot_be_recognised_is_refined_anew_in_each_run(toys):
    class Refiner(ClimbRefiner):
        revision = 1

    class Unknown(Fixed):
        revision = None

    def keys(coach):
        steps = plan(toys, sg.train("coached", coach=[coach]), sg.refine(Refiner()))
        return {step_fingerprint(steps.step("refine"), 0, run, weights="equal", read="equal") for run in ("one", "two")}

    assert (len(keys("fixed")), len(keys(Unknown()))) == (1, 2)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((sg.train("mute"), sg.refine("climb")), "step 'refine': student 'mute' offers no policy"),
        (
            (sg.train(CategoricalStudent()), sg.refine("climb")),
            "step 'refine': student CategoricalStudent is an instance, which no other process can have: name it",
        ),
        ((sg.refine("climb"),), "step 'refine': has no weights: put a train step before it"),
    ],
)
def test_a_student_that_cannot_be_refined_is_refused_before_any_work(toys, steps, told):
    with pytest.raises(PreflightError, match=told):
        plan(toys, *steps)


def test_an_instance_offers_what_it_has(toys):
    found = plan(toys, sg.train(CategoricalStudent()), sg.refine(ClimbRefiner()))
    assert found.step("refine").student.offers == ("policy",)


@pytest.mark.parametrize("offers", [("policies",), "policy", ["policy"]])
def test_what_no_student_may_offer_is_refused_at_registration(offers):
    class Plugin:
        @sg.hookimpl
        def sgforge_register_students(self, register):
            register("odd", CategoricalStudent, offers=offers)

    report = Registry().add(Plugin(), Owner("odd"))
    assert "must be a tuple of what a student may offer: ('policy',)" in report.problems[0]


def test_a_student_that_lacks_what_it_offers_cannot_be_loaded():
    class Plugin:
        @sg.hookimpl
        def sgforge_register_students(self, register):
            register("odd", Silent, offers=("policy",))

    registry = Registry()
    registry.add(Plugin(), Owner("odd"))
    with pytest.raises(PluginError, match=r"has no method policy\(\)"):
        registry.lookup("student", "odd").load()


class Silent:
    train = generate = rank = CategoricalStudent.generate
