"""Whole runs over item steps: order, failures, contracts, batches, workers."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import pytest
from engine_toys import StageOptions, ToyTeacher, arrays, read_log
from PIL import Image
from support.waiting import LONGEST

import sgforge as sg
from sgforge.edits import Edit
from sgforge.engine.reporting.report import RunReport
from sgforge.errors import StepError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.stages import Failure


def run(folder: Path, *steps, source=None, **settings) -> RunReport:
    return sg.Pipeline(*steps).run(source or sg.source("toy", count=20), folder, progress=False, **settings)


def counts(report: RunReport) -> dict[str, tuple[int, int, int, int]]:
    """Computed, reused, failed, left out."""
    return {
        step.name: (step.counts.computed, step.counts.reused, step.counts.failed, step.counts.skipped)
        for step in report.steps
    }


CHAIN = (sg.segment("toy"), sg.complete("toy-async"), sg.filter("toy", amount=50), sg.edit("toy"))


def test_a_line_of_steps_makes_one_snapshot_each(toys, tmp_path):
    report = run(tmp_path / "data", *CHAIN)
    assert report.exit_code == 0
    assert [step.name for step in report.steps] == ["source", "segment", "complete", "filter", "edit"]
    assert len({step.snapshot for step in report.steps}) == 5
    graph = sg.Dataset.open(tmp_path / "data")["00003"].graph
    assert [region.made_by for region in graph.all.regions] == [None, None, None, "segment", "segment"]
    assert graph.all.regions[0].descriptions == (f"one of {len(graph.all.relations)}",)
    made = [relation for relation in graph.all.relations if relation.made_by == "complete"]
    assert made
    for relation in made:
        assert relation.status == ("rejected" if relation.score < 0.5 else "kept")
        if relation.status == "rejected":
            assert (relation.reason, relation.judged_by, relation.degree) == ("low", "filter", relation.score)


def test_1_000_images_come_out_sorted_whatever_the_order_they_come_in(toys, tmp_path):
    run(tmp_path / "plain", *CHAIN, source=sg.source("toy", count=1000))
    run(tmp_path / "mixed", *CHAIN, source=sg.source("toy", count=1000, shuffle=7))
    assert [sample.image_id for sample in sg.Dataset.open(tmp_path / "mixed")] == [f"{n:05}" for n in range(1000)]
    assert arrays(tmp_path / "plain") == arrays(tmp_path / "mixed")


@pytest.mark.parametrize("teacher", ["toy", "toy-async"])
def test_one_worker_and_four_make_identical_arrays(toys, tmp_path, teacher):
    for workers in (1, 4):
        steps = (
            sg.segment("toy", workers=workers, batch_size=3),
            sg.complete(teacher, workers=workers, delay=0.001),
            sg.filter("toy", amount=50, workers=workers, batch_size=5),
        )
        run(tmp_path / str(workers), *steps, source=sg.source("toy", count=120, shuffle=workers))
    assert arrays(tmp_path / "1") == arrays(tmp_path / "4")


def test_every_worker_has_an_instance_of_its_own_and_stays_on_its_thread(toys, tmp_path):
    seen: dict[int, set[int]] = {}
    closed: list[int] = []
    all_three = threading.Barrier(3, timeout=LONGEST)

    class Watched(ToyTeacher):
        def complete(self, samples):
            if id(self) not in seen:
                seen[id(self)] = set()
                all_three.wait()
            seen[id(self)].add(threading.get_ident())
            return super().complete(samples)

        def close(self):
            closed.append(threading.get_ident())

    component = toys.lookup("teacher", "toy")
    object.__setattr__(component, "target", Watched)
    run(tmp_path / "data", sg.complete("toy", workers=3, batch_size=2), source=sg.source("toy", count=60))
    assert len(seen) == 3
    assert all(len(threads) == 1 for threads in seen.values())
    assert sorted(closed) == sorted(thread for threads in seen.values() for thread in threads)


def test_an_async_component_has_many_calls_in_flight_and_no_more_than_workers(toys, tmp_path):
    import asyncio

    flying, most = 0, 0
    all_sixteen = asyncio.Event()

    class Counting(ToyTeacher):
        async def complete(self, sample):
            nonlocal flying, most
            flying += 1
            most = max(most, flying)
            if flying == 16:
                all_sixteen.set()
            await asyncio.wait_for(all_sixteen.wait(), LONGEST)
            await asyncio.sleep(0.001)  # a seventeenth would come now
            flying -= 1
            return Edit()

    run(tmp_path / "data", sg.complete(Counting(), workers=16), source=sg.source("toy", count=100))
    assert most == 16


def test_a_batch_is_at_most_batch_size(toys, tmp_path):
    sizes = []

    class Sized(ToyTeacher):
        def complete(self, samples):
            sizes.append(len(samples))
            return super().complete(samples)

    run(tmp_path / "data", sg.complete(Sized(), batch_size=7), source=sg.source("toy", count=50))
    assert sum(sizes) == 50
    assert max(sizes) == 7


def test_a_failed_image_keeps_its_graph_and_later_steps_skip_it(toys, tmp_path):
    report = run(tmp_path / "data", sg.segment("toy"), sg.complete("toy", fail=["00004"]), sg.edit("toy"))
    assert counts(report)["complete"] == (19, 0, 1, 0)
    assert counts(report)["edit"] == (19, 0, 0, 1)
    assert report.exit_code == 4
    assert report.step("complete").reasons == {"unwilling": 1}
    assert report.failures[0].detail == "will not do 00004"
    graph = sg.Dataset.open(tmp_path / "data")["00004"].graph
    assert [region.made_by for region in graph.all.regions[3:]] == ["segment", "segment"]
    assert graph.all.regions[0].descriptions == ()
    assert len(graph.all.relations) == 1
    dataset = sg.Dataset.open(tmp_path / "data")
    assert list(dataset.snapshot.rows()) == [row for row in range(20) if row != 4]


def test_a_failed_image_is_tried_again_by_the_next_run_and_only_it(toys, tmp_path):
    log = tmp_path / "log"
    options = {"log": str(log)}
    run(tmp_path / "data", sg.segment("toy"), sg.complete(Flaky(StageOptions(log=str(log)))), sg.edit("toy", **options))
    log.unlink()
    report = run(
        tmp_path / "data", sg.segment("toy"), sg.complete(Flaky(StageOptions(log=str(log)))), sg.edit("toy", **options)
    )
    assert counts(report)["complete"] == (1, 19, 0, 0)
    assert counts(report)["edit"] == (1, 19, 0, 0)
    assert read_log(log) == ["Flaky 00004", "ToyEditor 00004"]
    assert report.exit_code == 0
    assert len(sg.Dataset.open(tmp_path / "data").snapshot.rows()) == 20


class Flaky(ToyTeacher):
    """Fails for one image, once."""

    failed = False

    def complete(self, samples):
        answers = super().complete(samples)
        for place, sample in enumerate(samples):
            if sample.image_id == "00004" and not Flaky.failed:
                Flaky.failed = True
                answers[place] = Failure("busy")
        return answers


def test_one_bad_image_does_not_kill_its_batch(toys, tmp_path):
    report = run(tmp_path / "data", sg.complete("toy", crash=["00004", "00009"], batch_size=20))
    assert counts(report)["complete"] == (18, 0, 2, 0)
    assert report.step("complete").reasons == {"exception": 2}
    told = {failed.detail.partition(", line")[0] for failed in report.failures}
    assert told == {f"ValueError: cannot do {image} (engine_toys.py" for image in ("00004", "00009")}


class Misbehaving(ToyTeacher):
    """Breaks its contract in one way for image 00002."""

    def __init__(self, way):
        super().__init__()
        self.way = way

    def complete(self, samples):
        answers = super().complete(samples)
        for place, sample in enumerate(samples):
            if sample.image_id == "00002":
                return self.way(answers, place)
        return answers


class Panic(BaseException):
    """What an extension module may raise: no Exception."""


def raised(error):
    raise error


def replaced(by):
    return lambda answers, place: [*answers[:place], by, *answers[place + 1 :]]


@pytest.mark.parametrize(
    ("way", "reason", "detail"),
    [
        (lambda answers, place: answers[:-1], "contract", "it gave 0 answers for 1 sample"),
        (lambda answers, place: [*answers, Edit()], "contract", "it gave 2 answers for 1 sample"),
        (lambda answers, place: None, "contract", "it answered NoneType for a batch, not a list"),
        (lambda answers, place: sys.exit(3), "exception", "SystemExit: 3 (test_runs.py, line "),
        (lambda answers, place: raised(Panic("of an extension")), "exception", "Panic: of an extension"),
        (replaced("yes"), "contract", "it answered str, not an Edit or a Failure"),
        (replaced(Edit.add(Region(box=(1, 1, 2, 2)))), "role", "a complete step may not add regions"),
        (replaced(Edit.reject(0, "no")), "role", "a complete step may not judge relations"),
        (replaced(Edit.add(Relation(0, "on", 99))), "contract", "relation 2 is out of range|99"),
        (replaced(Edit.set("region", 99, descriptions=("x",))), "contract", "region 99 does not exist"),
        (replaced(Edit(relations=[3])), "contract", "its edit cannot be used: int stands where a Relation belongs"),
    ],
    ids=[
        "too-few",
        "too-many",
        "none",
        "exit",
        "panic",
        "type",
        "role-regions",
        "role-verdicts",
        "index",
        "set",
        "rubbish",
    ],
)
def test_a_broken_contract_costs_the_image_and_no_other(toys, tmp_path, way, reason, detail):
    report = run(tmp_path / "data", sg.complete(Misbehaving(way)))
    assert counts(report)["complete"] == (19, 0, 1, 0)
    (failed,) = report.failures
    assert (failed.image_id, failed.reason) == ("00002", reason)
    assert any(part in failed.detail for part in detail.split("|"))


class AsyncMisbehaving:
    """Ends two of its calls in ways that are no Exception."""

    async def complete(self, sample):
        await asyncio.sleep(0)
        if sample.image_id == "00002":
            sys.exit(3)
        if sample.image_id == "00003":
            raise asyncio.CancelledError
        return Edit()


def test_an_async_component_that_exits_or_cancels_itself_costs_those_images(toys, tmp_path):
    report = run(tmp_path / "data", sg.complete(AsyncMisbehaving()))
    assert counts(report)["complete"] == (18, 0, 2, 0)
    assert sorted(failed.detail.partition(":")[0] for failed in report.failures) == ["CancelledError", "SystemExit"]


def test_a_component_that_cannot_be_set_up_fails_the_step_and_keeps_what_is_done(toys, tmp_path):
    run(tmp_path / "data", sg.segment("toy"))
    with pytest.raises(StepError, match="teacher 'toy' could not be set up: RuntimeError: no weights"):
        run(tmp_path / "data", sg.segment("toy"), sg.complete("toy", setup_error="no weights"))
    assert len(sg.Dataset.open(tmp_path / "data")["00000"].graph.all.regions) == 5


def test_a_single_instance_cannot_have_many_workers(toys, tmp_path):
    with pytest.raises(StepError, match="is a single instance: it cannot have 2 workers"):
        run(tmp_path / "data", sg.complete(ToyTeacher(), workers=2))


def test_a_dropped_image_takes_no_more_steps_now_and_later(toys, tmp_path):
    steps = (sg.segment("toy"), sg.filter("toy", drop=["00001", "00002"]), sg.complete("toy"), sg.edit("toy"))
    for done in ((20, 0), (0, 20)):
        report = run(tmp_path / "data", *steps)
        assert counts(report)["filter"] == (*done, 0, 0)
        assert counts(report)["complete"] == (*(min(count, 18) for count in done), 0, 2)
        assert counts(report)["edit"] == (*(min(count, 18) for count in done), 0, 2)
        assert report.exit_code == 0
    dataset = sg.Dataset.open(tmp_path / "data")
    assert list(dataset.snapshot.rows()) == [row for row in range(20) if row not in (1, 2)]
    assert dataset["00001"].graph.all.regions[0].descriptions == ()


def test_a_dropped_image_stays_dropped_behind_a_barrier(toys_everywhere, tmp_path):
    steps = (sg.filter("toy", drop=["00001"]), sg.train("toy"), sg.generate("toy"))
    for _ in range(2):
        report = run(tmp_path / "data", *steps)
        assert report.step("train").counts.computed + report.step("train").counts.reused == 15
        assert report.step("generate").counts.skipped == 1


def test_a_step_can_be_limited_to_a_source_and_a_split(toys, tmp_path):
    sources = {"seed": sg.source("toy", count=10), "new": sg.source("toy", start=10, count=10)}
    steps = (sg.complete("toy", on={"source": "seed", "split": "train"}), sg.edit("toy", on={"source": "new"}))
    report = run(tmp_path / "data", *steps, source=sources)
    assert counts(report)["complete"] == (8, 0, 0, 12)
    assert counts(report)["edit"] == (10, 0, 0, 10)
    made = {s.image_id for s in sg.Dataset.open(tmp_path / "data") if len(s.graph.all.relations) > 1}
    assert made == {f"{n:05}" for n in range(10) if n % 5 != 4}


def test_faults_and_duplicates_are_counted_by_reason(toys, tmp_path):
    class Doubling(ToyTeacher):
        def complete(self, samples):
            return [Edit(relations=[Relation(0, "on", 1), Relation(0, "on", 1)], faults={"odd": 2}) for _ in samples]

    report = run(tmp_path / "data", sg.complete(Doubling()), source=sg.source("toy", count=8, relations=0))
    assert report.step("complete").counts.faults == {"duplicate": 8, "odd": 16}


def test_twins_are_worked_on_once_and_get_the_same_answer(toys, tmp_path):
    import numpy as np
    from PIL import Image

    folder, log = tmp_path / "photos", tmp_path / "log"
    folder.mkdir()
    for number in range(0, 20, 2):
        picture = Image.fromarray(np.full((64, 64, 3), number, np.uint8))
        picture.save(folder / f"{number:05}.png")
        picture.save(folder / f"{number + 1:05}.png")
    source = sg.source("toy", count=20, folder=str(folder), twins=True)
    report = run(tmp_path / "data", sg.segment("toy", log=str(log)), sg.complete("toy-async"), source=source)
    assert counts(report)["segment"] == (10, 10, 0, 0)
    assert len(read_log(log)) == 10
    dataset = sg.Dataset.open(tmp_path / "data")
    for number in range(0, 20, 2):
        assert dataset[f"{number:05}"].graph == dataset[f"{number + 1:05}"].graph
        assert len(dataset[f"{number:05}"].graph.all.regions) == 5


def test_the_journal_is_empty_when_everything_is_published(toys, tmp_path):
    from sgforge.dataset import DatasetWriter

    run(tmp_path / "data", *CHAIN)
    with DatasetWriter.open(tmp_path / "data") as writer:
        assert len(writer.journal) == 0


def test_a_photo_under_two_ids_is_dropped_under_both(tmp_path, toys):
    graph = SceneGraph(64, 64, [Region("a", (0, 0, 9, 9)), Region("b", (1, 1, 5, 5))], [Relation(0, "on", 1)])
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")

    class Twice:
        def samples(self, roots, name):
            return iter([Sample("one", graph, "photos:photo.png"), Sample("two", graph, "photos:photo.png")])

    class Dropping:
        def edit(self, samples):
            return [Edit.drop("boring") for _ in samples]

    steps = (sg.edit(Dropping()), sg.filter("toy"))
    report = run(tmp_path / "data", *steps, source=Twice(), roots=sg.Roots({"photos": tmp_path}))
    assert report.step("edit").counts.dropped == 2
    assert counts(report)["filter"] == (0, 0, 0, 2)
