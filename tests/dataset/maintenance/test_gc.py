"""Garbage collection: what goes, what stays and why, and that nothing which is kept is computed again."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from columns.pictures import picture
from dataset.made import TEACHER, TEACHER_EDITS, answers, make_dataset
from dataset.maintenance.growing import Config, Source, Student, Teacher, computed, run
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sgforge as sg
from sgforge.columns.declared import Column, fitted_edit
from sgforge.dataset import Dataset, DatasetWriter, KnownWork
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance import gc, verification
from sgforge.dataset.maintenance.gc import GcPlan, collect, plan_gc
from sgforge.dataset.maintenance.publish_unfinished import seal
from sgforge.dataset.maintenance.reachable import read_journal
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.edits import Edit
from sgforge.errors import ConfigError, DatasetError, StepError
from sgforge.packed import pack_edit

MAP = Column("image", "plugin.map", "f4", (64, 64))


def do_gc(data: Path, keep_days: float = 0, *, checkpoints: bool = False) -> GcPlan:
    with DatasetWriter.open(data) as writer:
        return collect(writer, plan_gc(data, keep_days=keep_days, checkpoints=checkpoints))


def stated(data: Path, snapshot_id: str) -> dict:
    return json.loads((data / "snapshots" / snapshot_id / "zarr.json").read_text())["attributes"]["sgforge"]


def reached(data: Path, *names: Path) -> set[str]:
    """What the files of refs lead to, by the parents that the snapshots state."""
    found: set[str] = set()
    for name in names:
        at: str | None = name.read_text().strip()
        while at is not None:
            found.add(at)
            at = next(iter(stated(data, at)["parents"]), None)
    return found


def snapshots(data: Path) -> set[str]:
    return set(os.listdir(data / "snapshots"))


def sealed(data: Path) -> set[str]:
    return {path.stem for path in (data / "seals").iterdir() if "sqlite" not in path.name}


def age(data: Path, days: float) -> None:
    """Make everything in a dataset so much older."""
    for path in [*data.rglob("*")]:
        state = path.stat()
        os.utime(path, (state.st_atime - days * 86400, state.st_mtime - days * 86400))
    for snapshot_id in snapshots(data):
        path = data / "snapshots" / snapshot_id / "zarr.json"
        document = json.loads(path.read_text())
        document["attributes"]["sgforge"]["created"] = "2020-01-01T00:00:00+00:00"
        path.chmod(0o644)
        path.write_text(json.dumps(document))
        path.chmod(0o444)
    with closing(sqlite3.connect(data / "journal.sqlite")) as base:
        base.execute("UPDATE folder_use SET used = '2020-01-01T00:00:00+00:00'")
        base.commit()


CONFIGS = (
    Config(amount=1),
    Config(amount=2, rate=1, generates=True, evaluates=True),
    Config(amount=2, rate=2, generates=True),
    Config(amount=2, rate=3, evaluates=True),
    Config(amount=1, shade=40),
    Config(amount=1, shade=80, rate=1),
)
OPERATIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from(CONFIGS), st.sampled_from(["main", "draft"])),
    st.tuples(st.just("run"), st.sampled_from(CONFIGS), st.sampled_from(["main", "draft"])),
    st.tuples(st.sampled_from(["tag", "untag"]), st.just(None), st.sampled_from(["v1", "v2"])),
    st.tuples(st.just("delete"), st.just(None), st.sampled_from(["main", "draft"])),
)


@attrs.define
class Past:
    """What has been done to a dataset, as the test knows it: each run with its branch and the version it ended with."""

    data: Path
    runs: list[tuple[Config, str, str]] = attrs.field(factory=list)

    def do(self, what: str, config: Config | None, name: str) -> None:
        heads, tags = self.data / "refs" / "heads", self.data / "refs" / "tags"
        if what == "run":
            assert config is not None
            report = run(self.data, config, name)
            assert report.snapshot is not None
            self.runs.append((config, name, report.snapshot))
        elif what == "tag" and self.runs and not (tags / name).exists():
            with DatasetWriter.open(self.data) as writer:
                writer.tag(name, self.runs[-1][2])
        elif (what == "untag" and (tags / name).exists()) or (what == "delete" and (heads / name).exists()):
            with DatasetWriter.open(self.data) as writer:
                writer.forget_ref("tags" if what == "untag" else "heads", name)

    def kept_configs(self, *, checkpoints: bool) -> list[Config]:
        """Configs of runs whose version a name leads to; of trainings, if they go, the last that ended there."""
        refs = self.data / "refs"
        tagged = reached(self.data, *(refs / "tags").iterdir())
        found = []
        for number, (config, branch, snapshot_id) in enumerate(self.runs):
            head = refs / "heads" / branch
            if snapshot_id not in tagged and not (head.exists() and snapshot_id in reached(self.data, head)):
                continue
            later = [one[1:] for one in self.runs[number + 1 :]]
            if not (checkpoints and config.rate and (branch, snapshot_id) in later):
                found.append(config)
        return found


@settings(max_examples=3)
@given(st.lists(OPERATIONS, min_size=3, max_size=6), st.booleans())
@example(
    [("run", CONFIGS[1], "main"), ("tag", None, "v1"), ("run", CONFIGS[2], "main"), ("run", CONFIGS[5], "draft")], True
)
@example([("run", CONFIGS[3], "main"), ("run", CONFIGS[5], "draft"), ("delete", None, "draft")], True)
def test_after_gc_no_kept_config_computes_anything(tmp_path_factory, operations, checkpoints):
    past = Past(tmp_path_factory.mktemp("past") / "data")
    past.do("run", CONFIGS[0], "main")
    for operation in operations:
        past.do(*operation)
    data, refs = past.data, past.data / "refs"
    expected = reached(data, *(refs / "heads").iterdir(), *(refs / "tags").iterdir())
    configs = dict.fromkeys(past.kept_configs(checkpoints=checkpoints))
    do_gc(data, checkpoints=checkpoints)
    assert snapshots(data) == sealed(data) == expected
    assert verify_dataset(data).problems == []
    for number, config in enumerate(configs):
        copy = past.data.with_name(f"again {number}")
        shutil.copytree(data, copy)
        assert computed(run(copy, config, "again")) == 0, config
    assert do_gc(data, checkpoints=checkpoints).is_empty


@pytest.fixture(scope="module")
def grown(tmp_path_factory) -> Path:
    """Branch main, moved twice, with a picture for each image and trained weights that only the first version used."""
    data = tmp_path_factory.mktemp("grown") / "data"
    run(data, Config(shade=40, amount=2, rate=1, generates=True, evaluates=True))
    run(data, Config(amount=1))
    return data


@pytest.fixture
def data(grown: Path, tmp_path: Path) -> Path:
    shutil.copytree(grown, tmp_path / "data")
    return tmp_path / "data"


def test_what_no_name_leads_to_goes_with_its_files_and_results(data):
    with DatasetWriter.open(data) as writer:
        writer.files.put(picture(0, 200), ".png")
    plan = plan_gc(data, keep_days=0)
    assert [version.step for version in plan.versions] == ["generate", "complete", "render"]
    assert [folder.kind for folder in plan.folders] == ["results"]
    assert len(plan.files) == 5
    assert [folder.steps for folder in plan.held] == [("train",)]
    assert plan.kept == {"branches": 2}
    before = sum(path.stat().st_size for path in data.rglob("*") if path.is_file() and path.suffix != ".sqlite")
    do_gc(data)
    after = sum(path.stat().st_size for path in data.rglob("*") if path.is_file() and path.suffix != ".sqlite")
    assert len(snapshots(data)) == 2
    assert list((data / "files").iterdir()) == []
    assert len(list((data / "steps").iterdir())) == 1
    assert verify_dataset(data).problems == []
    assert plan.bytes > 0
    assert before - after >= plan.bytes
    with DatasetWriter.open(data) as writer:
        assert [use.kind for use in plan_gc(data, keep_days=0, checkpoints=True).folders] == ["checkpoint"]
        collect(writer, plan_gc(data, keep_days=0, checkpoints=True))
    assert list((data / "steps").iterdir()) == []


def test_what_is_young_stays_with_all_that_it_came_from(data):
    plan = plan_gc(data)
    assert plan.is_empty
    assert plan.kept == {"branches": 2, "age": 3}
    age(data, days=30)
    assert len(plan_gc(data).versions) == 3
    assert len(plan_gc(data).files) == 4
    assert plan_gc(data, keep_days=10_000).is_empty
    with pytest.raises(ConfigError, match="the days to keep are a number from 0"):
        plan_gc(data, keep_days=-1)


def test_a_version_that_a_reader_has_open_stays_with_its_files(data):
    head = plan_gc(data, keep_days=0).versions[0].snapshot_id
    reader = Dataset.open(data, head)
    plan = do_gc(data)
    assert (plan.versions, plan.files) == ((), ())
    assert plan.kept == {"branches": 2, "readers": 3}
    assert [int(sample.image.array()[0, 0, 0]) for sample in reader] == [40, 41, 42, 43]
    del reader
    assert len(do_gc(data).versions) == 3


def test_a_reader_that_comes_between_plan_and_removal_keeps_its_version(data):
    with DatasetWriter.open(data) as writer:
        plan = plan_gc(data, keep_days=0)
        reader = Dataset.open(data, plan.versions[1].snapshot_id)
        done = collect(writer, plan)
    assert [version.step for version in done.versions] == ["generate"]
    assert len(list(reader)) == 4
    assert [int(sample.image.array()[0, 0, 0]) for sample in reader] == [40, 41, 42, 43]
    assert verify_dataset(data).problems == []


def test_unpublished_answers_keep_what_they_were_made_from_and_their_files(tmp_path):
    data = tmp_path / "data"
    *_, last = make_dataset(data)
    with DatasetWriter.open(data) as writer:
        source = writer.snapshot(last.meta.parents[0]).meta.parents[0]
        before = writer.snapshot(source)
        ref = writer.files.put(b"a map", ".bin")
        unused = writer.files.put(b"another", ".bin")
        edit = TEACHER_EDITS["a"]
        writer.journal.put(answers(before, attrs.evolve(TEACHER, name="other"), {"a": edit, "b": Edit()}))
        (row,) = answers(before, attrs.evolve(TEACHER, name="third"), {"c": Edit()})
        filled = fitted_edit(Edit.value("image", None, MAP.name, ref), {MAP.key: MAP})
        writer.journal.put([attrs.evolve(row, edit=pack_edit(filled))])
        writer.forget_ref("heads", "main")
    plan = do_gc(data)
    assert plan.kept == {"unpublished answers": 1}
    assert [path.name.partition(".")[0] for path in plan.files] == [unused.sha256]
    assert snapshots(data) == {source}
    with DatasetWriter.open(data) as writer:
        assert writer.files.read(ref) == b"a map"
        assert next(iter(seal(writer))).meta.step.name == "other"


def test_an_unfinished_training_keeps_what_it_reads_until_it_may_go(tmp_path):
    data = tmp_path / "data"
    pipeline = sg.Pipeline(sg.complete(Teacher(3)), sg.train(Student(1, stops=True)))
    with pytest.raises(StepError, match="the device is gone"):
        pipeline.run(Source(), data, progress=False)
    run(data, Config(amount=1))
    plan = do_gc(data)
    assert (plan.is_empty, plan.kept) == (True, {"branches": 2, "unfinished trainings": 1})
    (folder,) = (data / "steps").iterdir()
    plan = plan_gc(data, keep_days=0, checkpoints=True)
    assert [(each.kind, each.path) for each in plan.folders] == [("unfinished training", folder)]
    assert len(plan.versions) == 1
    assert sg.Pipeline(sg.complete(Teacher(3))).run(Source(), data, progress=False).step("complete").counts.reused == 4


def test_uses_are_remembered_by_runs_and_of_old_folders_nothing_is_removed(data):
    with closing(sqlite3.connect(data / "journal.sqlite")) as base:
        base.execute("DROP TABLE folder_use")
    plan = do_gc(data, checkpoints=True)
    assert plan.folders == ()
    assert plan.notes == (
        "2 step folders from before uses were recorded: kept; the next run of their config records them, and one that "
        "is needed no more can be deleted by hand",
    )
    assert computed(run(data, Config(shade=40, amount=2, rate=1, generates=True, evaluates=True))) > 0
    assert plan_gc(data, keep_days=0).notes == ()


@pytest.mark.parametrize("stops_at", range(0, 16, 3))
def test_killed_at_any_moment_it_leaves_a_sound_dataset_and_the_next_one_ends_it(data, monkeypatch, stops_at):
    class KilledError(BaseException):
        pass

    count = -1_000_000  # until the writer is open

    def deadly(call):
        def wrapped(*arguments, **named):
            nonlocal count
            count += 1
            if count > stops_at:
                raise KilledError
            return call(*arguments, **named)

        return wrapped

    with monkeypatch.context() as patched:
        for owner, name in ((Path, "rename"), (Path, "unlink"), (Path, "mkdir"), (gc, "sync_folder")):
            patched.setattr(owner, name, deadly(getattr(owner, name)))
        patched.setattr(gc.shutil, "rmtree", deadly(shutil.rmtree))
        writer = DatasetWriter.open(data)
        plan = plan_gc(data, keep_days=0, checkpoints=True)
        count = 0
        with pytest.raises(KilledError):
            collect(writer, plan)
    writer.close()
    assert verify_dataset(data).problems == []
    do_gc(data, checkpoints=True)
    left = {path.name for path in data.iterdir() if path.is_dir() and any(path.iterdir())}
    assert left == {"snapshots", "seals", "refs"}
    assert len(snapshots(data)) == 2
    assert sealed(data) == snapshots(data)
    assert verify_dataset(data).problems == []


def test_what_is_not_known_to_be_unneeded_stays(data):
    head = data / "refs" / "heads" / "main"
    good = head.read_text()
    for text, told in (("?", "does not name a snapshot"), ("f" * 32, "which is not here, so it is not known")):
        head.write_text(text)
        with pytest.raises(DatasetError, match=told):
            do_gc(data)
    head.write_text(good)
    needed = data / "snapshots" / good.strip() / "zarr.json"
    content = needed.read_bytes()
    needed.chmod(0o644)
    needed.write_bytes(b"{")
    with pytest.raises(DatasetError, match="is needed and damaged, so it is not known what it came from"):
        do_gc(data)
    needed.write_bytes(content)
    needed.chmod(0o444)
    unneeded = data / "snapshots" / plan_gc(data, keep_days=0).versions[0].snapshot_id
    (unneeded / "zarr.json").unlink()
    assert unneeded.name in {version.snapshot_id for version in do_gc(data).versions}
    assert verify_dataset(data).problems == []


def test_a_dataset_that_is_written_planned_or_checked_is_left_alone(data, monkeypatch):
    with DatasetWriter.open(data), pytest.raises(DatasetError, match="is being written by"):
        do_gc(data)
    known = KnownWork.open(data)
    with pytest.raises(DatasetError, match="is being checked or copied: nothing was removed"):
        do_gc(data)
    del known
    with monkeypatch.context() as patched:
        patched.setattr(verification, "_verify", lambda folder, is_locked: do_gc(data))
        with pytest.raises(DatasetError, match="is being checked or copied: nothing was removed"):
            verify_dataset(data)
    assert len(do_gc(data).versions) == 3


def test_runs_remember_which_step_folders_they_used(tmp_path):
    data = tmp_path / "data"

    def uses() -> set[tuple[str, str, str, bool]]:
        found = read_journal(DatasetFolder.open(data)).uses
        return {(use.step, use.branch, use.snapshot_id, use.is_final) for use in found}

    config = Config(amount=2, rate=1, generates=True, evaluates=True)
    first = run(data, config, "draft").snapshot
    assert uses() == {("train", "draft", first, True), ("evaluate", "draft", first, True)}
    assert computed(run(data, config)) == 0
    assert len(uses()) == 4
    second = run(data, attrs.evolve(config, rate=2)).snapshot
    assert uses() >= {("train", "main", first, True), ("train", "main", second, True)}
    steps = (sg.complete(Teacher(2)), sg.train(Student(3, stops=True)))
    with pytest.raises(StepError):
        sg.Pipeline(*steps).run(Source(), data, progress=False)
    read = Dataset.open(data).log()[1].snapshot_id
    assert ("train", "main", read, False) in uses()
    assert run(data, attrs.evolve(config, rate=3, generates=False, evaluates=False)).snapshot == read
    assert ("train", "main", read, False) not in uses()
    assert ("train", "main", read, True) in uses()
