"""The Python verbs follow the one table."""

from __future__ import annotations

import inspect

import pytest

import sgforge
from sgforge import pipeline
from sgforge.stages import KINDS, VERBS


def test_every_verb_of_the_table_is_a_function_of_sgforge_and_no_other_is():
    verbs = {name for name in pipeline.__all__ if inspect.isfunction(getattr(pipeline, name))} - {"source", "executor"}
    assert verbs == set(VERBS)
    assert set(VERBS) <= set(sgforge.__all__)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_makes_a_step_of_its_name_with_all_that_it_is_given(verb):
    step = getattr(sgforge, verb)("toy", name="n", on={"split": "train"}, weights="w", batch_size=2, workers=3, size=4)
    assert (step.verb, step.component, step.name, step.weights) == (verb, "toy", "n", "w")
    assert (step.on.splits, step.batch_size, step.workers, step.options) == (("train",), 2, 3, {"size": 4})


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_tells_what_it_does_and_what_it_takes(verb):
    function = getattr(sgforge, verb)
    assert function.__name__ == verb
    assert function.__doc__.startswith(VERBS[verb].does)
    given = ["component", "name", "on", "weights", "batch_size", "workers", "run", "options"]
    assert list(inspect.signature(function).parameters) == given


def test_each_verb_names_a_kind_of_the_table():
    assert {verb.kind for verb in VERBS.values()} <= set(KINDS)


@pytest.mark.parametrize(
    ("verb", "present", "expected"),
    [
        ("train", ["val"], ("train",)),
        ("evaluate", ["train", "val", "test"], ("val",)),
        ("evaluate", ["train", "test"], ("test",)),
        ("evaluate", [None], ("test",)),
        ("segment", ["train"], None),
    ],
)
def test_default_splits(verb, present, expected):
    assert VERBS[verb].default_splits(present) == expected
