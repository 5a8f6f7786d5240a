"""What a second run computes again: exactly what changed, and what follows from it."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from engine_toys import StageOptions, ToyStudent, ToyTeacher, arrays, read_log
from PIL import Image
from support.waiting import LONGEST

import sgforge as sg
from sgforge.engine.reporting.report import RunReport
from sgforge.errors import DatasetError


def run(folder: Path, *steps, source=None, **settings) -> RunReport:
    return sg.Pipeline(*steps).run(source or sg.source("toy", count=20), folder, progress=False, **settings)


def computed(report: RunReport) -> dict[str, int]:
    return {step.name: step.counts.computed for step in report.steps}


def chain(amount: int = 50, log: Path | None = None, **common):
    logged = {"log": str(log)} if log else {}
    return (
        sg.segment("toy", **logged, **common),
        sg.complete("toy-async", **logged, **common),
        sg.filter("toy", amount=amount, **logged, **common),
        sg.edit("toy", **logged, **common),
    )


def test_a_second_run_computes_nothing_and_moves_nothing(toys_everywhere, tmp_path):
    log = tmp_path / "log"
    steps = (*chain(log=log), sg.train("toy"), sg.generate("toy"), sg.evaluate("toy"))
    first = run(tmp_path / "data", *steps)
    log.unlink()
    second = run(tmp_path / "data", *steps)
    assert set(computed(second).values()) == {0}
    assert not log.exists()
    assert [step.snapshot for step in second.steps] == [step.snapshot for step in first.steps]
    assert second.step("train").checkpoint.sha256 == first.step("train").checkpoint.sha256
    assert second.step("evaluate").report.values == first.step("evaluate").report.values
    assert second.exit_code == 0


def test_one_image_added_to_200_computes_one_image_in_every_item_step(toys, tmp_path):
    run(tmp_path / "data", *chain(), source=sg.source("toy", count=200))
    log = tmp_path / "log"
    report = run(tmp_path / "data", *chain(log=log), source=sg.source("toy", count=201))
    assert computed(report) == {"source": 1, "segment": 1, "complete": 1, "filter": 1, "edit": 1}
    assert {line.split()[1] for line in read_log(log)} == {"00200"}
    assert len(read_log(log)) == 4
    run(tmp_path / "fresh", *chain(), source=sg.source("toy", count=201))
    assert arrays(tmp_path / "data") == arrays(tmp_path / "fresh")


def test_a_changed_filter_redoes_itself_and_what_follows_and_the_old_way_is_still_known(toys, tmp_path):
    run(tmp_path / "data", *chain(50))
    changed = run(tmp_path / "data", *chain(70))
    assert computed(changed) == {"source": 0, "segment": 0, "complete": 0, "filter": 20, "edit": 20}
    run(tmp_path / "fresh", *chain(70))
    assert arrays(tmp_path / "data") == arrays(tmp_path / "fresh")
    assert set(computed(run(tmp_path / "data", *chain(50))).values()) == {0}


def test_an_option_spelt_out_at_its_default_changes_nothing(toys, tmp_path):
    run(tmp_path / "data", sg.complete("toy"))
    assert computed(run(tmp_path / "data", sg.complete("toy", amount=2)))["complete"] == 0


def test_how_the_work_is_done_is_no_part_of_a_key(toys, tmp_path):
    run(tmp_path / "data", sg.segment("toy"), sg.complete("toy-async"))
    again = (sg.segment("toy", batch_size=3, workers=4), sg.complete("toy-async", workers=2))
    assert set(computed(run(tmp_path / "data", *again, branch="other")).values()) == {0}


def test_a_raised_revision_and_a_changed_seed_redo_the_step(toys, tmp_path):
    run(tmp_path / "data", sg.complete("toy"))
    assert computed(run(tmp_path / "data", sg.complete("toy"), seed=1))["complete"] == 20
    component = toys.lookup("teacher", "toy")
    object.__setattr__(component, "revision", 2)
    assert computed(run(tmp_path / "data", sg.complete("toy")))["complete"] == 20


def test_a_changed_file_behind_an_option_redoes_the_step(toys, tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"one")
    run(tmp_path / "data", sg.complete("toy", file=weights))
    moved = weights.rename(tmp_path / "elsewhere.pt")
    assert computed(run(tmp_path / "data", sg.complete("toy", file=moved)))["complete"] == 0
    moved.write_bytes(b"two")
    assert computed(run(tmp_path / "data", sg.complete("toy", file=moved)))["complete"] == 20


def test_a_moved_dataset_and_moved_images_redo_nothing(toys_everywhere, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(20):
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(photos / f"{number:05}.png")
    steps = (*chain(), sg.train("toy"), sg.generate("toy"), sg.evaluate("toy"))
    source = sg.source("toy", count=20, folder="photos:")
    run(tmp_path / "data", *steps, source=source, roots={"photos": photos})
    (tmp_path / "other").mkdir()
    shutil.move(tmp_path / "data", tmp_path / "other" / "moved")
    photos.rename(tmp_path / "pictures")
    report = run(
        tmp_path / "other" / "moved", *steps, source=source, roots={"photos": tmp_path / "pictures"}, branch="second"
    )
    assert set(computed(report).values()) == {0}
    assert report.step("train").checkpoint.path.is_relative_to(tmp_path / "other")


def test_a_changed_picture_redoes_that_image(toys, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(photos / f"{number:05}.png")
    source = sg.source("toy", count=5, folder=str(photos))
    run(tmp_path / "data", *chain(), source=source)
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(photos / "00002.png")
    report = run(tmp_path / "data", *chain(), source=source)
    assert set(computed(report).values()) == {1}


def test_limit_is_no_part_of_a_key(toys, tmp_path):
    first = run(tmp_path / "data", *chain(), limit=5)
    assert computed(first)["edit"] == 5
    assert len(sg.Dataset.open(tmp_path / "data")) == 5
    assert computed(run(tmp_path / "data", *chain()))["edit"] == 15
    assert len(sg.Dataset.open(tmp_path / "data")) == 20


def test_a_limit_leaves_a_larger_branch_where_it_is_and_says_so(toys, tmp_path):
    whole = run(tmp_path / "data", *chain())
    part = run(tmp_path / "data", *chain(amount=40), limit=2)
    assert len(sg.Dataset.open(tmp_path / "data")) == 20
    assert len(sg.Dataset.open(tmp_path / "data", ref=part.snapshot)) == 2
    assert part.status == "done"
    assert part.message == (
        f"branch main stays at {whole.snapshot[:12]} with 20 images; this run's version is {part.snapshot[:12]} "
        "with 2, name it with --branch or sgforge tag"
    )
    # Equally many images are no loss, and without a limit fewer images are what the sources hold now.
    same = run(tmp_path / "data", *chain(amount=30), limit=20)
    assert (same.message, sg.Dataset.open(tmp_path / "data").snapshot.id) == ("", same.snapshot)
    fewer = run(tmp_path / "data", *chain(), source=sg.source("toy", count=3))
    assert (fewer.message, len(sg.Dataset.open(tmp_path / "data"))) == ("", 3)


def test_a_limit_moves_the_branch_that_was_named(toys, tmp_path):
    run(tmp_path / "data", *chain())
    run(tmp_path / "data", *chain(), limit=2, branch="tried")
    assert len(sg.Dataset.open(tmp_path / "data", ref="tried")) == 2
    assert run(tmp_path / "data", *chain(), limit=3, branch="main").message == ""
    assert len(sg.Dataset.open(tmp_path / "data")) == 3


def test_a_step_added_or_taken_away_at_the_end_costs_only_itself(toys, tmp_path):
    run(tmp_path / "data", *chain()[:2])
    assert computed(run(tmp_path / "data", *chain())) == {
        "source": 0,
        "segment": 0,
        "complete": 0,
        "filter": 20,
        "edit": 20,
    }
    run(tmp_path / "data", *chain()[:2])
    assert len(sg.Dataset.open(tmp_path / "data")["00000"].graph.all.regions[0].descriptions) == 0


@pytest.mark.parametrize("lost", [("filter",), ("complete",), ("complete", "filter"), ("segment", "filter")])
def test_a_version_that_is_gone_is_made_anew_from_the_state_before_it(toys, tmp_path, lost):
    """Though what follows it is known: its step must not start from what some other step left."""
    data = tmp_path / "data"
    run(data, *chain())
    for meta in sg.Dataset.open(data).log():
        if meta.step.name in lost:
            shutil.rmtree(data / "snapshots" / meta.snapshot_id)
    report = run(data, *chain())
    assert {name: count for name, count in computed(report).items() if count} == dict.fromkeys(lost, 20)
    again = tmp_path / "again"
    run(again, *chain())
    for made, expected in zip(sg.Dataset.open(data).log(), sg.Dataset.open(again).log(), strict=True):
        assert arrays(data, made.snapshot_id) == arrays(again, expected.snapshot_id)


def test_an_instance_with_options_and_revision_shares_work_with_the_name(toys, tmp_path):
    run(tmp_path / "data", sg.complete("toy", amount=4))
    report = run(tmp_path / "data", sg.complete(ToyTeacher(StageOptions(amount=4))))
    assert computed(report)["complete"] == 0


def test_an_instance_without_them_is_always_done_again(toys, tmp_path):
    class Nameless:
        def complete(self, samples):
            return [sg.Edit() for _ in samples]

    for _ in range(2):
        assert computed(run(tmp_path / "data", sg.complete(Nameless())))["complete"] == 20


def test_a_training_is_redone_when_an_image_it_read_changes(toys_everywhere, tmp_path):
    steps = (sg.complete("toy"), sg.train("toy"), sg.generate("toy"))
    run(tmp_path / "data", *steps, source=sg.source("toy", count=20))
    report = run(tmp_path / "data", *steps, source=sg.source("toy", count=21))
    assert computed(report) == {"source": 1, "complete": 1, "train": 17, "generate": 21}


def test_a_new_held_out_image_does_not_redo_the_training(toys_everywhere, tmp_path):
    steps = (sg.complete("toy"), sg.train("toy"), sg.generate("toy"), sg.evaluate("toy"))
    run(tmp_path / "data", *steps, source=sg.source("toy", count=24))
    report = run(tmp_path / "data", *steps, source=sg.source("toy", count=25))
    assert computed(report) == {"source": 1, "complete": 1, "train": 0, "generate": 1, "evaluate": 5}


def test_a_renamed_step_is_redone_since_its_rows_bear_its_name(toys, tmp_path):
    for name in ("first", "second"):
        report = run(tmp_path / "data", sg.segment("toy", name=name))
        assert computed(report)[name] == 20
        assert sg.Dataset.open(tmp_path / "data")["00003"].graph.all.regions[-1].made_by == name


def test_an_evaluation_is_redone_when_its_segmenter_changes_though_truth_and_weights_do_not(toys, tmp_path):
    for amount, expected in ((2, 4), (3, 4), (2, 0)):
        steps = (sg.segment("toy", amount=amount), sg.train(ToyStudent()), sg.evaluate("toy-sgdet"))
        assert computed(run(tmp_path / "data", *steps))["evaluate"] == expected


@pytest.mark.parametrize(("truth", "redone"), [("source", 0), ("graph", 4)])
def test_an_evaluation_is_redone_when_its_truth_changes_and_not_for_another_step(toys, tmp_path, truth, redone):
    for amount, expected in ((50, 4), (60, redone)):
        steps = (sg.complete("toy"), sg.train(ToyStudent()), sg.filter("toy", amount=amount))
        report = run(tmp_path / "data", *steps, sg.evaluate("toy", truth=truth))
        assert computed(report)["filter"] == 20
        assert computed(report)["evaluate"] == expected


def _hold(folder: Path, started, release) -> None:
    from sgforge.dataset import DatasetWriter

    with DatasetWriter.open(folder):
        started.set()
        release.wait(LONGEST)


def test_two_runs_at_once_are_refused(toys, tmp_path):
    context = multiprocessing.get_context("spawn")
    started, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "data", started, release))
    other.start()
    try:
        assert started.wait(LONGEST)
        with pytest.raises(DatasetError, match=f"is being written by process {other.pid} on "):
            run(tmp_path / "data", *chain())
    finally:
        release.set()
        other.join(LONGEST)
    assert run(tmp_path / "data", *chain()).exit_code == 0


def test_the_branch_moves_at_the_end_and_others_stay(toys, tmp_path):
    first = run(tmp_path / "data", *chain())
    second = run(tmp_path / "data", *chain(70), branch="strict")
    assert sg.Dataset.open(tmp_path / "data", "main").snapshot.id == first.snapshot
    assert sg.Dataset.open(tmp_path / "data", "strict").snapshot.id == second.snapshot


def test_a_journalled_answer_is_not_computed_again(toys, tmp_path):
    """A run that stops between two steps leaves its answers in the journal; the next run starts from them."""
    log = tmp_path / "log"

    class Stopping(ToyTeacher):
        """Breaks the whole run off at its tenth image."""

        done = 0

        def complete(self, samples):
            Stopping.done += len(samples)
            if Stopping.done > 10:
                raise _Stop
            return super().complete(samples)

    class _Stop(sg.SgforgeError):
        stops_run = True

    steps = (sg.segment("toy", log=str(log)), sg.complete(Stopping(), batch_size=1))
    with pytest.raises(_Stop):
        run(tmp_path / "data", *steps)
    done = len(read_log(log))
    Stopping.done = -1000
    report = run(tmp_path / "data", *steps)
    assert report.step("complete").counts.reused == 10
    assert report.step("segment").counts.reused == done
    assert len(read_log(log)) == 20
