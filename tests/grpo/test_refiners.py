"""Refiners in pipelines of a toy student: what they learn, what they keep, and what stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from grpo import reward_toys
from policy_toys import CategoricalOptions, CategoricalStudent, read_logits, write_logits
from support.extras import needs_extra
from support.metrics import is_at, told
from support.waiting import wait_until

needs_extra("grpo")

import torch  # noqa: E402

import sgforge as sg  # noqa: E402
from sgforge.errors import ConfigError, PreflightError, StepError  # noqa: E402
from sgforge.models.errors import BudgetReachedError  # noqa: E402
from sgforge.stages import Checkpoint, Part, Resources, Selection  # noqa: E402
from sgforge.testing import RefinerContract, tiny_samples  # noqa: E402
from sgforge.testing.contracts.data import publish_samples  # noqa: E402
from sgforge_grpo.config import DpoOptions, GrpoOptions, RaftOptions  # noqa: E402
from sgforge_grpo.refining.refiners import DpoRefiner, GrpoRefiner, RaftRefiner  # noqa: E402
from sgforge_grpo.refining.rollout_file import read_rollouts  # noqa: E402

torch.set_num_threads(1)

KINDS = {"grpo": (GrpoRefiner, GrpoOptions), "raft": (RaftRefiner, RaftOptions), "dpo": (DpoRefiner, DpoOptions)}
FEW = {"rewards": ["word"], "steps": 3, "batch": 3, "group": 4, "rate": 0.1}


@pytest.fixture(autouse=True)
def _installed(toys):
    """Every test is one of plugins that child processes find too."""


class TestGrpo(RefinerContract):
    component = "grpo"
    student = "categorical"
    options = {**FEW, "beta": 0.1}


class TestRaft(RefinerContract):
    component = "raft"
    student = "categorical"
    options = FEW

    @pytest.mark.slow
    def test_two_ranks_make_the_same_calls(self, tmp_path: Path) -> None:
        super().test_two_ranks_make_the_same_calls(tmp_path)


class TestDpo(RefinerContract):
    component = "dpo"
    student = "categorical"
    options = FEW

    @pytest.mark.slow
    def test_two_ranks_make_the_same_calls(self, tmp_path: Path) -> None:
        super().test_two_ranks_make_the_same_calls(tmp_path)


@attrs.frozen
class Refined:
    """What came of a refinement: logits before and after, figures by name in order, rollouts."""

    before: np.ndarray
    after: np.ndarray
    told: dict[str, list[float]]
    rollouts: list[dict[str, Any]]
    folder: Path


def refine(
    folder: Path, kind: str = "grpo", reward: Any = None, student: Any = None, out: Path | None = None, **options: Any
) -> Refined:
    """Refine the toy on the tiny samples, in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    before, out = folder / "before", out or folder / "out"
    before.mkdir(exist_ok=True)
    out.mkdir(exist_ok=True)
    start = np.zeros((2, 4), np.float32)
    write_logits(before, start)
    (folder / "images").mkdir(exist_ok=True)
    snapshot = publish_samples(folder / "data", tiny_samples(folder / "images"))
    made, settings = KINDS[kind]
    refiner = made(settings(**{**FEW, "rewards": ("word",), **options}))
    told: dict[str, list[float]] = {}
    parts = (Part("word", 1.0, Resources(), reward or reward_toys.WordReward()),)
    resources = Resources(
        checkpoint=Checkpoint.of(before),
        student=student or CategoricalStudent(),
        reporter=lambda name, value, step: told.setdefault(name, []).append(value),
        parts={"rewards": parts},
    )
    refiner.setup(resources)
    checkpoint = refiner.refine(snapshot.path, Selection(), out, resources)
    rollouts = list(read_rollouts(out / "rollouts.jsonl.zst"))
    return Refined(start, read_logits(checkpoint.path), told, rollouts, out)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_is_rewarded(tmp_path, kind):
    found = refine(tmp_path, kind, steps=25, rate=0.2)
    # The first word; the second can never be the same.
    assert found.after[0].argmax() == 0
    assert found.after[0][0] - found.after[0][1:].max() > 1.0
    assert np.mean(found.told["reward"][-5:]) > np.mean(found.told["reward"][:5])
    assert max(found.told["mismatch"]) < 1e-5


@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "luspo"])
def test_every_loss_learns(tmp_path, loss):
    extra = {"epsilon_high": 2.0} if loss == "cispo" else {}
    found = refine(tmp_path, loss=loss, steps=8, rate=0.2, beta=0.01, iterations=2, **extra)
    assert found.after[0].argmax() == 0
    assert all(map(np.isfinite, found.told["loss"]))


def test_rollouts_are_kept_with_what_each_reward_gave(tmp_path):
    found = refine(tmp_path, steps=2)
    assert [row["step"] for row in found.rollouts] == sorted(row["step"] for row in found.rollouts)
    assert {row["step"] for row in found.rollouts} == {0, 1}
    for row in found.rollouts:
        words = row["text"].split()
        assert row["parts"] == {"word": words.count("on") / len(words)}
        assert row["total"] == row["parts"]["word"]
        assert row["relations"][0] == [0, words[0], 1]
    # Advantages of a group are (r - mean) / (std + 1e-4) of its totals, none of a group whose totals are equal.
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in found.rollouts:
        groups.setdefault((row["step"], row["group"]), []).append(row)
    checked = 0
    assert {len(rows) for rows in groups.values()} == {4}
    for rows in groups.values():
        totals = np.array([row["total"] for row in rows])
        given = [row["advantage"] for row in rows]
        if totals.std() == 0:
            assert given == [None] * 4
        else:
            assert given == pytest.approx(list((totals - totals.mean()) / (totals.std(ddof=1) + 1e-4)), abs=1e-5)
            checked += 1
    assert checked
    # Any zstd reads it.
    text = subprocess.run(["zstd", "-dc", found.folder / "rollouts.jsonl.zst"], capture_output=True, check=False)
    if text.returncode == 0:
        assert len(text.stdout.splitlines()) == len(found.rollouts)


def test_figures_tell_how_it_goes(tmp_path):
    found = refine(tmp_path, steps=3)
    for step in range(3):
        rows = [row for row in found.rollouts if row["step"] == step]
        assert found.told["reward"][step] == pytest.approx(np.mean([row["total"] for row in rows]))
        assert found.told["reward.word"][step] == pytest.approx(found.told["reward"][step])
        assert found.told["length"][step] == pytest.approx(np.mean([row["tokens"] for row in rows]))
        expected = -sum(row["logprob"] for row in rows) / sum(row["tokens"] for row in rows)
        assert found.told["entropy"][step] == pytest.approx(expected)
        numbers = sorted({row["group"] for row in rows})
        grouped = [[row["total"] for row in rows if row["group"] == group] for group in numbers]
        assert found.told["spread.word"][step] == pytest.approx(np.mean([np.std(one, ddof=1) for one in grouped]))
        assert found.told["same_reward_groups"][step] == np.mean([len(set(one)) == 1 for one in grouped])
    assert found.told["malformed"] == [0.0] * 3


def test_what_is_wrong_with_a_plan_is_told_before_any_work(toys):
    def plan(*steps):
        return sg.Pipeline(*steps).request(sg.source("toy"), "data").resolve(toys)

    with pytest.raises(PreflightError, match="student 'mute' offers no policy"):
        plan(sg.train("mute"), sg.refine("grpo", rewards=["word"]))
    with pytest.raises(ConfigError, match="a group of 1 has no mean to be better than"):
        plan(sg.train("categorical"), sg.refine("grpo", rewards=["word"], group=1))
    with pytest.raises(ConfigError, match="wrd"):
        plan(sg.train("categorical"), sg.refine("grpo", rewards=["wrd"]))
    for refiner in ("grpo", "dpo", "raft"):
        with pytest.raises(ConfigError, match=r"step 'refine'.rewards: must name at least one component"):
            plan(sg.train("categorical"), sg.refine(refiner, rewards=[]))


@pytest.mark.parametrize("fault", ["raises", "nan", "far", "fails"])
def test_a_reward_that_fails_on_an_answer_takes_that_one_alone(tmp_path, fault):
    reward = reward_toys.WordReward(reward_toys.WordOptions(fault=fault))
    found = refine(tmp_path, reward=reward, steps=4, max_failed=1.0)
    failed = [row for row in found.rollouts if row["text"].startswith("near")]
    assert failed
    assert all(row["total"] is None and row["advantage"] is None for row in failed)
    code = {"raises": "raised", "nan": "not-finite", "far": "out-of-range", "fails": "odd"}[fault]
    assert all(row["failed"][0] == code for row in failed)
    assert all(row["total"] is not None for row in found.rollouts if not row["text"].startswith("near"))
    assert sum(found.told["reward_failed"]) == len(failed)


def test_it_stops_where_rewards_fail_on_too_much(tmp_path):
    reward = reward_toys.WordReward(reward_toys.WordOptions(fault="raises"))
    with pytest.raises(StepError, match=r"rewards failed on \d+ of 8 answers.*ValueError: no such word"):
        refine(tmp_path, reward=reward, max_failed=0.0, steps=20)


class Paid(reward_toys.WordReward):
    """A reward of a judge: so many calls of it are in the budget."""

    def __init__(self, budget: int) -> None:
        super().__init__()
        self.budget = budget
        self.asked: list[str] = []

    def score(self, samples, outcomes):
        if not self.budget:
            raise BudgetReachedError("the next call could cost more than is left of 5 USD")
        self.budget -= 1
        self.asked += [outcome.text or "" for group in outcomes for outcome in group]
        return super().score(samples, outcomes)


def test_a_budget_that_is_spent_stops_it_and_no_step_that_was_paid_for_is_asked_again(tmp_path):
    whole = refine(tmp_path / "whole", steps=5)
    first, second = Paid(2), Paid(9)
    with pytest.raises(BudgetReachedError, match="left of 5 USD"):
        refine(tmp_path / "cut", reward=first, steps=5)
    kept = [row["step"] for row in read_rollouts(tmp_path / "cut/out/rollouts.jsonl.zst")]
    assert set(kept) == {0, 1}
    found = refine(tmp_path / "cut", reward=second, steps=5)
    assert second.budget == 9 - 3
    assert first.asked + second.asked == [row["text"] for row in whole.rollouts]
    assert found.rollouts == whole.rollouts
    assert np.array_equal(found.after, whole.after)


def test_rewards_of_another_range_are_taken_as_they_are(tmp_path):
    reward = reward_toys.WordReward(reward_toys.WordOptions(most=1000.0))
    found = refine(tmp_path, reward=reward, steps=25, rate=0.2)
    assert found.after[0].argmax() == 0


class Odd(CategoricalStudent):
    """A student whose policy does something wrong."""

    def __init__(self, fault: str) -> None:
        super().__init__(CategoricalOptions(fault=fault, temperature=0.3 if fault == "temperature" else 0.7))
        self.fault = fault

    def policy(self, resources):
        policy = super().policy(resources)
        if self.fault == "silent":
            policy.rollouts = lambda samples, /, group, seed: []
        if self.fault == "nan":
            inner = policy.logprobs
            policy.logprobs = lambda rollouts: [one * float("nan") for one in inner(rollouts)]
        return policy


def test_a_mask_that_does_not_reach_the_loss_stops_it(tmp_path):
    with pytest.raises(StepError, match=r"differ by 0\.\d+ in the mean between sampling and learning"):
        refine(tmp_path, student=Odd("temperature"))


def test_a_policy_that_says_nothing_stops_it(tmp_path):
    with pytest.raises(StepError, match="the policy gave no answer in 3 steps"):
        refine(tmp_path, student=Odd("silent"), steps=9)


def test_a_loss_that_is_no_number_stops_it_and_keeps_the_state(tmp_path):
    with pytest.raises(StepError, match="the loss is nan; the state before it is kept"):
        refine(tmp_path, student=Odd("nan"))
    (state,) = (tmp_path / "out").glob("state-*")
    kept = torch.load(state / "0.pt", weights_only=True)
    assert kept["policy"]["logits"].abs().max() == 0.0
    assert not (tmp_path / "out" / "weights").exists()


def test_groups_of_equal_rewards_teach_nothing_and_are_counted(tmp_path):
    found = refine(tmp_path, reward=reward_toys.WordReward(reward_toys.WordOptions(word="nowhere")))
    assert np.array_equal(found.before, found.after)
    assert found.told["same_reward_groups"] == [1.0] * 3
    assert "loss" not in found.told


def test_groups_about_a_truth_without_relations_are_counted(tmp_path):
    found = refine(tmp_path)
    asked = [{(row["image_id"], row["group"]) for row in found.rollouts if row["step"] == step} for step in range(3)]
    # Of the tiny samples the cup alone has a relation, whatever rewards say of the answers about it.
    assert found.told["groups_without_truth"] == [sum(image != "cup" for image, _ in one) for one in asked]
    assert any(image == "cup" for one in asked for image, _ in one)


def test_of_more_groups_those_of_the_highest_spread_are_learnt_from(tmp_path):
    found = refine(tmp_path, steps=1, batch=2, oversample=2.0)
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in found.rollouts:
        groups.setdefault(row["group"], []).append(row)
    spread = {group: np.std([row["total"] for row in rows]) for group, rows in groups.items()}
    learnt = {group for group, rows in groups.items() if rows[0]["advantage"] is not None}
    assert len(groups) > len(learnt)
    assert min(spread[group] for group in learnt) >= max(spread[group] for group in set(groups) - learnt) - 1e-9


def test_passes_of_any_size_give_the_same_gradients(tmp_path):
    whole = refine(tmp_path / "whole", steps=2, beta=0.1)
    parts = refine(tmp_path / "parts", steps=2, beta=0.1, pass_size=5)
    assert np.abs(whole.after - parts.after).max() < 1e-5
    assert whole.told["loss"] == pytest.approx(parts.told["loss"], abs=1e-5)


def test_weights_of_later_rewards_rise_over_the_first_steps():
    from sgforge_grpo.refining.drawing import Critic

    parts = tuple(Part(name, 2.0, Resources(), reward_toys.WordReward()) for name in ("form", "edges"))
    critic = Critic(Resources(parts={"rewards": parts}), warm=4)
    assert [critic.weights(step)["edges"] for step in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert critic.weights(0)["form"] == 2.0


STEPS = 120
CHILD = """
import sys
from pathlib import Path
from grpo.test_refiners import pipeline
pipeline(sys.argv[2], int(sys.argv[3]), Path(sys.argv[1]))
"""


def pipeline(kind: str, world: int, data: Path, steps: int = STEPS):
    """Train the toy and refine it, in processes of its own."""
    # Of five: in a group of four, advantages can cancel to rounding errors, of whose sign Adam makes a whole step.
    options = {"steps": steps, "batch": 5, "group": 5, "rate": 0.02, "save_every": 7}
    extra = {"beta": 0.05} if kind == "grpo" else {}
    refined = sg.refine(kind, rewards=["word"], run={"processes": world}, **options, **extra)
    return sg.Pipeline(sg.train("categorical"), refined).run(sg.source("toy", count=20), data, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "world"), [("grpo", 1), ("dpo", 1), ("grpo", 2)])
def test_killed_at_any_step_it_goes_on_to_the_same_losses(tmp_path, kind, world):
    whole = pipeline(kind, world, tmp_path / "whole")
    data = tmp_path / "data"
    for least in (3, 40, 80):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(data), kind, str(world)], stderr=subprocess.PIPE)
        wait_until(partial(is_at, data, "loss", least, child), f"step {least}")
        assert child.poll() is None, child.stderr.read().decode()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    again = pipeline(kind, world, data)
    expected, found = told(tmp_path / "whole", "loss"), told(data, "loss")
    assert {step: len(values) for step, values in found.items() if len(values) > 1} == {}
    assert found == expected
    assert again.step("refine").checkpoint.sha256 == whole.step("refine").checkpoint.sha256
    folder = again.step("refine").checkpoint.path.parent
    rows = list(read_rollouts(folder / "rollouts.jsonl.zst"))
    assert rows == list(read_rollouts(whole.step("refine").checkpoint.path.parent / "rollouts.jsonl.zst"))
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert not list(folder.glob("state-*"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_learn_what_one_learns(tmp_path, kind):
    alone, both = (pipeline(kind, world, tmp_path / str(world), steps=6) for world in (1, 2))
    first, second = (read_logits(report.step("refine").checkpoint.path) for report in (alone, both))
    before = read_logits(alone.step("train").checkpoint.path)
    assert np.abs(first - before).max() > 0.01
    assert np.abs(first - second).max() < 1e-5
    for metric in ("loss", "reward", "spread", "entropy"):
        one, two = (told(tmp_path / str(world), metric) for world in (1, 2))
        assert {step: pytest.approx(*values, abs=1e-5) for step, values in one.items()} == {
            step: next(iter(values)) for step, values in two.items()
        }
