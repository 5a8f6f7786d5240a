from __future__ import annotations

import attrs
import pytest
from engine_toys import StageOptions, ToyRefiner, ToyTeacher

import sgforge as sg
from sgforge.engine.planning.plan import Plan
from sgforge.engine.planning.resolve import resolve
from sgforge.errors import ConfigError, PreflightError, SgforgeError
from sgforge.stages import Selection
from sgforge.steps import Step

SOURCE = {"source": sg.source("toy")}
CHAIN = (sg.segment("toy"), sg.complete("toy"), sg.filter("toy"))


def plan(registry, *steps: Step, sources=SOURCE) -> Plan:
    return resolve(registry, steps, sources)


def names_of_weights(found: Plan) -> dict[str, str | None]:
    return {step.name: step.weights for step in found.steps}


def test_steps_are_named_by_verb_and_numbered_from_the_second_on(toys):
    found = plan(toys, *CHAIN, sg.filter("toy"), sg.filter("toy", name="judge"), sg.filter("toy"))
    assert [step.name for step in found.steps] == ["segment", "complete", "filter", "filter-2", "judge", "filter-4"]


def test_two_steps_of_one_name_are_refused(toys):
    with pytest.raises(ConfigError, match=r"step 'filter'.name: there is a step 'filter' already"):
        plan(toys, sg.complete("toy", name="filter"), sg.filter("toy"))


def test_a_barrier_splits_the_item_steps_into_groups(toys):
    found = plan(toys, *CHAIN, sg.train("toy"), sg.generate("toy"), sg.edit("toy"), sg.evaluate("toy"))
    groups = [(is_item, [step.name for step in steps]) for is_item, steps in found.groups()]
    assert groups == [
        (True, ["segment", "complete", "filter"]),
        (False, ["train"]),
        (True, ["generate", "edit"]),
        (False, ["evaluate"]),
    ]


def test_generate_and_evaluate_take_the_nearest_earlier_weights(toys):
    found = plan(toys, sg.train("toy"), sg.generate("toy"), sg.train("toy"), sg.generate("toy"), sg.evaluate("toy"))
    assert names_of_weights(found) == {
        "train": None,
        "generate": "train",
        "train-2": None,
        "generate-2": "train-2",
        "evaluate": "train-2",
    }


def test_a_step_can_pick_other_weights_by_name(toys):
    found = plan(toys, sg.train("toy", name="first"), sg.train("toy"), sg.evaluate("toy", weights="first"))
    assert found.step("evaluate").weights == "first"
    with pytest.raises(
        ConfigError, match=r"step 'generate'.weights: .* earlier train or refine step 'firts'; .*'first'"
    ):
        plan(toys, sg.train("toy", name="first"), sg.generate("toy", weights="firts"))


def test_refined_weights_still_belong_to_the_student(toys):
    found = plan(toys, sg.train("toy"), sg.refine(ToyRefiner()), sg.generate("toy"), sg.evaluate("toy"))
    assert names_of_weights(found)["refine"] == "train"
    assert found.step("generate").weights == "refine"
    assert found.step("evaluate").student is found.step("train").spec


def test_a_checkpoint_option_stands_where_no_step_gives_weights(toys, tmp_path):
    (tmp_path / "counts.json").write_text("{}")
    found = plan(toys, sg.generate("toy", checkpoint=tmp_path), sg.evaluate("toy"))
    assert found.step("generate").checkpoint == tmp_path
    assert found.step("evaluate").checkpoint == tmp_path


@pytest.mark.parametrize(
    ("verb", "advice"),
    [(sg.generate, "give it a checkpoint = PATH"), (sg.evaluate, "a generate step with checkpoint = PATH")],
)
def test_no_weights_at_all_is_refused(toys, verb, advice):
    with pytest.raises(PreflightError, match=f"has no weights: put a train step before it, or {advice}"):
        plan(toys, *CHAIN, verb("toy"))


def test_a_fault_in_a_training_is_not_told_again_where_its_weights_are_taken(toys):
    with pytest.raises(ConfigError) as error:
        plan(toys, *CHAIN, sg.train("toi"), sg.generate("toy"), sg.evaluate("toy"))
    assert "toi" in str(error.value)
    assert "has no weights" not in str(error.value)


def test_training_after_generating_does_not_help(toys):
    with pytest.raises(PreflightError, match="step 'generate': has no weights"):
        plan(toys, sg.generate("toy"), sg.train("toy"))


def test_train_reads_split_train_and_item_steps_read_everything(toys):
    found = plan(toys, sg.complete("toy"), sg.train("toy"), sg.edit("toy", on={"split": "val"}))
    assert [step.on for step in found.steps] == [
        Selection(),
        Selection(splits=("train",)),
        Selection(splits=("val",)),
    ]


def test_an_unknown_source_in_on_is_refused_with_the_near_name(toys):
    with pytest.raises(ConfigError, match=r"step 'complete'.on.source: .* no source 'sed'; did you mean 'seed'"):
        plan(toys, sg.complete("toy", on={"source": "sed"}), sources={"seed": sg.source("toy")})


def test_every_problem_is_in_the_one_error(toys):
    with pytest.raises(PreflightError) as caught:
        plan(
            toys,
            sg.segment("tyo"),
            sg.complete("needy"),
            sg.complete("keyed", amuont=3),
            sg.complete("keyed", name="third"),
            sg.generate("toy"),
        )
    text = str(caught.value)
    for part in (
        "there is no segmenter 'tyo'; did you mean 'toy'?",
        "step 'complete': needs the module 'no_such_module', which is not installed: pip install",
        "step 'complete-2'.amuont",
        "step 'third': needs the environment variable SGFORGE_TEST_NO_SUCH_KEY",
        "step 'generate': has no weights",
    ):
        assert part in text
    assert text.startswith("5 faults")


def test_faults_of_the_config_alone_are_a_config_error(toys):
    with pytest.raises(ConfigError, match=r"step 'complete'.amount"):
        plan(toys, sg.complete("toy", amount="many"))


def test_a_file_that_an_option_names_must_be_there(toys, tmp_path):
    with pytest.raises(PreflightError, match="names a file that cannot be read"):
        plan(toys, sg.complete("toy", file=tmp_path / "weights.pt"))


def test_a_pipeline_needs_a_source(toys):
    with pytest.raises(PreflightError, match="there is no source"):
        plan(toys, *CHAIN, sources={})


def test_an_instance_counts_by_its_class_options_and_revision(toys):
    named = plan(toys, sg.complete("toy", amount=5)).steps[0].spec
    given = plan(toys, sg.complete(ToyTeacher(StageOptions(amount=5)))).steps[0].spec
    assert given.identity == named.identity
    assert given.is_stable


class Nameless:
    def complete(self, samples):
        return [sg.Edit() for _ in samples]


def test_an_instance_without_options_and_revision_is_always_done_again_and_the_plan_says_so(toys):
    found = plan(toys, sg.complete(Nameless()))
    assert not found.steps[0].spec.is_stable
    assert found.notes == (
        "step 'complete' is always done again: the instance of Nameless names no `options` and `revision`",
    )


def test_an_instance_of_the_wrong_stage_is_refused(toys):
    with pytest.raises(ConfigError, match=r"Nameless is no segmenter, it has no method segment\(\)"):
        plan(toys, sg.segment(Nameless()))


def test_a_class_in_place_of_an_instance_is_refused(toys):
    with pytest.raises(ConfigError, match="Nameless is a class"):
        plan(toys, sg.complete(Nameless))


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Step("compleet", "toy"), "'compleet' is no step"),
        (lambda: sg.complete("toy", workers=0), "workers of step 'complete' must be a whole number from 1"),
        (lambda: sg.complete("toy", on={"splits": "val"}), "on: unknown key 'splits'"),
        (lambda: sg.complete("toy", on={"split": []}), "on: split must be a name"),
        (lambda: sg.complete(Nameless(), amount=3), "an instance has its options already"),
        (lambda: sg.Pipeline("toy"), "a pipeline is made of steps"),
    ],
)
def test_bad_steps_are_refused_when_they_are_built(build, match):
    with pytest.raises(SgforgeError, match=match):
        build()


def test_a_step_is_a_value():
    assert sg.complete("toy", amount=3) == sg.complete("toy", amount=3)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        sg.complete("toy").name = "x"
