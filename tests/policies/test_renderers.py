"""Renderers are trained and refined as students are; whose name means two things is refused."""

from __future__ import annotations

from pathlib import Path

import engine_toys
import numpy as np
import policy_toys
import pytest
from policy_toys import CategoricalOptions, ShadeRenderer, read_logits
from support.extras import needs_extra

import sgforge as sg
from sgforge.errors import SgforgeError
from sgforge.plugins import Owner, Registry

needs_extra("robin")


def run(data: Path, *steps):
    return sg.Pipeline(*steps).run(sg.source("toy", count=20), data, progress=False)


def plan(registry, *steps):
    return sg.Pipeline(*steps).request(sg.source("toy"), "data").resolve(registry)


def shades(data: Path) -> list[list[int]]:
    """Of each picture that was made, the shade of its stripes."""
    found = []
    for sample in sg.Dataset.open(data):
        pixels = sample.image.array()
        assert (pixels == pixels[:, :1]).all()
        found.append([int(pixels[0, 0, 0]), int(pixels[-1, 0, 0])])
    return found


def test_a_renderer_is_trained_refined_and_makes_the_images(toys, tmp_path):
    steps = (sg.train("shades"), sg.render("shades", name="first"))
    assert run(tmp_path / "data", *steps).status == "done"
    # "under", the fourth predicate, is commonest of what it is trained on.
    assert shades(tmp_path / "data") == [[180, 180]] * 20
    steps = (sg.train("shades"), sg.refine("climb", run={"processes": 2}), sg.render("shades"))
    report = run(tmp_path / "data", *steps)
    trained, refined = (read_logits(report.step(name).checkpoint.path) for name in ("train", "refine"))
    assert np.abs(trained - refined).max() > 0.1
    # "on", the first, is rewarded, and no shade is drawn twice in one picture.
    assert {first for first, _ in shades(tmp_path / "data")} == {0}
    again = run(tmp_path / "data", *steps)
    assert [step.counts.computed for step in again.steps] == [0, 0, 0, 0]


def test_its_weights_are_in_the_key_of_what_it_draws(toys, tmp_path):
    run(tmp_path / "data", sg.train("shades"), sg.render("shades"))
    report = run(tmp_path / "data", sg.train("shades"), sg.refine("climb", steps=1), sg.render("shades"))
    assert report.step("render").counts.computed == 20


def test_the_weights_of_a_renderer_and_of_a_student_are_told_apart(toys):
    both = (sg.train("categorical", name="says"), sg.train("shades", name="draws"))
    steps = (*both, sg.render("shades"), sg.generate("categorical"), sg.evaluate("toy"), sg.refine("climb"))
    found = {step.name: step.weights for step in plan(toys, *steps).steps}
    assert found == {
        "says": None,
        "draws": None,
        "render": "draws",
        "generate": "says",
        "evaluate": "says",
        "refine": "draws",
    }


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((sg.render("shades"),), "step 'render': has no weights: put a train step before it"),
        ((sg.train("untaught"),), "renderer 'untaught' offers no train: it is used as it is"),
        ((sg.train("shades"), sg.evaluate("toy")), "step 'evaluate': has no weights"),
        (
            (sg.train("shades"), sg.evaluate("toy", weights="train")),
            "step 'evaluate'.weights: step 'train' trains a renderer, not a student",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(toys, steps, told):
    with pytest.raises(SgforgeError) as refused:
        plan(toys, *steps)
    assert told in str(refused.value)


def test_one_that_is_not_trained_needs_no_weights(toys):
    assert plan(toys, sg.render("untaught")).step("render").weights is None


def test_a_checkpoint_of_its_own_is_refined(toys, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    policy_toys.write_logits(weights, np.zeros((2, 4)))
    steps = (sg.render("shades", checkpoint=weights), sg.refine("climb", steps=2))
    refined = run(tmp_path / "data", *steps).step("refine").checkpoint
    assert read_logits(refined.path)[0].argmax() == 0


def test_an_instance_of_either_kind_is_trained(toys, tmp_path):
    report = run(tmp_path / "data", sg.train(ShadeRenderer(CategoricalOptions())))
    assert read_logits(report.step("train").checkpoint.path).argmax(1).tolist() == [3, 3]


def test_a_name_in_both_kinds_is_an_error_naming_both():
    class Twice:
        @sg.hookimpl
        def sgforge_register_renderers(self, register):
            register("categorical", ShadeRenderer, config=CategoricalOptions, offers=("train",))

    registry = Registry()
    for plugin, owner in ((engine_toys, "toys"), (policy_toys, "policies"), (Twice(), "twice")):
        assert registry.add(plugin, Owner(owner)).ok
    told = "student 'categorical' of plugin policies and renderer 'categorical' of plugin twice have one name here"
    with pytest.raises(SgforgeError, match=told):
        plan(registry, sg.train("categorical"))
    # Where only one kind can be meant, it is.
    assert plan(registry, sg.train("shades"), sg.render("shades")).step("render").weights == "train"
