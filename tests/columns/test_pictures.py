"""Pictures that a step made: through a run, kills, a reverted option, an evaluation, show, export and verify."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import sgforge as sg
from sgforge import made_files
from sgforge.cli.main import main
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.errors import DatasetError, ImageError
from sgforge.file_refs import FileRef, ImageRef
from sgforge.graph import Region, SceneGraph
from sgforge.jsonl import dump_sample
from sgforge.made_files import MadeFiles
from sgforge.models.errors import BudgetReachedError
from tests.columns import pictures as toys
from tests.columns.run_pictures import pipeline
from tests.support.dying import DIES_AT


def run(folder: Path, shade: int = 100):
    return pipeline(shade).run(toys.Layouts(), folder, progress=False)


def counts(report) -> dict:
    return {step.name: (step.counts.computed, step.counts.reused, step.counts.failed) for step in report.steps}


def state(folder: Path) -> list[tuple]:
    """Everything of each image: its line, its pixel, its caption."""
    return [
        (dump_sample(sample), int(sample.image.array()[0, 0, 0]), sample.values["caption"].text)
        for sample in sg.Dataset.open(folder)
    ]


def test_a_graph_becomes_a_picture_that_later_steps_see(tmp_path):
    report = run(tmp_path / "d")
    assert report.status == "done"
    assert [row[1:] for row in state(tmp_path / "d")] == [(100 + n, f"grey {100 + n}") for n in range(6)]
    sample = sg.Dataset.open(tmp_path / "d")["g3"]
    data = toys.picture(3, 100)
    assert sample.sha256 == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "d/files" / sample.sha256[:2] / f"{sample.sha256}.png").read_bytes() == data
    assert (sample.graph.width, sample.graph.height) == (toys.SIDE, toys.SIDE)
    assert verify_dataset(tmp_path / "d").problems == []


class Bright:
    """A reward for the picture of an outcome."""

    range = (0.0, 255.0)
    revision = 1
    options = toys.Options()

    def score(self, samples, outcomes):
        return [[sg.stages.Credit(float(one.image.array()[0, 0, 0])) for one in group] for group in outcomes]


def test_rewards_of_a_filter_and_of_a_selector_see_the_picture(tmp_path):
    bright = [sg.use(Bright())]
    steps = (
        sg.render(toys.Renderer()),
        sg.filter("reward", rewards=bright, judges="images", least=102),
        sg.select("top-fraction", rewards=bright, fraction=0.5),
    )
    assert sg.Pipeline(*steps).run(toys.Layouts(), tmp_path / "d", progress=False).status == "done"
    # Grey 100 to 105: two are too dark, of the others the better half is chosen.
    chosen = {sample.image_id: sample.values.get("chosen") for sample in sg.Dataset.open(tmp_path / "d")}
    assert {name: one["credit"] for name, one in chosen.items() if one is not None} == {"g4": 104.0, "g5": 105.0}


def test_an_evaluation_sees_the_picture_and_measures_against_the_source(tmp_path):
    first = run(tmp_path / "d")
    # The held-out image is the sixth; its grey is 100 + 5, the picture 16 wide.
    assert first.steps[-1].report.values["brightness"] == pytest.approx(105 / 255)
    assert first.steps[-1].report.values["width"] == pytest.approx(0.16)
    second = run(tmp_path / "d", shade=50)
    assert second.steps[-1].report.values["brightness"] == pytest.approx(55 / 255)
    assert counts(run(tmp_path / "d"))["evaluate"] == (0, 1, 0)


def test_a_reverted_option_brings_the_first_pictures_back(tmp_path):
    run(tmp_path / "d")
    first = state(tmp_path / "d")
    run(tmp_path / "d", shade=50)
    assert [row[1] for row in state(tmp_path / "d")] == [50 + number for number in range(6)]
    report = run(tmp_path / "d")
    assert counts(report)["render"] == (0, 6, 0)
    assert counts(report)["caption"] == (0, 6, 0)
    assert state(tmp_path / "d") == first


@pytest.mark.parametrize(("seed", "shades"), [(1, (50, 100)), pytest.param(2, (100, 50, 100), marks=pytest.mark.slow)])
def test_runs_that_are_killed_at_random_moments_end_where_one_ends(tmp_path, seed, shades):
    run(tmp_path / "once")
    wanted = state(tmp_path / "once")
    chance = random.Random(seed)
    kills = 0
    for shade in shades:
        for latest in (3, 8, 0):  # the first of all runs has eight calls: it is killed
            command = [sys.executable, "-m", "tests.columns.run_pictures", str(tmp_path / "d"), str(shade)]
            environment = {**os.environ, DIES_AT: str(chance.randint(1, latest) if latest else 0)}
            done = subprocess.run(command, env=environment, check=False, capture_output=True)
            kills += done.returncode == -signal.SIGKILL
            assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    assert kills
    assert state(tmp_path / "d") == wanted
    assert verify_dataset(tmp_path / "d").problems == []


def test_what_a_stopped_run_made_is_sealed_and_gone_on_from_with_pictures_and_captions(tmp_path, monkeypatch):
    run(tmp_path / "once")
    caption = toys.Captioner.caption

    def until_the_budget_is_reached(self, samples):
        if any(sample.image_id >= "g2" for sample in samples):
            raise BudgetReachedError("the budget is reached")
        return caption(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(toys.Captioner, "caption", until_the_budget_is_reached)
        assert run(tmp_path / "d").status == "budget"
    assert main(["publish", str(tmp_path / "d")]) == 0
    sealed = {sample.image_id: sample for sample in sg.Dataset.open(tmp_path / "d")}
    for number in range(2):
        sample = sealed[f"g{number}"]
        assert sample.values["caption"].text == f"grey {100 + number}"
        assert (sample.sha256, sample.graph.width) == (hashlib.sha256(toys.picture(number, 100)).hexdigest(), toys.SIDE)
    assert not any(sealed[f"g{number}"].has_values for number in range(2, 6))
    assert verify_dataset(tmp_path / "d").problems == []
    report = run(tmp_path / "d")
    assert counts(report)["caption"][:2] == (4, 2)
    assert state(tmp_path / "d") == state(tmp_path / "once")


def test_a_missing_file_fails_its_image_alone(tmp_path):
    run(tmp_path / "d")
    lost = sg.Dataset.open(tmp_path / "d")["g2"].image.path
    lost.unlink()
    captions = sg.caption(toys.Captioner(), name="again")
    report = sg.Pipeline(sg.render(toys.Renderer()), captions).run(toys.Layouts(), tmp_path / "d", progress=False)
    assert [(failure.image_id, failure.reason) for failure in report.failures] == [("g2", "image")]
    assert any("g2" in problem and "gone" in problem for problem in verify_dataset(tmp_path / "d").problems)


def test_a_file_that_was_changed_is_told(tmp_path):
    run(tmp_path / "d")
    path = sg.Dataset.open(tmp_path / "d")["g2"].image.path
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert any(path.name in problem for problem in verify_dataset(tmp_path / "d").problems)


def test_show_and_export_know_pictures_and_captions(tmp_path, capsys):
    run(tmp_path / "d")
    assert main(["show", str(tmp_path / "d"), "g1"]) == 0
    shown = capsys.readouterr().out
    assert "files:" in shown
    assert "caption: grey 101" in shown
    command = ["export", str(tmp_path / "d"), "--to", "jsonl", "--output", str(tmp_path / "out.jsonl")]
    assert main([*command, "--images", str(tmp_path / "pictures"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 6
    line = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])
    assert line["x"]["caption"] == {"text": "grey 101"}
    copied = tmp_path / "pictures" / line["uri"].removeprefix("files:")
    assert copied.read_bytes() == toys.picture(1, 100)


def test_pictures_of_dropped_images_are_not_exported_as_their_lines_are_not(tmp_path, capsys):
    class Dropping:
        def filter(self, samples):
            return [sg.Edit.drop("dull") if sample.image_id in ("g1", "g3") else sg.Edit() for sample in samples]

    report = sg.Pipeline(sg.render(toys.Renderer()), sg.filter(Dropping())).run(toys.Layouts(), tmp_path / "d")
    assert report.status == "done"
    capsys.readouterr()
    command = ["export", str(tmp_path / "d"), "--to", "jsonl", "--output", str(tmp_path / "out.jsonl"), "--json"]
    assert main([*command, "--images", str(tmp_path / "pictures")]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["images"], counts["images dropped"], counts["pictures"]) == (4, 2, 4)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    there = {str(path.relative_to(tmp_path / "pictures")) for path in (tmp_path / "pictures").rglob("*.png")}
    assert there == {line["uri"].removeprefix("files:") for line in lines}
    assert main(["show", str(tmp_path / "d")]) == 0
    listed = [line.strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line.partition("; ")[2] for line in listed] == ["", "dropped: dull", "", "dropped: dull", "", ""]


class Second(toys.Renderer):
    """Renders whatever it gets."""

    def render(self, samples):
        return super().render(samples)


def test_what_was_made_of_a_layout_is_there_for_another_source_that_gives_it(tmp_path):
    """Graph, picture and values come back from where they stand; the other image is made."""

    class Twins(toys.Layouts):
        names = ("g1", "g2")

        def samples(self, roots, name):
            graph = SceneGraph(0, 0, [Region("cat"), Region("mat")])
            return (sg.Sample(image_id, graph, split="train") for image_id in self.names)

    class Counting(toys.Renderer):
        asked = 0

        def render(self, samples):
            self.asked += len(samples)
            return super().render(samples)

    class One(Twins):
        names = ("g1",)

    renderer = Counting()
    steps = sg.render(renderer), sg.caption(toys.Captioner())
    sg.Pipeline(*steps).run({"a": One()}, tmp_path / "d", progress=False)
    report = sg.Pipeline(*steps).run({"b": Twins()}, tmp_path / "d", progress=False)
    assert counts(report)["render"] == (1, 1, 0)
    assert renderer.asked == 2
    first, second = sg.Dataset.open(tmp_path / "d")
    assert (first.source, second.source) == ("b", "b")
    assert first.image.array()[0, 0, 0] == 101
    assert (first.values["caption"].text, second.values["caption"].text) == ("grey 101", "grey 102")


def test_a_second_picture_is_refused(tmp_path):
    steps = sg.render(toys.Renderer()), sg.render(Second(toys.Options(7)), name="second")
    report = sg.Pipeline(*steps).run(toys.Layouts(2), tmp_path / "d", progress=False)
    assert {(failure.step, failure.reason) for failure in report.failures} == {("second", "role")}


def test_a_picture_of_another_size_than_the_layout_is_refused():
    graph = SceneGraph(20, 20, [Region("cat", (0, 0, 5, 5))])
    made = ImageRef("files:ab/cd.png", "0" * 64, 16, 16)
    with pytest.raises(sg.SgforgeError, match="16x16"):
        sg.apply_edit(graph, sg.Edit(image=made), "render")
    assert sg.apply_edit(SceneGraph(20, 20), sg.Edit(image=made), "render").graph.width == 16


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageRef("coco:ab/cd.png", "0" * 64, 1, 1),
        lambda: ImageRef("files:ab/cd.png", "0" * 63, 1, 1),
        lambda: ImageRef("files:ab/cd.png", "G" * 64, 1, 1),
        lambda: ImageRef("files:ab/cd.png", "0" * 64, 0, 1),
        lambda: ImageRef("files:ab/cd.png", "0" * 64, 1, 1.5),
        lambda: FileRef("0" * 63, 1),
        lambda: FileRef("0" * 64, -1),
        lambda: sg.Edit(image="files:ab/cd.png"),
    ],
)
def test_what_names_no_kept_file_is_refused(make):
    with pytest.raises(sg.SgforgeError):
        make()


def test_only_a_renderer_makes_pictures(tmp_path):
    class Wrong(toys.Renderer):
        def caption(self, samples):
            return self.render(samples)

    report = sg.Pipeline(sg.caption(Wrong())).run(toys.Layouts(2), tmp_path / "d", progress=False)
    assert {failure.reason for failure in report.failures} == {"role"}


def test_the_root_of_files_is_reserved(tmp_path):
    with pytest.raises(sg.SgforgeError, match="files"):
        pipeline(1).run(toys.Layouts(), tmp_path / "d", roots={"files": tmp_path}, progress=False)


def test_a_source_gives_no_picture_that_a_step_would_make(tmp_path):
    class Wrong(toys.Layouts):
        def samples(self, roots, name):
            for sample in super().samples(roots, name):
                yield attrs.evolve(sample, uri="files:ab/cd.png") if sample.image_id == "g1" else sample

    report = sg.Pipeline(sg.render(toys.Renderer())).run(Wrong(3), tmp_path / "d", progress=False)
    assert [(one.image_id, one.reason) for one in report.failures] == [("g1", "image-refused")]
    assert "root 'files' is kept for what steps make" in report.failures[0].detail


def test_a_file_that_is_too_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    data = toys.picture(0, 9)
    monkeypatch.setattr(made_files, "MAX_FILE_BYTES", len(data) - 1)
    monkeypatch.setattr(made_files, "decode_image", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match=f"{len(data)} bytes, at most {len(data) - 1} are kept"):
        MadeFiles(tmp_path / "files").put(data, ".png")
    assert not (tmp_path / "files").exists()


def test_a_source_of_a_folder_is_not_called_as_that_root_is(tmp_path, capsys):
    """Its folder would be the root of its name."""
    (tmp_path / "a.png").write_bytes(toys.picture(0, 9))
    config = f'dataset = "{tmp_path}/d"\n[sources.files]\nuse = "folder"\nimages = "{tmp_path}"\n[[step]]\n'
    (tmp_path / "p.toml").write_text(f'{config}segment = "regions"\n')
    assert main(["check", str(tmp_path / "p.toml")]) == 2
    told = capsys.readouterr().err
    assert "p.toml:2: sources.files: root 'files' is the folder of files that steps make" in told
    assert "give the source another name" in told


def test_a_file_is_durable_under_its_name_when_put_returns(tmp_path, monkeypatch):
    """Written under another name, synced, renamed, and the folder synced: in this order."""
    done = []
    fsync, replace = os.fsync, Path.replace

    def syncing(handle):
        done.append(("sync", os.fstat(handle).st_ino))
        fsync(handle)

    def renaming(self, target):
        done.append(("rename", self.name, Path(target).name))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", renaming)
    files = MadeFiles(tmp_path / "files")
    path = files.path_of(files.put(toys.picture(0, 9), ".png").uri)
    folders = [folder.stat().st_ino for folder in (tmp_path, tmp_path / "files", path.parent)]
    (written, (_, before, after), named) = done[2:]
    assert [inode for _, inode in done[:2]] == folders[:2]
    assert (written, named) == (("sync", path.stat().st_ino), ("sync", folders[2]))
    assert before != after == path.name
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o222 == 0


def test_half_a_file_of_before_is_written_again(tmp_path):
    files = MadeFiles(tmp_path / "files")
    data = toys.picture(0, 9)
    path = files.path_of(files.put(data, ".png").uri)
    path.chmod(0o644)
    path.write_bytes(data[:9])
    files.put(data, ".png")
    assert path.read_bytes() == data


def test_put_keeps_equal_bytes_once_and_refuses_what_is_no_picture(tmp_path):
    files = MadeFiles(tmp_path / "files")
    data = toys.picture(0, 9)
    first = files.put(data, ".png")
    inode = files.path_of(first.uri).stat().st_ino
    assert first == files.put(data, ".png")
    assert files.path_of(first.uri).stat().st_ino == inode, "it was written again"
    assert (first.width, first.height) == (toys.SIDE, toys.SIDE)
    assert len([path for path in (tmp_path / "files").rglob("*") if path.is_file()]) == 1
    ref = files.put(b"numbers", ".npy")
    assert ref == FileRef(hashlib.sha256(b"numbers").hexdigest(), 7)
    assert files.read(ref) == b"numbers"
    with pytest.raises(ImageError):
        files.put(data[:40], ".png")
    with pytest.raises(DatasetError, match="made of bytes"):
        files.put("numbers", ".npy")
    with pytest.raises(DatasetError, match="suffix"):
        files.put(data, "/../x.png")
