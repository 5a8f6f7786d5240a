"""Components in options at work: built, set up and closed with their holder, asked in its way, paid as it is."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import engine_parts
import pytest
from engine_parts import Critic, CriticOptions, Panel
from engine_toys import StudentOptions, ToyTeacher, arrays, read_log

import sgforge as sg
from sgforge.engine.forecast.costs import estimate_costs
from sgforge.engine.forecast.forecast import forecast
from sgforge.engine.planning import part_resources
from sgforge.engine.planning.components import find_spec
from sgforge.engine.planning.part_resources import with_parts
from sgforge.errors import StepError
from sgforge.models import GatewaySettings
from sgforge.plugins import Owner
from sgforge.stages import Checkpoint, Needs, Part, Resources, Use, Worker, part, parts
from sgforge.testing.fake_provider import FakeAnswer, FakeProvider

PRICE = {"input_usd": 0.0, "output_usd": 1_000_000.0}
"""A token of output costs one dollar."""


@pytest.fixture
def server():
    with FakeProvider(lambda request: FakeAnswer("guilty", usage=(1, 0, 2))) as found:
        yield found


def run(data, *steps, count=12, server=None, budget=None, names=("any",)):
    given = {} if server is None else {f"compat/{n}": {"base_url": server.openai_url, **PRICE} for n in names}
    made = sg.Pipeline(sg.complete("toy"), *steps, models=given, gateway=GatewaySettings(budget_usd=budget))
    return made.run(sg.source("toy", count=count), data, progress=False)


def rejected(data) -> list[list[tuple[str, float]]]:
    """Of every image, the reasons and degrees of the rows that are rejected."""
    dataset = sg.Dataset.open(data)
    return [
        [(row.reason, row.degree) for row in sample.graph.all.relations if row.status == "rejected"]
        for sample in dataset
    ]


def scores() -> list[list[float]]:
    """The scores of the relations of each image: those of the source have none, the toy teacher gives two."""
    samples = [engine_parts.Sample(f"{n:05}", one.graph) for n in range(12) for one in [_sampled(n)]]
    edits = ToyTeacher().complete(samples)
    return [[0.0, *(row.score for row in edit.relations)] for edit in edits]


def _sampled(number: int):
    from engine_toys import sample

    return sample(f"{number:05}")


@pytest.mark.parametrize("panel", ["panel", "panel-async"])
@pytest.mark.parametrize("critic", ["critic", "critic-async"])
def test_a_holder_asks_its_parts_in_its_own_way(registry, tmp_path, panel, critic):
    critics = [sg.use(critic, weight=1, least=0.2), sg.use(critic, weight=2, least=0.8, name="strict")]
    report = run(tmp_path / "data", sg.filter(panel, critics=critics))
    assert report.step("filter").counts.failed == 0
    # More than half of 3: what the strict one rejects, whose word weighs 2; both, where the score is below 0.2.
    expected = [[("outvoted", 3.0 if x < 0.2 else 2.0) for x in row if x < 0.8] for row in scores()]
    assert rejected(tmp_path / "data") == expected
    assert sum(map(len, expected)) > 12


def test_sync_and_async_holders_and_parts_make_the_same_arrays(registry, tmp_path):
    made = []
    for panel in ("panel", "panel-async"):
        for critic in ("critic", "critic-async"):
            data = tmp_path / f"{panel} {critic}"
            inner = sg.use("panel", critics=[sg.use(critic, least=0.4)])
            run(data, sg.filter(panel, critics=[inner, sg.use(critic, weight=0.5)], chair=critic))
            # The key of an image names who made it; the rest is what was made.
            made.append({name: array for name, array in arrays(data).items() if name != "image/key"})
    assert made[0] == made[1] == made[2] == made[3]


def test_parts_live_with_their_holder_in_each_of_its_workers(registry, tmp_path):
    path = tmp_path / "log"
    critics = [sg.use("critic", least=0.1, log=path), sg.use("critic", least=0.2, log=path)]
    run(tmp_path / "data", sg.filter("panel", critics=critics, log=path, workers=2))
    lines = read_log(path)
    for worker in ("sgforge-panel-0", "sgforge-panel-1"):
        own = [line.rsplit(" ", 1)[0] for line in lines if line.endswith(worker)]
        assert own == ["setup Critic 0.1", "setup Critic 0.2", "close Critic 0.2", "close Critic 0.1"]
    # The holder is closed before its parts: it may still ask them.
    assert [line.split()[:2] for line in lines[4:]].index(["close", "Panel"]) == 0


def test_a_sync_part_of_an_async_holder_has_one_thread_for_all_its_life(registry, tmp_path):
    path = tmp_path / "log"
    run(tmp_path / "data", sg.filter("panel-async", critics=[sg.use("critic", log=path)]))
    assert read_log(path) == ["setup Critic 0.5 sgforge-critic", "close Critic 0.5 sgforge-critic"]


def test_each_part_has_resources_of_its_own(registry, tmp_path):
    seen = []

    class Looking(Critic):
        def setup(self, resources):
            seen.append(resources)

    class Holding(Panel):
        def setup(self, resources):
            super().setup(resources)
            seen.append(resources)

    object.__setattr__(registry.lookup("filter", "critic"), "target", Looking)
    object.__setattr__(registry.lookup("filter", "panel"), "target", Holding)
    run(tmp_path / "data", sg.filter("panel", critics=["critic", sg.use("critic-async", name="b", weight=2)]))
    part, holder = seen
    first, second = holder.parts["critics"]
    assert (first.name, first.weight, second.name, second.weight) == ("critic", 1.0, "b", 2.0)
    assert (part.worker, dict(part.parts), part.model, part.device) == (holder.worker, {}, None, "cpu")
    assert first.resources == part
    assert part.shared is holder.shared
    assert isinstance(first.component, Looking)


@pytest.mark.parametrize("critic", ["critic", "critic-async"])
@pytest.mark.parametrize("panel", ["panel", "panel-async"])
def test_a_part_that_cannot_be_set_up_is_told_and_the_others_are_closed(registry, tmp_path, panel, critic):
    path = tmp_path / "log"
    good, bad = sg.use(critic, log=path), sg.use(critic, setup_error="no weights", name="bad")
    with pytest.raises(StepError, match=rf"filter '{critic}' could not be set up: RuntimeError: no weights"):
        run(tmp_path / "data", sg.filter(panel, critics=[good, bad]))
    assert [line.split()[0] for line in read_log(path)] == ["setup", "close"]


@pytest.mark.parametrize("critic", ["critic", "critic-async"])
@pytest.mark.parametrize("panel", ["panel", "panel-async"])
@pytest.mark.parametrize("error", [RuntimeError, StepError])
def test_parts_of_a_holder_that_cannot_be_set_up_are_closed(registry, tmp_path, panel, critic, error):
    class Failing(Panel):
        def setup(self, resources):
            raise error("no room")

    found = registry.lookup("filter", panel)
    object.__setattr__(found, "target", _as(found, Failing))
    path = tmp_path / "log"
    with pytest.raises(StepError, match="no room"):
        run(tmp_path / "data", sg.filter(panel, critics=[sg.use(critic, log=path), sg.use(critic, log=path, least=1)]))
    assert [line.split()[0::2] for line in read_log(path)] == [
        ["setup", "0.5"],
        ["setup", "1.0"],
        ["close", "1.0"],
        ["close", "0.5"],
    ]


def test_an_image_that_a_part_fails_at_fails_alone(registry, tmp_path):
    class Picky(Critic):
        def one(self, sample):
            if sample.image_id == "00003":
                raise ValueError("cannot look at it")
            return super().one(sample)

    for name in ("critic", "critic-async"):
        object.__setattr__(registry.lookup("filter", name), "target", _as(registry.lookup("filter", name), Picky))
        for panel in ("panel", "panel-async"):
            report = run(tmp_path / f"{name} {panel}", sg.filter(panel, critics=[name]))
            counts = report.step("filter").counts
            assert (counts.computed, counts.failed) == (11, 1)
            assert [(failed.image_id, failed.reason) for failed in report.failures] == [("00003", "exception")]


def _as(component, mixin) -> type:
    return type("Picky", (mixin, component.load()), {})


def test_a_changed_part_does_its_holder_again_and_an_equal_one_does_not(registry, tmp_path):
    data = tmp_path / "data"

    def computed(**options) -> int:
        return run(data, sg.filter("panel", critics=[sg.use("critic", **options)])).step("filter").counts.computed

    assert [computed(), computed(), computed(least=0.4), computed(least=0.4), computed()] == [12, 0, 12, 0, 0]


def test_an_instance_counts_by_its_options_and_one_without_is_always_done_again(registry, tmp_path):
    class Unknown(Critic):
        revision = None

    def computed(critic) -> int:
        return run(tmp_path / "data", sg.filter("panel", critics=[critic])).step("filter").counts.computed

    assert [computed(Critic()), computed(Critic()), computed(Critic(CriticOptions(least=0.1)))] == [12, 0, 12]
    assert [computed(Unknown()), computed(Unknown())] == [12, 12]


def test_an_instance_among_the_parts_allows_one_worker(registry, tmp_path):
    with pytest.raises(StepError, match="Critic is a single instance: it cannot have 2 workers"):
        run(tmp_path / "data", sg.filter("panel", critics=[Critic()], workers=2))


@pytest.mark.parametrize("panel", ["panel", "panel-async"])
def test_what_a_part_asks_is_paid_once_counted_and_kept_with_the_answer(registry, server, tmp_path, panel):
    step = sg.filter(panel, critics=[sg.use("critic-asking", model="compat/any")])
    report = run(tmp_path / "data", step, server=server)
    assert report.step("filter").counts.failed == 0
    assert server.ledger.answered == 12
    assert [row[0][0] for row in rejected(tmp_path / "data")] == ["outvoted"] * 12
    calls = sg.Dataset.open(tmp_path / "data").snapshot.provenance.of_image(3)
    assert {(call.step, call.run_id) for call in calls} == {("filter", report.run_id)}
    # A holder that is done again asks what is answered already.
    other = sg.filter(panel, critics=[sg.use("critic-asking", model="compat/any", weight=2)])
    assert run(tmp_path / "data", other, server=server).step("filter").counts.computed == 12
    assert server.ledger.answered == 12


def test_another_model_behind_the_name_that_a_part_asks_does_its_holder_again(registry, server, tmp_path):
    def computed(server) -> int:
        critic = sg.use("panel", critics=[sg.use("critic-asking", model="compat/any")])
        report = run(tmp_path / "data", sg.filter("panel", critics=[critic]), server=server)
        return report.step("filter").counts.computed

    with FakeProvider(lambda request: FakeAnswer("guilty")) as other:
        assert [computed(server), computed(other), computed(server)] == [12, 12, 0]
        assert (server.ledger.answered, other.ledger.answered) == (12, 12)


@pytest.mark.parametrize("panel", ["panel", "panel-async"])
def test_a_budget_stops_what_a_part_asks(registry, server, tmp_path, panel):
    step = sg.filter(panel, critics=[sg.use("critic-asking", model="compat/any")], batch_size=2)
    report = run(tmp_path / "data", step, server=server, budget=9.0)
    assert (report.status, report.exit_code) == ("budget", 3)
    assert 0 < server.ledger.answered < 12


def test_an_estimate_counts_what_parts_would_ask(registry, server, tmp_path):
    step = sg.filter("panel", critics=[sg.use("critic-asking", model="compat/any"), "critic"])
    models = {"compat/any": {"base_url": server.openai_url, **PRICE}}
    request = sg.Pipeline(sg.complete("toy"), step, models=models).request(
        sg.source("toy", count=12), tmp_path / "data", roots={}
    )
    plan = request.resolve(registry)
    found = forecast(plan, tmp_path / "data", request.roots, None, 4)
    [estimate] = estimate_costs(request, plan, registry, found).values()
    assert (estimate.calls.low, estimate.calls.high) == (12.0, 12.0)
    assert server.ledger.answered == 0


def test_a_training_in_a_process_of_its_own_has_its_parts_and_their_models(registry_everywhere, server, tmp_path):
    judges = [
        sg.use("critic-asking", model="compat/a", weight=0.5),
        sg.use("panel", critics=[sg.use("critic-asking", model="compat/b"), sg.use("critic", least=0.0)]),
    ]
    report = run(tmp_path / "data", sg.train("judged", judges=judges), server=server, names=("a", "b"))
    said = (Path(report.step("train").checkpoint.path) / "said.txt").read_text().splitlines()
    assert said == ["critic-asking 0.5 ['guilty']", "panel 1.0 []"]
    assert server.ledger.answered == 2
    assert (
        run(tmp_path / "data", sg.train("judged", judges=judges), server=server, names=("a", "b"))
        .step("train")
        .counts.reused
    )


def test_a_training_with_an_instance_among_its_parts_stays_in_this_process(registry, tmp_path):
    pids = []

    class Here(Critic):
        def setup(self, resources):
            pids.append(os.getpid())

    run(tmp_path / "data", sg.train("judged", judges=[Here()]))
    assert pids == [os.getpid()]


@attrs.frozen
class _HoldsStudents:
    students: tuple[Use, ...] = parts("student")
    critic: Use = part("filter", "critic")


def test_a_part_has_devices_and_weights_of_its_own(registry, tmp_path, monkeypatch):
    """What can use a GPU computes where its holder does, or where its worker would, and the rest on the CPU."""

    class Plugin:
        @sg.hookimpl
        def sgforge_register_filters(self, register):
            register("taught", Panel, config=_HoldsStudents)

        @sg.hookimpl
        def sgforge_register_students(self, register):
            needs = Needs(gpu="optional", checkpoint=True)
            register("quick", "engine_toys:ToyStudent", config=StudentOptions, needs=needs)

    registry.add(Plugin(), Owner("taught"))
    gpus = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    monkeypatch.setattr(part_resources, "devices_for", lambda needs: ("cpu",) if needs.gpu == "no" else gpus)
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w").write_text(name)
    students = [sg.use(name, checkpoint=tmp_path / "own") for name in ("quick", "toy")]
    spec, faults = find_spec(registry, "filter", "taught", {"students": students})
    assert faults == ()

    def placed(*devices):
        given = Resources(devices=devices, worker=Worker(1, 2), checkpoint=Checkpoint.of(tmp_path / "other"))
        held = with_parts(spec, given, lambda name: None).parts
        (quick, slow), (critic,) = held["students"], held["critic"]
        assert {one.resources.worker for one in (quick, slow, critic)} == {Worker(1, 2)}
        assert [one.resources.checkpoint for one in (quick, slow)] == [Checkpoint.of(tmp_path / "own")] * 2
        assert critic.resources.checkpoint is None
        return [one.resources.devices for one in (quick, slow, critic)]

    assert placed("cuda:3") == [("cuda:3",), ("cpu",), ("cpu",)]
    assert placed("cpu") == [("cuda:1", "cuda:3"), ("cpu",), ("cpu",)]


def test_each_worker_of_a_holder_gives_its_number_to_its_parts():
    inner = Part("inner", 1.0, Resources(devices=("cuda:0", "cuda:1")))
    outer = Part("outer", 1.0, Resources(devices=("cuda:0", "cuda:1"), parts={"critics": (inner,)}))
    given = Resources(parts={"critics": (outer,)}).of_worker(1, 2)
    (outer,) = given.parts["critics"]
    (inner,) = outer.resources.parts["critics"]
    for one in (outer, inner):
        assert (one.resources.worker, one.resources.devices) == (Worker(1, 2), ("cuda:1",))
