"""The contracts of policies and refiners: the toys keep them, and whoever breaks one is found out."""

from __future__ import annotations

import math

import pytest
from support.extras import needs_extra

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
    ],
)
def test_a_policy_that_breaks_its_contract_is_found_out(tmp_path, fault, test, told):
    class Broken(PolicyContract):
        component = "categorical"
        options = {"fault": fault, "top_p": 0.5 if fault == "nucleus" else 0.95}

    with pytest.raises(AssertionError) as raised:
        getattr(Broken(), test)(tmp_path)
    assert told in str(raised.value)


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
