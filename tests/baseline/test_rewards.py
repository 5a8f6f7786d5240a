"""One reward in its uses: as a filter's critic, as an evaluator's measure, as a refiner's signal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import attrs
import engine_rewards
import engine_toys
import numpy as np
import pytest
from engine_rewards import Agreement, AgreementOptions, Scores
from hypothesis import given
from hypothesis import strategies as st

import sgforge as sg
from sgforge.errors import ConfigError, StepError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.models import ChatRequest, Message, TextPart
from sgforge.plugins import Owner, Registry
from sgforge.stages import Credit, Failure, Judged, Needs, Outcome, Part, Ranking, Resources, RewardSum
from sgforge.stages.rewards import check_credit, range_of
from sgforge.testing import EvaluatorContract, FilterContract, HolderContract, IsolatedPlugins, RewardContract
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider
from sgforge_baseline.rewarding import graph_of


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The toys, the rewards and the baseline, also in child processes."""
    import sgforge_baseline

    with IsolatedPlugins(engine_toys.this_plugin(), engine_rewards.this_plugin(), sgforge_baseline) as found:
        for name, value in engine_toys.toy_environment(tmp_path / "site").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SGFORGE_PLUGINS", "toys,rewards")
        engine_rewards.install(tmp_path / "site")
        yield found


class _Toy:
    # Toys of a test are no installed plugin: the test of their imports is taken out, not passed.
    test_plugin_is_light_to_import = None


class TestAgreement(_Toy, RewardContract):
    component = "agreement"


class TestScores(_Toy, RewardContract):
    component = "scores"


class TestFilter(_Toy, HolderContract, FilterContract):
    component = "reward"
    options = {"rewards": ["agreement", {"use": "scores", "weight": 0.5}], "least": 0.75}


class TestEvaluator(_Toy, HolderContract, EvaluatorContract):
    component = "reward"
    options = {"rewards": ["agreement", "scores"], "mode": "predcls"}


class _Broken(Agreement):
    odd_total: float = float("nan")

    def one(self, sample, outcome):
        return Credit(self.odd_total)


@pytest.mark.parametrize("total", [float("nan"), float("inf"), 1.01, -0.01])
def test_the_contract_catches_a_reward_that_leaves_its_range(registry, tmp_path, total):
    object.__setattr__(registry.lookup("reward", "agreement"), "target", type("B", (_Broken,), {"odd_total": total}))
    with pytest.raises(AssertionError, match=r"outcome 0: Failure\(reason='(not-finite|out-of-range)'"):
        TestAgreement().test_credits_are_finite_and_in_range(tmp_path)


def test_the_contract_catches_a_bad_outcome_that_takes_others_along(registry, tmp_path):
    class Touchy(Agreement):
        def score(self, samples, outcomes):
            bad = any(outcome.graph is None and outcome.text == "\0{[" for group in outcomes for outcome in group)
            return [[Credit(0.0 if bad else 1.0) for _ in group] for group in outcomes]

    object.__setattr__(registry.lookup("reward", "agreement"), "target", Touchy)
    with pytest.raises(AssertionError, match="a bad outcome changed the credits of others"):
        TestAgreement().test_one_bad_outcome_harms_no_other(tmp_path)


def test_the_contract_catches_chance_and_ranges_that_are_none(registry, tmp_path):
    class Chance(Agreement):
        range = (0.0, float("inf"))
        calls = 0

        def one(self, sample, outcome):
            type(self).calls += 1
            return Credit(float(self.calls))

    object.__setattr__(registry.lookup("reward", "agreement"), "target", Chance)
    with pytest.raises(AssertionError, match="two instances differ"):
        TestAgreement().test_same_outcome_same_credit(tmp_path)
    with pytest.raises(StepError, match="two finite numbers"):
        TestAgreement().test_its_range_is_stated(tmp_path)


CUP, TABLE = Region("cup", (1, 1, 5, 5)), Region("table", (0, 4, 9, 9))


def sample(*relations: Relation) -> Sample:
    return Sample("a", SceneGraph(10, 10, (CUP, TABLE), relations))


def part(component, name="one", weight=1.0) -> Part:
    return Part(name, weight, Resources(), component)


class Fixed:
    def __init__(self, credit, ends=(0.0, 1.0)) -> None:
        self.credit, self.range = credit, ends

    def score(self, samples, outcomes):
        return [[self.credit for _ in group] for group in outcomes]


def test_credits_are_weighed_and_added():
    one = sample(Relation(0, "on", 1), Relation(1, "under", 0))
    first = Fixed(Credit(0.5, {"f": 0.25}, relations=(0.0, 1.0)))
    second = Fixed(Credit(-3.0, regions=(1.0, -4.0)), (-4.0, 2.0))
    rewards = RewardSum([part(first, "a", 2.0), part(second, "b", -0.5)])
    # From 2 x 0 - 0.5 x 2 to 2 x 1 + 0.5 x 4.
    assert rewards.range == (-1.0, 4.0)
    [[credit]] = rewards.score([one], [[Outcome(one.graph)]])
    assert credit == Credit(2.5, {"a": 0.5, "a.f": 0.25, "b": -3.0}, (-0.5, 2.0), (0.0, 2.0))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-3, 3).filter(bool)), min_size=1, max_size=5))
def test_the_sum_of_credits_is_in_the_sum_of_ranges(drawn):
    rewards = RewardSum([part(Fixed(Credit(total)), str(n), weight) for n, (total, weight) in enumerate(drawn)])
    least, most = rewards.range
    [[credit]] = rewards.score([sample()], [[Outcome()]])
    assert least - 1e-9 <= credit.total <= most + 1e-9


def test_what_is_no_credit_is_a_fault_of_its_outcome_alone():
    outcome = Outcome(sample(Relation(0, "on", 1)).graph)
    reasons = {
        "not-finite": [
            Credit(float("nan")),
            Credit(0.5, {"a": float("inf")}),
            Credit(0.5, regions=(0.1, float("nan"))),
        ],
        "out-of-range": [Credit(1.1), Credit(0.5, relations=(-0.1,))],
        "contract": [0.5, None, Credit(0.5, relations=()), Credit(0.5, regions=(0.1,))],
    }
    for reason, given_ in reasons.items():
        for one in given_:
            assert check_credit(one, outcome, (0.0, 1.0)).reason == reason, one
    assert check_credit(Credit(0.5, relations=(1.0,)), outcome, (0.0, 1.0)) == Credit(0.5, relations=(1.0,))
    assert check_credit(Failure("mine"), outcome, (0.0, 1.0)) == Failure("mine")


def test_a_reward_that_forgets_outcomes_or_its_range_fails_as_a_whole():
    class Short(Fixed):
        def score(self, samples, outcomes):
            return [[] for _ in samples]

    with pytest.raises(StepError, match="reward 'one' answered other numbers of credits"):
        RewardSum([part(Short(Credit(0.5)))]).score([sample()], [[Outcome()]])
    for ends in (None, (0.0,), (1.0, 0.0), (0.0, float("nan")), "ab", (0.0, 1.0, 2.0)):
        with pytest.raises(StepError, match="states"):
            range_of(Fixed(Credit(0.5), ends))
    with pytest.raises(StepError, match="there is no reward"):
        RewardSum([])
    with pytest.raises(StepError, match="the weights of all rewards are 0"):
        RewardSum([part(Fixed(Credit(0.5)), weight=0.0)])


def run(data: Path, *steps, count: int = 6):
    return sg.Pipeline(sg.complete("toy"), *steps).run(sg.source("toy", count=count), data, progress=False)


def test_the_filter_rejects_relations_with_too_little_credit(tmp_path):
    report = run(tmp_path / "data", sg.filter("reward", rewards=["scores"], least=0.2))
    assert report.step("filter").counts.failed == 0
    rejected = 0
    for one in sg.Dataset.open(tmp_path / "data"):
        for row in one.graph.all.relations:
            credit = 2 * (1.0 if row.score is None else row.score) - 1
            is_low = credit < 0.2
            assert (row.status, row.reason) == (("rejected", "low-credit") if is_low else ("kept", None))
            if is_low:
                assert row.degree == pytest.approx(credit, abs=1e-6)
            rejected += is_low
    assert rejected > 3


def test_the_filter_leaves_alone_what_another_has_rejected(tmp_path):
    steps = [
        sg.filter("reward", rewards=["scores"], least=least, name=name) for name, least in (("a", 0.2), ("b", 0.9))
    ]
    run(tmp_path / "data", *steps)
    rows = [row for one in sg.Dataset.open(tmp_path / "data") for row in one.graph.all.relations]
    credits = [2 * (1.0 if row.score is None else row.score) - 1 for row in rows]
    expected = ["a" if credit < 0.2 else "b" if credit < 0.9 else None for credit in credits]
    assert [row.judged_by for row in rows] == expected
    assert set(expected) == {"a", "b", None}


@pytest.mark.parametrize(
    ("step", "rewards", "told"),
    [
        (sg.filter, [], "must name at least one component"),
        (sg.evaluate, [], "must name at least one component"),
        (sg.filter, [sg.use("scores", weight=0), sg.use("agreement", weight=0)], "the weights of all are 0"),
    ],
)
def test_rewards_that_say_nothing_are_refused_before_any_work(registry, step, rewards, told):
    made = sg.Pipeline(sg.train("toy"), step("reward", rewards=rewards))
    with pytest.raises(ConfigError, match=rf"step '{step.__name__}'.rewards: {told}"):
        made.request(sg.source("toy"), "data").resolve(registry)


def test_the_filter_leaves_out_images_and_counts_what_is_no_credit(tmp_path):
    odd = ["00000:nan", "00001:high", "00002:rows", "00003:text", "00004:failure"]
    reward = sg.use("agreement", odd=odd)
    report = run(tmp_path / "data", sg.filter("reward", rewards=[reward], judges="images", least=0.5))
    assert dict(report.step("filter").reasons) == {"contract": 2, "not-finite": 1, "out-of-range": 1, "unsure": 1}
    assert report.step("filter").counts.computed == 1
    report = run(tmp_path / "data", sg.filter("reward", rewards=["scores"], judges="images", least=1.0))
    assert report.step("filter").counts.dropped == 6


def test_a_reward_that_cannot_tell_regions_apart_judges_none(tmp_path):
    report = run(tmp_path / "data", sg.filter("reward", rewards=["scores"], judges="regions"))
    assert dict(report.step("filter").reasons) == {"no-credit": 6}
    assert "none of the rewards gives credit to regions" in report.failures[0].detail


def ranking(*scores: float) -> Ranking:
    table = np.array([[scores[0], scores[1]], [scores[2], 0.0]], np.float32)
    return Ranking((CUP, TABLE), np.array([[0, 1], [1, 0]], np.int32), ("on", "near"), table)


def evaluated(registry, judged, *rewards, **options):
    built = registry.lookup("evaluator", "reward").build
    from sgforge_baseline.config import RewardEvaluatorOptions

    evaluator = built(RewardEvaluatorOptions(rewards=("agreement",), **options))
    evaluator.setup(Resources(parts={"rewards": tuple(rewards)}))
    return evaluator.evaluate(iter(judged))


def test_the_evaluator_gives_the_mean_total_and_that_of_each_reward(registry):
    truth = sample(Relation(0, "on", 1)).graph
    judged = [
        Judged("a", truth, ranking(0.75, 0.25, 0.5)),  # cup on table, and table on cup, which is wrong: 1/2
        Judged("b", truth, ranking(0.25, 0.75, 0.0)),  # cup near table: 0
        Judged("c", truth, Failure("timeout")),  # nothing said: 1
    ]

    class AsScored(Scores):
        def score(self, samples, outcomes):
            rows = [[one.graph.all.relations for one in group] for group in outcomes]
            return [[Credit(sum(r.score for r in one) - 1) for one in group] for group in rows]

    report = evaluated(registry, judged, part(Agreement(), "agreement", 2.0), part(AsScored(), "scores"))
    # agreement: mean of 1/2, 0, 1; scores: mean of 0.25, -0.25, -1 is -1/3, a third of the way from -1 to 1.
    # Together from -1 to 3: 2 x 1/2 - 1/3 = 2/3.
    assert report.values == pytest.approx(
        {"reward": (2 / 3 + 1) / 4, "reward.agreement": 1 / 2, "reward.scores": 1 / 3}, abs=1e-7
    )
    assert {row["name"]: row["mean"] for row in report.tables["credits"]} == pytest.approx(
        {"reward": 2 / 3, "reward.agreement": 1 / 2, "reward.agreement.kept": 1.0, "reward.scores": -1 / 3}, abs=1e-7
    )
    assert (report.images_used, dict(report.images_skipped)) == (3, {})


def test_the_evaluator_counts_images_that_cannot_be_scored(registry):
    truth = sample().graph
    judged = [Judged(name, truth, ranking(0.5, 0.5, 0.5)) for name in "abc"]
    reward = part(Agreement(AgreementOptions(odd=("b:nan",))), "agreement")
    report = evaluated(registry, judged, reward)
    assert (report.images_used, dict(report.images_skipped)) == (2, {"not-finite": 1})


def test_a_ranking_as_a_graph_has_the_best_of_each_pair_the_best_first():
    regions = (CUP, TABLE, Region("dog", (2, 2, 4, 4), score=0.5))
    pairs = np.array([[0, 1], [2, 0], [1, 2], [0, 2], [1, 1]], np.int32)
    table = np.array([[0.5, 0.25], [0.75, 0.875], [0.0, 0.0], [0.125, 1.0], [1.0, 1.0]], np.float32)
    graph = graph_of(Ranking(regions, pairs, ("on", "near"), table), 10, 10, 2)
    # Products: 0.5; 0.875 x 0.5; nothing; 1 x 0.5, after the first by its place; a pair of one region is none.
    assert [(row.subject, row.predicate, row.object, row.score) for row in graph.all.relations] == [
        (0, "on", 1, 0.5),
        (0, "near", 2, 1.0),
    ]
    empty = graph_of(Ranking(regions, np.zeros((0, 2), np.int32), (), np.zeros((0, 0), np.float32)), 10, 10, 2)
    assert (len(empty.all.regions), len(empty.all.relations)) == (3, 0)


def test_the_evaluator_in_a_pipeline(tmp_path):
    rewards = [sg.use("agreement"), sg.use("scores", weight=0.5)]
    step = sg.evaluate("reward", rewards=rewards, mode="predcls")
    report = run(tmp_path / "data", sg.train("toy"), step, count=20).step("evaluate").report
    assert report.images_used == 4
    assert set(report.values) == {"reward", "reward.agreement", "reward.scores"}
    assert all(0.0 <= value <= 1.0 for value in report.values.values())


def test_rewards_are_a_refiners_signal_in_its_process(tmp_path):
    rewards = [sg.use("agreement", odd=["00001:nan"]), sg.use("scores", weight=3)]
    report = run(tmp_path / "data", sg.train("toy"), sg.refine("rewarded", rewards=rewards))
    found = json.loads((report.step("refine").checkpoint.path / "totals.json").read_text())
    assert sorted(found) == ["00000", "00001", "00002", "00003", "00005"]
    assert found["00001"] == ["not-finite", "not-finite"]
    for one in sg.Dataset.open(tmp_path / "data"):
        if one.image_id in found and one.image_id != "00001":
            values = [2 * (1.0 if row.score is None else row.score) - 1 for row in one.graph.all.relations]
            assert found[one.image_id] == pytest.approx([1 + 3 * sum(values) / len(values), 0.0])


@attrs.frozen
class _AskingOptions:
    model: str


class _Asking:
    """As good as a model says."""

    range = (0.0, 1.0)

    def __init__(self, options: _AskingOptions) -> None:
        self.options = options

    def setup(self, resources: Resources) -> None:
        self.model = resources.model

    async def score(self, sample, outcomes):
        return [await self._one(f"{sample.image_id}?") for _ in outcomes]

    async def _one(self, text):
        request = ChatRequest(messages=(Message("user", (TextPart(text),)),), max_tokens=1, choices=("good", "bad"))
        return Credit(float((await self.model.complete(request)).text == "good"))


def test_a_reward_may_ask_a_model_whose_answers_are_kept(registry, tmp_path):
    import sgforge_openai

    class Plugin:
        @sg.hookimpl
        def sgforge_register_rewards(self, register):
            register("asking", _Asking, config=_AskingOptions, needs=Needs(model=True, deterministic=False))

    registry.add(Plugin(), Owner("asking"))
    registry.add(sgforge_openai, Owner("openai"))
    rewards = [sg.use("asking", model="compat/any")]
    with FakeProvider(lambda request: FakeAnswer("good" if "00003?" in str(request.body) else "bad")) as server:
        steps = [sg.filter("reward", rewards=rewards, judges="images", least=least) for least in (0.25, 0.5)]
        for step in (steps[0], sg.select("top-fraction", rewards=rewards, fraction=0.01), steps[1]):
            made = sg.Pipeline(step, models={"compat/any": {"base_url": server.openai_url}})
            report = made.run(sg.source("toy", count=6), tmp_path / "data", progress=False)
            assert (report.steps[-1].counts.computed, report.steps[-1].counts.dropped) == (6, 5)
            assert server.ledger.answered == 6
    dataset = sg.Dataset.open(tmp_path / "data")
    dropped = dataset.snapshot.column("image/dropped").tolist()
    assert [sample.image_id for sample, why in zip(dataset, dropped, strict=True) if why < 0] == ["00003"]


def test_one_reward_in_all_its_uses(tmp_path):
    """As a filter, two selectors, an evaluator and the signal of a refiner, in one pipeline."""
    rewards = [sg.use("scores")]
    steps = (
        sg.filter("reward", rewards=rewards, least=-0.9),
        sg.select("best-of", rewards=rewards, others="keep"),
        sg.select("top-fraction", rewards=rewards, fraction=0.5, on={"split": "train"}, name="half"),
        sg.train("toy"),
        sg.refine("rewarded", rewards=rewards),
        sg.evaluate("reward", rewards=rewards, mode="predcls"),
    )
    report = run(tmp_path / "data", *steps, count=20)
    assert report.status == "done"
    assert (report.step("half").counts.computed, report.step("half").counts.dropped) == (16, 8)
    dataset = sg.Dataset.open(tmp_path / "data")
    totals = json.loads((report.step("refine").checkpoint.path / "totals.json").read_text())
    chosen = {one.image_id: one.values["chosen"] for one in dataset if one.image_id in totals}
    # What the refiner was told of each image it learnt from is what it was chosen for.
    assert len(chosen) == 8
    assert {name: one["credit"] for name, one in chosen.items()} == pytest.approx(
        {name: values[0] for name, values in totals.items()}
    )
    assert 0.0 <= report.step("evaluate").report.values["reward"] <= 1.0


def test_the_spatial_reward_is_the_degree_of_what_is_said(registry):
    left, right = Region("a", (0, 0, 10, 10)), Region("b", (20, 0, 30, 10))
    rows = [Relation(0, "left of", 1), Relation(1, "left of", 0), Relation(0, "talking to", 1)]
    graph = SceneGraph(40, 20, (left, right), [*rows, attrs.evolve(rows[1], predicate="right of", status="rejected")])
    options = registry.lookup("reward", "spatial").config(untold=0.25)
    reward = registry.lookup("reward", "spatial").build(options)
    whole, nothing, unread = reward.score([sample()], [[Outcome(graph), Outcome(SceneGraph()), Outcome()]])[0]
    # It is left of, it is not, geometry cannot tell; the rejected row is right, and counts for nothing in the whole.
    assert whole == Credit((1.0 + 0.0 + 0.25) / 3, {"told": 2 / 3}, relations=(1.0, 0.0, 0.25, 1.0))
    assert (nothing.total, nothing.relations, unread.total, unread.relations) == (0.0, (), 0.0, None)
