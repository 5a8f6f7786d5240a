"""The contracts of policies and refiners: the toys keep them, and whoever breaks one is found out."""

from __future__ import annotations

import functools
import itertools
import math

import attrs
import pytest
from policy_toys import CategoricalPolicy, ShadePolicy
from support.extras import needs_extra

from sgforge.stages import Outcome
from sgforge.testing import PolicyContract, RefinerContract, RendererPolicyContract, tiny_samples

needs_extra("robin")


@pytest.fixture(autouse=True)
def _installed(toys):
    """Every test is one of plugins that child processes find too."""


class TestCategorical(PolicyContract):
    component = "categorical"


class TestShades(RendererPolicyContract):
    component = "shades"


class TestClimbOfShades(RefinerContract):
    component = "climb"
    student = "shades"
    student_kind = "renderer"
    options = {"steps": 2, "batch": 3}

    @pytest.mark.slow
    def test_two_ranks_make_the_same_calls(self, tmp_path):
        super().test_two_ranks_make_the_same_calls(tmp_path)


class TestClimb(RefinerContract):
    component = "climb"
    student = "categorical"
    options = {"steps": 3, "batch": 3}


@pytest.mark.parametrize(
    ("fault", "test", "told"),
    [
        ("dropout", "test_nothing_is_dropped_out", "is dropout on?"),
        (
            "temperature",
            "test_the_ratio_is_one_before_the_first_step",
            "not those of the distribution that rollouts drew",
        ),
        ("nucleus", "test_the_ratio_is_one_before_the_first_step", "not those of the distribution that rollouts drew"),
        ("reference", "test_a_step_moves_the_policy_and_not_its_reference", "the reference moved along"),
        ("save", "test_what_it_saves_its_student_loads", "the saved weights are not those of the policy"),
        ("apart", "test_two_ranks_are_one_model", "after a step the ranks"),
        ("second rank", "test_two_ranks_are_one_model", "from 1 before any step"),
    ],
)
def test_a_policy_that_breaks_its_contract_is_found_out(tmp_path, fault, test, told):
    class Broken(PolicyContract):
        component = "categorical"
        options = {"fault": fault, "top_p": 0.5 if fault == "nucleus" else 0.95}

    with pytest.raises(AssertionError) as raised:
        getattr(Broken(), test)(tmp_path)
    assert told in str(raised.value)


def _each(**changes):
    """What changes every rollout: its fields by functions of it."""

    def broken(right, *arguments, **named):
        found = right(*arguments, **named)
        return [attrs.evolve(one, **{name: change(one) for name, change in changes.items()}) for one in found]

    return broken


def _answers_in_turns(right, *arguments, **named):
    found = right(*arguments, **named)
    return [attrs.evolve(other, group=one.group) for one, other in zip(found, [*found[1:], found[0]], strict=True)]


_COUNT = itertools.count(1)


def _numbered(right, *arguments, **named):
    number = next(_COUNT)
    return [attrs.evolve(one, logprobs=[p - number * 1e-9 for p in one.logprobs]) for one in right(*arguments, **named)]


def _in_its_own_order(right, rollouts):
    return right(sorted(rollouts, key=lambda one: one.group))


def _as_at_first(right, rollouts, known={}):  # noqa: B006 - one for each call with these rollouts
    """The values stay, gradients are as they should be."""
    key = tuple(map(id, rollouts))
    now = right(rollouts)
    first = known.setdefault(key, (rollouts, [one.detach() for one in now]))[1]
    return [was + (one - one.detach()) for was, one in zip(first, now, strict=True)]


def _with_gradient(right):
    found = right()
    found._logits.requires_grad_()
    return found


@pytest.mark.parametrize(
    ("method", "broken", "test", "told"),
    [
        ("rollouts", lambda right, *_, **__: [], "test_rollouts_come_in_groups", "there is no rollout"),
        ("rollouts", _each(group=lambda one: 0), "test_rollouts_come_in_groups", "groups of 3, numbered from 0"),
        ("rollouts", _answers_in_turns, "test_rollouts_come_in_groups", "one group answers different questions"),
        ("rollouts", _each(part=lambda one: 99), "test_rollouts_come_in_groups", "no region is asked"),
        ("rollouts", _each(tokens=lambda one: ()), "test_rollouts_come_in_groups", "an answer without a token"),
        ("rollouts", _each(logprobs=lambda one: one.logprobs[1:]), "test_rollouts_come_in_groups", "for each token"),
        (
            "rollouts",
            _each(logprobs=lambda one: (-math.inf, *one.logprobs[1:])),
            "test_rollouts_come_in_groups",
            "-inf",
        ),
        ("rollouts", _numbered, "test_equal_seeds_give_equal_rollouts", "gave other rollouts"),
        (
            "logprobs",
            lambda right, rollouts: [one.detach() for one in right(rollouts)],
            "test_the_ratio_is_one_before_the_first_step",
            "without gradient teach nothing",
        ),
        (
            "logprobs",
            lambda right, rollouts: [one + 2e-5 for one in right(rollouts)],
            "test_the_ratio_is_one_before_the_first_step",
            "not those of the distribution",
        ),
        ("logprobs", _in_its_own_order, "test_rollouts_of_some_are_as_of_all", "not those of the distribution"),
        ("logprobs", _as_at_first, "test_a_step_moves_the_policy_and_not_its_reference", "changed nothing"),
        ("parameters", lambda right: iter(()), "test_a_state_can_be_taken_up_again", "there is nothing to learn"),
        (
            "parameters",
            lambda right: [one.detach().clone().requires_grad_() for one in right()],
            "test_a_state_can_be_taken_up_again",
            "no parameter has a gradient",
        ),
        ("load_state_dict", lambda right, state: None, "test_a_state_can_be_taken_up_again", "not the one it gave"),
        ("reference", _with_gradient, "test_a_step_moves_the_policy_and_not_its_reference", "takes a gradient"),
    ],
)
def test_a_method_that_breaks_its_promise_is_found_out(tmp_path, monkeypatch, method, broken, test, told):
    right = getattr(CategoricalPolicy, method)

    def wrong(self, *arguments, **named):
        return broken(functools.partial(right, self), *arguments, **named)

    monkeypatch.setattr(CategoricalPolicy, method, wrong)
    with pytest.raises(AssertionError) as raised:
        getattr(TestCategorical(), test)(tmp_path)
    assert told in str(raised.value)


def test_a_renderer_whose_answers_have_no_picture_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(ShadePolicy, "outcome", lambda self, sample, words: Outcome(text=" ".join(words)))
    with pytest.raises(AssertionError, match="a renderer's rollout without a picture"):
        TestShades().test_outcomes_have_their_picture(tmp_path)


def test_a_student_that_does_not_say_what_it_offers_is_found_out(tmp_path):
    class Mute(PolicyContract):
        component = "mute"

    with pytest.raises(AssertionError, match=r'register it with offers=\("policy",\)'):
        Mute().test_it_says_that_it_offers_a_policy()


def test_a_refiner_whose_ranks_make_other_calls_is_found_out(tmp_path):
    class Uneven(RefinerContract):
        component = "climb"
        student = "categorical"
        options = {"steps": 1, "uneven": True}

    with pytest.raises(AssertionError, match="may need all ranks at once"):
        Uneven().test_two_ranks_make_the_same_calls(tmp_path)


def test_the_first_probabilities_are_those_that_can_be_worked_out(toys, tmp_path):
    """Counts 1, 1, 2, 1 of the tiny samples' one relation at temperature 1: chances of 1/5 and 2/5, then without it."""
    found = {}
    contract = TestCategorical()
    contract.options = {"temperature": 1.0, "top_p": 1.0}
    (tmp_path / "images").mkdir()
    samples = tiny_samples(tmp_path / "images")
    with contract.policy(tmp_path) as policy:
        for rollout in policy.rollouts(samples, group=50, seed=1):
            words = rollout.outcome.text.split()
            found[words[0]] = math.exp(rollout.logprobs[0])
    assert found == pytest.approx({"on": 2 / 5, "near": 1 / 5, "holding": 1 / 5, "under": 1 / 5}, rel=1e-6)
