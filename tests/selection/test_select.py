"""The verb `select`: what is chosen, its keys, and everything that comes after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sgforge as sg
from sgforge.cli.main import main
from sgforge.columns import Column
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.engine.forecast.forecast import forecast
from sgforge.engine.planning.resolve import resolve
from sgforge.graph import Region
from sgforge.jsonl import dump_sample, read_jsonl
from sgforge.models.errors import BudgetReachedError
from sgforge.plugins import load_plugins
from sgforge.steps import SourceStep
from tests.selection import toys
from tests.selection.toys import Captioner, Options, Selector, Source
from tests.support.dying import DIES_AT


def run(folder: Path, *steps: sg.Step, count: int = 6, **arguments):
    return sg.Pipeline(*steps).run(Source(count), folder, progress=False, **arguments)


def opened(folder: Path) -> sg.Dataset:
    return sg.Dataset.open(folder)


def counts(report) -> dict[str, tuple[int, int, int, int]]:
    found = {step.name: step.counts for step in report.steps}
    return {name: (one.computed, one.reused, one.dropped, one.failed) for name, one in found.items()}


def keys_of(folder: Path) -> dict[str, bytes]:
    snapshot = opened(folder).snapshot
    return {name: key.tobytes() for name, key in zip(snapshot.image_ids, snapshot.keys, strict=True)}


def test_an_edit_per_image_drops_it_or_says_what_was_chosen(tmp_path):
    report = run(tmp_path / "d", sg.select(Selector(Options(("i1:dull", "i4:dark")))))
    assert counts(report)["select"] == (6, 0, 2, 0)
    dataset = opened(tmp_path / "d")
    assert {sample.image_id: sample.values.get("chosen") for sample in dataset} == {
        "i0": {"of": 6, "after": []},
        "i1": None,
        "i2": {"of": 6, "after": ["i1"]},
        "i3": {"of": 6, "after": ["i2"]},
        "i4": None,
        "i5": {"of": 6, "after": ["i4"]},
    }
    snapshot = dataset.snapshot
    dropped = snapshot.column("image/dropped").tolist()
    words = snapshot.vocabulary("reason")
    assert [words[number] if number >= 0 else None for number in dropped] == [None, "dull", None, None, "dark", None]
    assert dataset.column("image/chosen").rows.tolist() == [0, 2, 3, 5]
    assert verify_dataset(tmp_path / "d").problems == []


def test_it_waits_for_the_steps_before_and_sees_what_they_made(tmp_path):
    class Lengths(Selector):
        def select(self, samples):
            told = [[sample.values["caption"].text, len(samples)] for sample in samples]
            return [sg.Edit.value("image", None, "chosen", one) for one in told]

    captioner = Captioner()
    run(tmp_path / "d", sg.caption(captioner, batch_size=1), sg.select(Lengths()))
    assert len(captioner.asked) == 6
    assert {tuple(sample.values["chosen"]) for sample in opened(tmp_path / "d")} == {("0 []", 6)}


def test_kept_images_keep_their_key_and_dropped_ones_get_the_next(tmp_path):
    run(tmp_path / "d", sg.caption(Captioner()))
    before = keys_of(tmp_path / "d")
    run(tmp_path / "d", sg.caption(Captioner()), sg.select(Selector(Options(("i1:dull", "i4:dark")))))
    after = keys_of(tmp_path / "d")
    assert {name for name in before if before[name] != after[name]} == {"i1", "i4"}
    assert len(set(after.values())) == 6


def test_later_item_steps_go_on_with_kept_images_and_do_not_see_what_was_chosen(tmp_path):
    captioner = Captioner()
    report = run(tmp_path / "d", sg.select(Selector(Options(("i1:dull",)))), sg.caption(captioner))
    assert counts(report)["caption"] == (5, 0, 0, 0)
    assert sorted(captioner.asked) == ["i0", "i2", "i3", "i4", "i5"]
    found = {sample.image_id: sample.values for sample in opened(tmp_path / "d")}
    assert found["i0"]["caption"].text == "0 []"
    assert found["i5"]["chosen"] == {"of": 6, "after": ["i4"]}
    assert "caption" not in found["i1"]


def test_it_is_done_once_and_again_when_a_key_it_read_or_an_option_is_another(tmp_path):
    steps = sg.caption(Captioner()), sg.select(Selector(Options(("i1:dull",))))
    run(tmp_path / "d", *steps)
    first = opened(tmp_path / "d").snapshot.id
    again = run(tmp_path / "d", *steps)
    assert counts(again)["select"] == (0, 6, 1, 0)
    assert opened(tmp_path / "d").snapshot.id == first
    assert steps[1].component.seen == [[f"i{number}" for number in range(6)]]
    # Another step before it: other keys.
    more = run(tmp_path / "d", sg.caption(Captioner(), name="other"), steps[1])
    assert counts(more)["select"][:2] == (6, 0)
    # Another option, on the images that it was shown first.
    other = run(tmp_path / "d", steps[0], sg.select(Selector(Options(("i2:dull",)))))
    assert (counts(other)["caption"][:2], counts(other)["select"]) == ((0, 6), (6, 0, 1, 0))
    # And back: nothing is asked.
    back = run(tmp_path / "d", *steps)
    assert counts(back)["select"] == (0, 6, 1, 0)
    assert opened(tmp_path / "d").snapshot.id == first


def test_progress_is_told_of_a_selection_that_is_known_already(tmp_path, capsys):
    """More images than are counted before something is told of them, asked for and known."""
    pipeline = sg.Pipeline(sg.select(Selector(Options(("i1:dull",)))))
    for expected in ((70, 0, 1, 0), (0, 70, 1, 0)):
        assert counts(pipeline.run(Source(70), tmp_path / "d", progress=True))["select"] == expected
    assert "select: 0 computed, 70 reused" in capsys.readouterr().err


def test_one_more_image_redoes_the_selection_alone(tmp_path):
    def steps():
        return (
            sg.caption(Captioner()),
            sg.select(Selector(Options(("i1:dull",)))),
            sg.caption(Captioner(), name="again"),
        )

    run(tmp_path / "d", *steps())
    report = run(tmp_path / "d", *steps(), count=7)
    assert counts(report) == {
        "source": (1, 6, 0, 0),
        "caption": (1, 6, 0, 0),
        "select": (7, 0, 1, 0),
        "again": (1, 5, 0, 0),
    }
    assert {sample.values["chosen"]["of"] for sample in opened(tmp_path / "d") if sample.image_id != "i1"} == {7}


def test_images_that_are_not_selected_from_stay_as_they_are(tmp_path):
    selector = Selector(Options(("i1:dull",)))
    sources = {"a": Source(2), "b": sg.source(Renamed(3))}
    steps = sg.select(selector, on={"source": "b"}), sg.select(Selector(Options(marks=False)), name="whole")
    report = sg.Pipeline(*steps).run(sources, tmp_path / "d", progress=False)
    assert selector.seen == [["n0", "n1", "n2"]]
    assert counts(report) == {"source": (5, 0, 0, 0), "select": (3, 0, 0, 0), "whole": (5, 0, 0, 0)}
    # A selector that says nothing leaves what another has chosen.
    assert [sample.image_id for sample in opened(tmp_path / "d") if "chosen" in sample.values] == ["n0", "n1", "n2"]


class Renamed(Source):
    def samples(self, roots, name):
        return (sg.Sample(f"n{sample.image_id[1:]}", sample.graph) for sample in super().samples(roots, name))


def test_what_was_chosen_in_one_version_is_not_in_another(tmp_path):
    run(tmp_path / "d", sg.select(Selector()), sg.caption(Captioner()))
    report = run(tmp_path / "d", sg.caption(Captioner()))
    assert counts(report)["caption"] == (0, 6, 0, 0)
    dataset = opened(tmp_path / "d")
    assert {sample.values["caption"].text for sample in dataset} == {"0 []"}
    assert all("chosen" not in sample.values for sample in dataset)
    assert [column.name for column in dataset.snapshot.meta.columns] == ["caption"]


def test_a_training_sees_what_was_chosen_and_is_done_again_for_another_choice(tmp_path):
    def trained(selector):
        report = run(tmp_path / "d", sg.select(selector), sg.train(toys.Student()))
        return counts(report)["train"][:2], (report.step("train").checkpoint.path / "w").read_text().splitlines()

    done, lines = trained(Selector(Options(("i1:dull",))))
    assert done == (5, 0)
    assert lines[1] == "i2 {'after': ['i1'], 'of': 6}"
    # The same images with other values: their keys are equal, what is learnt from is not.
    done, lines = trained(Selector(Options(("i1:dull",), marks=False)))
    assert (done, lines[1]) == ((5, 0), "i2 None")
    assert trained(Selector(Options(("i1:dull",))))[0] == (0, 5)


def test_a_selector_sees_what_the_one_before_chose(tmp_path):
    class After(Selector):
        def select(self, samples):
            return [sg.Edit.value("image", None, "chosen", [sample.values.get("chosen")]) for sample in samples]

    run(tmp_path / "d", sg.select(Selector()), sg.select(After(), name="after"))
    assert [one.values["chosen"] for one in opened(tmp_path / "d")][1] == [{"after": ["i0"], "of": 6}]
    report = run(tmp_path / "d", sg.select(Selector(Options(marks=False))), sg.select(After(), name="after"))
    assert counts(report)["after"][:2] == (6, 0)
    assert [one.values["chosen"] for one in opened(tmp_path / "d")][1] == [None]


def test_a_failed_image_keeps_its_state_and_is_tried_again(tmp_path):
    selector = Selector(Options(drop=("i1:dull",), fails=("i2",)))
    report = run(tmp_path / "d", sg.select(selector), sg.caption(Captioner()))
    assert report.status == "failed-items"
    assert counts(report) == {"source": (6, 0, 0, 0), "select": (5, 0, 1, 1), "caption": (4, 0, 0, 0)}
    assert [(one.image_id, one.step, one.reason) for one in report.failures] == [("i2", "select", "unclear")]
    again = run(tmp_path / "d", sg.select(selector), sg.caption(Captioner()))
    assert counts(again)["select"] == (5, 0, 1, 1)
    assert len(selector.seen) == 2
    # It can be told now: the caption of it alone is new.
    selector.options = Options(drop=("i1:dull",))
    mended = run(tmp_path / "d", sg.select(selector), sg.caption(Captioner()))
    assert (mended.status, counts(mended)["caption"]) == ("done", (1, 4, 0, 0))
    assert verify_dataset(tmp_path / "d").problems == []


class Other(Selector):
    """Answers what it is given."""

    def __init__(self, *answers) -> None:
        super().__init__()
        self.answers = answers

    def select(self, samples):
        return self.answers


@pytest.mark.parametrize(
    ("answer", "reason", "told"),
    [
        (sg.Edit.add(Region("dog")), "role", "may not add regions"),
        (sg.Edit.value("image", None, "caption", sg.Caption("a")), "role", "may fill 'chosen' of images, not column"),
        (sg.Edit.value("image", None, "chosen", "a text"), "contract", "neither a text alone nor null"),
        (3, "contract", "not an Edit or a Failure"),
    ],
)
def test_what_a_selector_may_not_say_fails_its_image(tmp_path, answer, reason, told):
    report = run(tmp_path / "d", sg.select(Other(sg.Edit(), answer)), count=2)
    assert [(one.image_id, one.reason) for one in report.failures] == [("i1", reason)]
    assert told in report.failures[0].detail


class Broken(Selector):
    def select(self, samples):
        raise ValueError("no idea")


@pytest.mark.parametrize(
    ("selector", "told"),
    [
        (Other(sg.Edit()), "step 'select': Other gave 1 answer for 2 images"),
        (Other(*[sg.Edit()] * 3), "step 'select': Other gave more answers for 2 images"),
        (Broken(), "step 'select': Broken failed: ValueError: no idea"),
    ],
)
def test_a_selector_that_fails_as_a_whole_ends_the_run_and_changes_nothing(tmp_path, selector, told):
    run(tmp_path / "d", sg.caption(Captioner()), count=2)
    before = opened(tmp_path / "d").snapshot.id
    with pytest.raises(sg.SgforgeError, match=told.replace("(", r"\(")):
        run(tmp_path / "d", sg.caption(Captioner()), sg.select(selector), count=2)
    assert opened(tmp_path / "d").snapshot.id == before


def test_only_a_selector_fills_what_was_chosen(tmp_path):
    class Editor:
        columns = (Column("image", "toy.any", "json"),)

        def edit(self, samples):
            return [sg.Edit.value("image", None, "chosen", {"by": "hand"}) for _ in samples]

    report = run(tmp_path / "d", sg.edit(Editor()), count=1)
    assert report.failures[0].reason == "role"


def test_a_stop_leaves_the_selection_for_the_next_run(tmp_path):
    class Stopping(Selector):
        def select(self, samples):
            for number, answer in enumerate(super().select(samples)):
                if number == 2 and len(self.seen) == 1:
                    os.kill(os.getpid(), signal.SIGINT)
                    stop_seen(samples)
                yield answer

    def stop_seen(samples):
        while True:
            samples[0]  # raises once the stop has come

    steps = sg.select(Stopping()), sg.caption(Captioner())
    report = run(tmp_path / "d", *steps)
    assert (report.status, report.steps[-1].status) == ("interrupted", "unfinished")
    assert counts(run(tmp_path / "d", *steps)) == {
        "source": (0, 6, 0, 0),
        "select": (6, 0, 0, 0),
        "caption": (6, 0, 0, 0),
    }


class Stopped(Captioner):
    """A captioner whose second image ends the run."""

    def caption(self, samples):
        if self.asked:
            raise BudgetReachedError("the budget is reached")
        return super().caption(samples)


@pytest.mark.parametrize("tried", [(), ("i2:dark", "i4:dark"), ("i5:dark",)])
def test_what_a_stopped_run_made_behind_a_selection_is_sealed_behind_it(tmp_path, capsys, tried):
    """Versions before it and of other choices hold the same states, and the branch stands at one of them."""
    folder, dull = tmp_path / "d", Options(("i1:dull",))
    run(folder, sg.caption(Captioner()))
    for drop in (dull.drop, tried, dull.drop):
        steps = (
            sg.caption(Captioner()),
            sg.select(Selector(Options(drop))),
            sg.caption(Stopped(), batch_size=1, name="again"),
        )
        assert run(folder, *steps).status == "budget"
    assert opened(folder).snapshot.meta.step.name == "caption"
    assert main(["publish", str(folder)]) == 0
    assert "again (unfinished)" in capsys.readouterr().out
    snapshot = opened(folder).snapshot
    words, dropped = snapshot.vocabulary("reason"), snapshot.column("image/dropped").tolist()
    assert {words[one] for one in dropped if one >= 0} == {"dull"}
    assert [number for number, one in enumerate(dropped) if one >= 0] == [1]
    assert verify_dataset(folder).problems == []


def lines_of(folder: Path) -> list[bytes]:
    return [dump_sample(sample) for sample in opened(folder)]


@pytest.mark.parametrize("calls", [(2,), pytest.param((2, 3), marks=pytest.mark.slow)])
def test_killed_again_and_again_it_comes_to_the_same(tmp_path, calls):
    command = [sys.executable, "-m", "tests.selection.run_selection"]
    root = Path(__file__).parents[2]
    subprocess.run([*command, str(tmp_path / "once"), "5"], check=True, cwd=root)
    for call in calls:  # of those that each run has left
        environment = {**os.environ, DIES_AT: str(call)}
        done = subprocess.run([*command, str(tmp_path / "killed"), "5"], check=False, cwd=root, env=environment)
        assert done.returncode == -signal.SIGKILL
    subprocess.run([*command, str(tmp_path / "killed"), "5"], check=True, cwd=root)
    assert lines_of(tmp_path / "killed") == lines_of(tmp_path / "once")
    assert keys_of(tmp_path / "killed") == keys_of(tmp_path / "once")
    assert verify_dataset(tmp_path / "killed").problems == []


def test_killed_between_its_answers_and_their_publication_nothing_is_asked_again(tmp_path, monkeypatch):
    from sgforge.dataset import DatasetWriter

    selector = Selector(Options(("i1:dull",)))
    publish = DatasetWriter.publish

    def fails(self, record, *arguments, **named):
        if record.verb == "select":
            raise OSError("gone")
        return publish(self, record, *arguments, **named)

    monkeypatch.setattr(DatasetWriter, "publish", fails)
    with pytest.raises(OSError, match="gone"):
        run(tmp_path / "d", sg.select(selector))
    monkeypatch.undo()
    assert counts(run(tmp_path / "d", sg.select(selector)))["select"] == (0, 6, 1, 0)
    assert len(selector.seen) == 1


def test_diff_stats_and_exports_tell_of_it(tmp_path, capsys):
    run(tmp_path / "d", sg.caption(Captioner()))
    first = opened(tmp_path / "d")
    run(tmp_path / "d", sg.caption(Captioner()), sg.select(Selector(Options(("i1:dull",)))))
    second = opened(tmp_path / "d")
    changes = {image.image_id: image.changed for image in first.diff(second).images}
    assert sorted(changes) == [f"i{number}" for number in range(6)]
    assert changes["i1"][0].fields == {"dropped": (None, "dull")}
    assert changes["i2"][0].fields == {"chosen": (None, {"after": ["i1"], "of": 6})}
    assert second.stats().values["image"] == {"caption": 6, "chosen": 5}
    assert main(["stats", str(tmp_path / "d")]) == 0
    assert "chosen 5" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "d"), "--to", "jsonl", "--output", str(tmp_path / "out.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["image_id"] for line in lines] == ["i0", "i2", "i3", "i4", "i5"]
    assert lines[1]["x"]["chosen"] == {"after": ["i1"], "of": 6}
    assert main(["import", str(tmp_path / "out.jsonl"), str(tmp_path / "again")]) == 0
    assert lines_of(tmp_path / "again") == [dump_sample(one) for one in read_jsonl(tmp_path / "out.jsonl")]


def test_the_plan_tells_what_it_can(tmp_path):
    selector = Selector(Options(("i1:dull",)))
    steps = (
        sg.caption(Captioner()),
        sg.select(selector),
        sg.caption(Captioner(), name="again"),
        sg.train(toys.Student()),
    )
    sources = {"source": SourceStep(Source())}

    def foreseen():
        found = forecast(resolve(load_plugins(), steps, sources), tmp_path / "d", sg.Roots())
        return {one.step.name: (one.to_compute, one.reused, one.after) for one in found.steps}

    assert foreseen() == {
        "caption": (6, 0, None),
        "select": (6, 0, None),
        "again": (None, None, "select"),
        "train": (None, None, "select"),
    }
    run(tmp_path / "d", *steps[:2])
    assert foreseen()["again"] == (5, 0, None)
    run(tmp_path / "d", *steps)
    assert foreseen() == {
        "caption": (0, 6, None),
        "select": (0, 6, None),
        "again": (0, 5, None),
        "train": (0, 5, None),
    }
    assert len(selector.seen) == 1
