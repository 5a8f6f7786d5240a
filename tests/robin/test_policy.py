"""A Robin as a policy, beyond the contract that `tests/plugins` holds it to."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from robin.worlds import SMALLEST, scenes, tokenizer

from sgforge import Checkpoint, Region, Resources, SceneGraph
from sgforge.errors import StepError
from sgforge.images import Roots
from sgforge.stages.policies import Policy
from sgforge_robin.config import RobinOptions
from sgforge_robin.decoding import decode
from sgforge_robin.learnt import Known, TrainedRobin
from sgforge_robin.model.checkpoint import build
from sgforge_robin.model.shape import PairShape
from sgforge_robin.policy import RobinPolicy
from sgforge_robin.student import RobinStudent


@pytest.fixture(params=[False, True], ids=["plain", "referring"])
def saved(tmp_path: Path, request: pytest.FixtureRequest) -> Checkpoint:
    torch.manual_seed(0)
    own = tokenizer()
    model = build(SMALLEST.shape(len(own), own.special, PairShape(1, 1))).eval()
    if request.param:
        model.add_reference_layer(own.names)
        assert model.reference_layer is not None
        for weight in (model.reference_layer.focus.weight, model.reference_layer.topic.weight):
            torch.nn.init.normal_(weight, std=0.3)
    with torch.no_grad():
        model.table.weight.mul_(20)  # so that some tokens are likelier than others
    known = Known(labels=("ball",), predicates=("on",), side=SMALLEST.side, box_text=False)
    TrainedRobin(model, own, known).save(tmp_path / "robin")
    return Checkpoint.of(tmp_path / "robin")


def policy(saved: Checkpoint, **options: Any) -> Policy:
    given = {"max_tokens": 9, **options}
    return RobinStudent(RobinOptions(**given)).policy(Resources(checkpoint=saved))


def test_one_question_a_subject_and_only_what_was_said(saved: Checkpoint, tmp_path: Path) -> None:
    (first, second) = scenes(tmp_path, 2)
    alone = attrs.evolve(first, graph=SceneGraph(64, 64, [Region("ball", (1, 1, 9, 9))]))
    lost = attrs.evolve(first, image=Roots({"scenes": tmp_path}).image("scenes:gone.png"))
    found = policy(saved).rollouts([first, alone, lost, second], group=2, seed=1)
    asked = Counter((rollout.sample.image_id, rollout.part) for rollout in found)
    expected = {(sample.image_id, index): 2 for sample in (first, second) for index in sample.graph.regions}
    assert asked == expected
    banned = set(tokenizer().unspeakable)
    for rollout in found:
        assert not banned & set(rollout.tokens)
        graph = rollout.outcome.graph
        assert graph is not None
        assert graph.all.regions == rollout.sample.graph.all.regions
        assert {one.subject for one in graph.all.relations} <= {rollout.part}
        assert (rollout.tokens[-1] == tokenizer().end) != ("truncated" in rollout.outcome.faults)
    assert any(rollout.outcome.faults for rollout in found), "random weights under no grammar say what is malformed"


def test_probabilities_are_those_of_the_sampler(saved: Checkpoint, tmp_path: Path, monkeypatch: Any) -> None:
    """What decoding reckoned with its caches, under the temperature, against the packed row that is learnt from."""
    drawn: list[tuple[int, float]] = []
    draw = decode._drawn

    def watching(shares: torch.Tensor, top_p: float, draws: torch.Tensor) -> torch.Tensor:
        tokens = draw(shares, top_p, draws)
        drawn.extend(zip(tokens.tolist(), shares.gather(1, tokens[:, None])[:, 0].log().tolist(), strict=True))
        return tokens

    monkeypatch.setattr(decode, "_drawn", watching)
    (sample,) = scenes(tmp_path, 1)
    found = policy(saved, temperature=0.7).rollouts([sample], group=3, seed=2)
    told = sorted(pair for one in found for pair in zip(one.tokens, one.logprobs, strict=True))
    for (token, before), (other, now) in zip(sorted(drawn), told, strict=True):
        assert token == other
        assert abs(math.exp(now - before) - 1) < 1e-4


def test_the_whole_graph_is_one_question(saved: Checkpoint, tmp_path: Path) -> None:
    found = policy(saved, mode="full-graph", max_tokens=2).rollouts(scenes(tmp_path, 2), group=2, seed=1)
    assert [rollout.part for rollout in found] == [None] * 4
    assert max(len(rollout.tokens) for rollout in found) <= 16


def test_answers_that_fill_several_rows(saved: Checkpoint, tmp_path: Path, monkeypatch: Any) -> None:
    samples = scenes(tmp_path, 2)
    one = policy(saved)
    rollouts = one.rollouts(samples, group=3, seed=1)
    expected = one.logprobs(rollouts)
    stage = attrs.evolve(one._stage, capacity=1)  # type: ignore[attr-defined]
    monkeypatch.setattr(one, "_stage", stage)
    for whole, parts in zip(expected, one.logprobs(rollouts), strict=True):
        torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-5)


def test_what_learns_is_what_the_stage_says(saved: Checkpoint, tmp_path: Path) -> None:
    made = policy(saved, stage="language")
    assert isinstance(made, RobinPolicy)
    parts = {name.partition(".")[0] for name in made.state_dict()}
    assert parts == {"language", "extractor", "projector"}
    rollouts = made.rollouts(scenes(tmp_path, 1), group=1, seed=0)
    sum(one.sum() for one in made.logprobs(rollouts)).backward()
    assert all(one.grad is not None for one in made.parameters())


@pytest.mark.parametrize("options", [{"stage": "language"}, {"lora": 2}])
def test_a_reference_shares_what_does_not_learn(saved: Checkpoint, tmp_path: Path, options: dict[str, Any]) -> None:
    made = policy(saved, **options)
    assert isinstance(made, RobinPolicy)
    reference = made.reference()
    assert isinstance(reference, RobinPolicy)
    own, other = (dict(one._robin.model.named_parameters()) for one in (made, reference))
    learns = set(made.state_dict())
    assert {name for name in own if own[name].data_ptr() != other[name].data_ptr()} == learns
    assert learns
    rollouts = made.rollouts(scenes(tmp_path, 1), group=1, seed=0)
    before = reference.logprobs(rollouts)
    with torch.no_grad():
        for value in made.parameters():
            value.add_(0.1)
    assert all(torch.equal(one, two) for one, two in zip(before, reference.logprobs(rollouts), strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(before, made.logprobs(rollouts), strict=True))
    made.save(tmp_path / "saved")
    again = policy(Checkpoint.of(tmp_path / "saved"))
    for one, two in zip(made.logprobs(rollouts), again.logprobs(rollouts), strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_activations_computed_again_and_in_bfloat16(saved: Checkpoint, tmp_path: Path) -> None:
    resources = Resources(checkpoint=saved, dtype="bfloat16")
    made = RobinStudent(RobinOptions(max_tokens=9, checkpointing=True)).policy(resources)
    rollouts = made.rollouts(scenes(tmp_path, 1), group=2, seed=0)
    now = made.logprobs(rollouts)
    for rollout, own in zip(rollouts, now, strict=True):
        assert own.dtype == torch.float32
        torch.testing.assert_close(own, torch.tensor(rollout.logprobs), atol=1e-5, rtol=0)
    sum(one.sum() for one in now).backward()
    assert {one.dtype for one in made.parameters()} == {torch.float32}


def test_a_model_that_is_given_in_training_mode(saved: Checkpoint, tmp_path: Path) -> None:
    robin = TrainedRobin.load(saved.path)
    robin.model.train()
    robin.model.recompute_activations()
    made = RobinPolicy(robin, RobinOptions(max_tokens=3, checkpointing=True), Resources())
    rollouts = made.rollouts(scenes(tmp_path, 1), group=1, seed=0)
    sum(one.sum() for one in made.logprobs(rollouts)).backward()
    assert made.rollouts(scenes(tmp_path, 1), group=1, seed=0)  # after a pass that computed them again, too


def test_a_state_of_another_policy_is_refused(saved: Checkpoint) -> None:
    made = policy(saved)
    with pytest.raises(StepError, match="of another policy"):
        made.load_state_dict({"language": torch.zeros(1)})
    with pytest.raises(StepError, match="no weights"):
        RobinStudent(RobinOptions()).policy(Resources())
