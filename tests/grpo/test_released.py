"""The released code's rewards, losses and advantages, value by value."""

from __future__ import annotations

import json

import pytest
from grpo.graphs import DATA, bigram, built, cases, exact
from support.extras import needs_extra

import sgforge_grpo
from sgforge.errors import ConfigError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.stages import Outcome
from sgforge_grpo import upstream

SIMILARITIES = {"bigram": bigram, "exact": exact}


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_six_rewards_are_those_of_the_released_code(name):
    count = 0
    for case in cases():
        found = upstream.score(
            case["completion"], case["ground_truth"], case["box_scale"], SIMILARITIES[name], task_type=case["task_type"]
        )
        expected = {key: value for key, value in case["expected"][name].items() if key not in case["tie_sensitive"]}
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-6), (case["id"], case["kind"])
        assert set(found) == set(case["expected"][name])
        count += 1
    assert count == 255


def test_its_format_reward_in_four_ways():
    paid = dict.fromkeys(("head_strict", "head_lenient", "before_regression_strict", "before_regression_lenient"), 0)
    for case in cases():
        for key, expected in case["expected_format"].items():
            found = upstream.score(
                case["completion"],
                case["ground_truth"],
                case["box_scale"],
                exact,
                case["task_type"],
                head=key.startswith("head"),
                strict=key.endswith("strict"),
            )
            assert found["format_reward"] == expected, (case["id"], key)
            paid[key] += expected > 0
    # At the released commit hardly anything is paid: only answers without objects, and other tasks.
    assert paid["head_strict"] < 20 < 100 < paid["before_regression_strict"] < paid["before_regression_lenient"]


def truth_of(case) -> Sample | None:
    """The truth as a graph of 1000 by 1000 pixels, where it can be one."""
    objects = case["ground_truth"]["objects"]
    places = {one["id"]: place for place, one in enumerate(objects)}
    rows = [
        (places.get(r["subject"]), r["predicate"], places.get(r["object"]))
        for r in case["ground_truth"]["relationships"]
    ]
    if any(None in row for row in rows) or not objects:
        return None
    regions = [Region(one["id"].rpartition(".")[0], [1000 * side for side in one["bbox"]]) for one in objects]
    return Sample(case["id"], SceneGraph(1000, 1000, regions, [Relation(*row) for row in rows]))


@pytest.mark.parametrize("mode", ["upstream", "upstream-head"])
def test_registered_rewards_give_the_same_in_their_modes(mode):
    names = {
        "format": ("format_reward", 1),
        "node-accuracy": ("node_acc_reward", 2),
        "node-box": ("node_box_reward", 2),
        "edge-soft": ("edge_reward", 5),
        "recall-hard": ("edge_hard_reward", 5),
        "recall-relax": ("edge_hard_relax_reward", 5),
    }
    rewards = {name: built(name, mode=mode, similarity="exact") for name in (*names, "hard", "soft")}
    compared = 0
    for case in cases():
        truth = truth_of(case)
        if truth is None or case["task_type"] != "sgg" or case["box_scale"] != [1000, 1000] or case["tie_sensitive"]:
            continue
        found = {
            name: reward.score([truth], [[Outcome(text=case["completion"])]])[0][0] for name, reward in rewards.items()
        }
        expected = dict(case["expected"]["exact"])
        expected["format_reward"] = case["expected_format"][
            "head_strict" if mode == "upstream-head" else "before_regression_strict"
        ]
        for name, (key, weight) in names.items():
            assert found[name].total * weight == pytest.approx(expected[key], abs=1e-5), (case["id"], name)
        assert found["hard"].total == pytest.approx(expected["format_reward"] + expected["edge_hard_reward"], abs=1e-5)
        soft = ("format_reward", "node_acc_reward", "node_box_reward", "edge_reward")
        assert found["soft"].total == pytest.approx(sum(expected[key] for key in soft), abs=1e-5)
        compared += 1
    assert compared > 100


def test_a_graph_without_a_text_is_written_out_for_the_released_code():
    truth = Sample(
        "a",
        SceneGraph(
            200, 100, [Region("cup", (20, 10, 60, 90)), Region("table", (0, 50, 200, 100))], [Relation(0, "on", 1)]
        ),
    )
    for name in ("format", "node-accuracy", "edge-soft", "recall-hard", "recall-relax"):
        ((credit,),) = built(name, mode="upstream").score([truth], [[Outcome(truth.graph)]])
        assert credit.total == pytest.approx(1.0)
    ((credit,),) = built("format", mode="upstream-head").score([truth], [[Outcome(truth.graph)]])
    assert credit.total == 0.0


def test_what_was_never_released_has_no_such_mode():
    with pytest.raises(ConfigError, match="R1-SGG released no such reward"):
        built("f1", mode="upstream")


def test_losses_and_gradients_are_those_of_released_trainers():
    needs_extra("grpo")
    import torch

    kinds = set()
    for line in (DATA / "losses.jsonl").read_text().splitlines():
        case = json.loads(line)
        tensors = {key: torch.tensor(case[key]) for key in ("logps", "old_logps", "ref_logps", "mask", "advantages")}
        logps = tensors["logps"].requires_grad_()
        loss = sgforge_grpo.policy_loss(
            logps,
            tensors["advantages"],
            tensors["mask"],
            old_logps=tensors["old_logps"] if case["use_old"] else None,
            ref_logps=tensors["ref_logps"],
            **{key: case[key] for key in ("loss_type", "beta", "epsilon_low", "epsilon_high", "max_completion_length")},
            importance_sampling_level=case["importance_sampling_level"],
        )
        loss.backward()
        assert loss.item() == pytest.approx(case["loss"], abs=1e-5), case["id"]
        assert (logps.grad - torch.tensor(case["grad_logps"])).abs().max() <= 1e-5, case["id"]
        kinds.add(case["loss_type"])
    assert kinds >= {"grpo", "bnpo", "dr_grpo", "dapo", "cispo", "luspo", "sapo"}


def test_gspo_is_grpo_by_the_ratio_of_the_sequence():
    needs_extra("grpo")
    import torch

    logps = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, -0.1, -0.7]])
    old, mask = (
        logps + torch.tensor([[0.3, -0.1, 9.0], [0.2, 0.2, -0.4]]),
        torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]),
    )
    # Mean log ratios: -(0.3 - 0.1) / 2 = -0.1 and -(0.2 + 0.2 - 0.4) / 3 = 0: within the clip.
    found = sgforge_grpo.policy_loss(logps, torch.tensor([1.0, -1.0]), mask, old_logps=old, loss_type="gspo")
    assert found.item() == pytest.approx((-torch.exp(torch.tensor(-0.1)).item() + 1.0) / 2, abs=1e-6)


def test_advantages_are_those_of_the_formula():
    needs_extra("grpo")
    import torch

    for line in (DATA / "advantages.jsonl").read_text().splitlines():
        case = json.loads(line)
        for key, scaling in (("scaled", "group"), ("unscaled", "none"), ("split_rewards", "split")):
            found = sgforge_grpo.advantages(case["rewards"], case["group_size"], scaling=scaling)
            assert (found - torch.tensor(case[key])).abs().max() <= 1e-5, (case["id"], key)
        from sgforge_grpo.losses import keep_top_groups

        kept = keep_top_groups(case["rewards"], case["group_size"], len(case["keep_top_group"]))
        assert kept == case["keep_top_group"]


def test_groups_of_one_are_refused_with_the_reason():
    needs_extra("grpo")
    with pytest.raises(ConfigError, match="a group of 1 has no mean to be better than"):
        sgforge_grpo.advantages([1.0, 2.0], 1)
    with pytest.raises(ConfigError, match=r"no groups of 3"):
        sgforge_grpo.advantages([1.0, 2.0], 3)
    assert sgforge_grpo.advantages([[2.0, 1.0], [1.0, 2.0]], 2).tolist() == [0.0, 0.0]
