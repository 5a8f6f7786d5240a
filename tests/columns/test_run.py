"""One column of each type through a run, a kill and a second run, diff, stats, JSONL and plain zarr."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
import zarr

import sgforge as sg
from sgforge.cli.main import main
from sgforge.columns import Column
from sgforge.dataset import DatasetWriter, JournalRow, StepRecord
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.graph import Caption, FileRef, NumberArray, Region, Sample, SceneGraph, Span
from sgforge.graph.values import NO_VALUES, HeldValues
from sgforge.jsonl import dump_sample, read_jsonl
from sgforge.packed import pack_edit
from tests.columns import pictures, toys


def run(folder: Path, *steps: sg.Step, count: int = 6):
    return sg.Pipeline(*steps).run(toys.Source(count), folder, progress=False)


def whole(folder: Path) -> sg.Dataset:
    steps = sg.edit(toys.Filler()), sg.caption(toys.Captioner()), sg.question(toys.Questioner()), sg.judge(toys.Judge())
    assert run(folder, *steps, sg.segment(toys.Segmenter()), sg.filter(toys.Rejecter())).status == "done"
    return sg.Dataset.open(folder)


def plain(values) -> dict:
    """Values with numbers as lists."""
    return {name: np.asarray(value).tolist() if hasattr(value, "array") else value for name, value in values.items()}


def expected(number: int) -> tuple[dict, dict, dict]:
    given = {"toy.given": f"nöte {number}"} if number % 2 else {}
    image = {
        "answers": {"total": 0.25, "yes": [0.5, 0.5]},
        "caption": Caption("a cät on a mat", [Span(2, 5, 0)]),
        "questions": toys.QUESTIONS,
        **given,
        "toy.half": [float(number), 0.5, -2.0],
        "toy.text": f"日本 {number}",
    }
    region = {
        "toy.byte": {0: 255 - number},
        "toy.json": {1: {"a": number, "b": [1, None, "x"]}},
        "toy.wide": {1: [[float(number)] * 5] * 4},
    }
    return image, region, {"toy.long": {0: [2**40 + number, -1]}}


def assert_all_there(dataset: sg.Dataset, numbers=range(6)) -> None:
    assert [sample.image_id for sample in dataset] == [f"i{number}" for number in numbers]
    for number, sample in zip(numbers, dataset, strict=True):
        image, region, relation = expected(number)
        assert plain(sample.values) == image
        assert {name: plain(rows) for name, rows in sample.region_values.items()} == region
        assert {name: plain(rows) for name, rows in sample.relation_values.items()} == relation


def test_values_of_every_type_go_through_a_run(tmp_path):
    dataset = whole(tmp_path / "d")
    assert_all_there(dataset)
    assert verify_dataset(tmp_path / "d").problems == []


def test_columns_and_plain_zarr_read_all(tmp_path):
    dataset = whole(tmp_path / "d")
    wide = dataset.column("region/toy.wide")
    assert wide.rows.tolist() == [1, 4, 7, 10, 13, 16]
    assert wide.values.shape == (6, 4, 5)
    assert wide.values.dtype == np.float32
    assert dataset.column("image/toy.given").values == ["nöte 1", "nöte 3", "nöte 5"]
    assert dataset.column("image/caption").values[0] == Caption("a cät on a mat", [Span(2, 5, 0)])
    group = zarr.open_group(str(dataset.snapshot.path), mode="r")
    assert sorted(group["region/toy.wide"].array_keys()) == ["given", "values"]
    assert group["region/toy.wide/given"][:].tolist() == [0, 1, 0] * 6
    np.testing.assert_array_equal(group["region/toy.wide/values"][:, 2, 3], np.arange(6))
    np.testing.assert_array_equal(group["image/toy.half/values"][:], [[n, 0.5, -2] for n in range(6)])
    lengths = group["image/toy.text/length"][:].tolist()
    joined = bytes(group["image/toy.text/bytes"][:])
    assert joined[: lengths[0]].decode() == "日本 0"
    assert len(joined) == sum(lengths)
    stated = dict(group.attrs)["sgforge"]["columns"]
    assert {"target": "region", "name": "toy.wide", "kind": "f4", "shape": [4, 5]} in stated


def test_what_a_step_does_not_touch_is_linked(tmp_path):
    dataset = whole(tmp_path / "d")
    path = dataset.snapshot.path
    parent = path.parent / dataset.snapshot.meta.parents[0]
    for array in ("region/toy.wide/values", "image/toy.text/bytes", "image/caption/given"):
        files = [file for file in (path / array).rglob("*") if file.is_file()]
        assert files
        assert all(file.samefile(parent / file.relative_to(path)) for file in files)


def test_a_run_that_is_killed_and_run_again_gives_the_same(tmp_path):
    script = """
        import sys
        import sgforge as sg
        from tests.columns import toys
        dies_at = sys.argv[2] or None
        steps = sg.edit(toys.Filler(dies_at=dies_at), batch_size=1), sg.caption(toys.Captioner())
        sg.Pipeline(*steps).run(toys.Source(), sys.argv[1], progress=False)
    """
    for name, dies_at in (("once", ""), ("killed", "i3")):
        command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / name)]
        if dies_at:
            assert subprocess.run([*command, dies_at], check=False).returncode == -signal.SIGKILL
        subprocess.run([*command, ""], check=True)
    once, killed = sg.Dataset.open(tmp_path / "once"), sg.Dataset.open(tmp_path / "killed")
    assert [dump_sample(sample) for sample in once] == [dump_sample(sample) for sample in killed]
    for path in ("image/toy.half", "region/toy.wide", "relation/toy.long"):
        np.testing.assert_array_equal(once.column(path).values, killed.column(path).values)


@attrs.frozen
class _Words:
    words: str = ""


class Known(toys.Captioner):
    """A captioner that a later run recognises."""

    revision = 1

    @property
    def options(self):
        return _Words(self.words)


def test_a_captioner_is_swapped_for_another(tmp_path):
    filler = sg.edit(toys.Filler())
    run(tmp_path / "d", sg.caption(Known("first")), filler)
    first = sg.Dataset.open(tmp_path / "d")
    report = run(tmp_path / "d", sg.caption(Known("second")), filler)
    assert {step.name: (step.counts.computed, step.counts.reused) for step in report.steps}["caption"] == (6, 0)
    second = sg.Dataset.open(tmp_path / "d")
    assert {sample.values["caption"].text for sample in second} == {"second"}
    report = run(tmp_path / "d", sg.caption(Known("first")), filler)
    assert {step.name: (step.counts.computed, step.counts.reused) for step in report.steps}["caption"] == (0, 6)
    diff = first.diff(second)
    assert diff.counts["images_changed"] == 6
    assert {tuple(change.fields) for image in diff.images for change in image.changed} == {("caption",)}


class KnownFiller(toys.Filler):
    """An editor that a later run recognises."""

    options = _Words()


def test_a_step_of_a_later_run_sees_the_values_of_a_state_that_is_known(tmp_path):
    class Reader:
        seen: ClassVar[dict] = {}

        def filter(self, samples):
            self.seen |= {one.image_id: (one.values, one.region_values, one.relation_values) for one in samples}
            return [sg.Edit() for _ in samples]

    run(tmp_path / "d", sg.edit(KnownFiller()))
    report = run(tmp_path / "d", sg.edit(KnownFiller()), sg.filter(Reader()))
    assert [step.counts.computed for step in report.steps] == [0, 0, 6]
    for number in range(6):
        image, region, relation = expected(number)
        values, of_regions, of_relations = Reader.seen[f"i{number}"]
        assert plain(values) == {name: value for name, value in image.items() if name.startswith("toy.")}
        assert {name: plain(rows) for name, rows in of_regions.items()} == region
        assert {name: plain(rows) for name, rows in of_relations.items()} == relation


def test_one_photo_under_two_ids_is_captioned_once_and_later_steps_see_it_of_the_other(tmp_path):
    class Reader:
        seen: ClassVar[dict] = {}

        def filter(self, samples):
            self.seen |= {one.image_id: one.values["caption"].text for one in samples}
            return [sg.Edit() for _ in samples]

    sources = {}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").write_bytes(pictures.picture(0, 9))
        sources[name] = sg.source("folder", images=str(tmp_path / name))
    steps = sg.caption(Known("a cät on a mat")), sg.filter(Reader(), on={"source": "b"})
    report = sg.Pipeline(*steps).run(sources, tmp_path / "d", progress=False)
    assert (report.step("caption").counts.computed, report.step("caption").counts.reused) == (1, 1)
    assert Reader.seen == {"b.png": "a cät on a mat"}
    texts = [one.values["caption"].text for one in sg.Dataset.open(tmp_path / "d")]
    assert texts == ["a cät on a mat"] * 2


def test_one_more_image_computes_one_and_takes_the_values_of_the_others(tmp_path):
    run(tmp_path / "d", sg.caption(Known("a cät on a mat")))
    report = run(tmp_path / "d", sg.caption(Known("a cät on a mat")), count=7)
    assert {step.name: (step.counts.computed, step.counts.reused) for step in report.steps}["caption"] == (1, 6)
    found = [(sample.image_id, sample.values["caption"].text) for sample in sg.Dataset.open(tmp_path / "d")]
    assert found == [(f"i{number}", "a cät on a mat") for number in range(7)]


def test_diff_and_stats_tell_of_values(tmp_path, capsys):
    run(tmp_path / "d", sg.edit(toys.Filler()))
    first = sg.Dataset.open(tmp_path / "d")
    run(tmp_path / "d", sg.edit(toys.Filler(scale=2)))
    second = sg.Dataset.open(tmp_path / "d")
    diff = first.diff(second)
    # Image i0 has the same values with any scale; of the others each of six columns differs.
    assert diff.counts["values_changed"] == 5 * 6
    changed = {change.table: change for change in diff.images[0].changed}
    assert changed["image values"].fields["toy.text"] == ("日本 1", "日本 2")
    assert changed["relation values"].fields["toy.long"] == ([2**40 + 1, -1], [2**40 + 2, -1])
    assert first.stats().values == {
        "image": {"toy.given": 3, "toy.half": 6, "toy.text": 6},
        "region": {"toy.byte": 6, "toy.json": 6, "toy.wide": 6},
        "relation": {"toy.long": 6},
    }
    assert main(["stats", str(tmp_path / "d")]) == 0
    assert "toy.wide 6" in capsys.readouterr().out
    assert main(["diff", f"{tmp_path / 'd'}@{first.snapshot.id}", f"@{second.snapshot.id}"]) == 0
    assert "toy.text 日本 1 -> 日本 2" in capsys.readouterr().out


def test_texts_and_json_go_out_to_jsonl_and_back(tmp_path):
    dataset = whole(tmp_path / "d")
    lines = b"".join(dump_sample(sample) for sample in dataset)
    first = json.loads(lines.splitlines()[1])
    assert first["x"]["caption"] == {"spans": [[2, 5, 0]], "text": "a cät on a mat"}
    assert first["x"]["toy.given"] == "nöte 1"
    assert "toy.half" not in first["x"]
    assert first["regions"][1]["x"] == {"toy.json": {"a": 1, "b": [1, None, "x"]}}
    (tmp_path / "lines.jsonl").write_bytes(lines)
    assert b"".join(dump_sample(sample) for sample in read_jsonl(tmp_path / "lines.jsonl")) == lines
    assert main(["import", str(tmp_path / "lines.jsonl"), str(tmp_path / "again")]) == 0
    again = sg.Dataset.open(tmp_path / "again")
    assert b"".join(dump_sample(sample) for sample in again) == lines
    assert verify_dataset(tmp_path / "again").problems == []


@pytest.mark.parametrize(
    ("x", "told"),
    [
        ({"caption": {"text": ""}}, "non-empty text"),
        ({"questions": [{"kind": "a", "text": "b", "dependencies": [4]}]}, "depends on"),
        ({"Bad Name": 1}, "plugin.name"),
        ({"group": 3}, "takes no JSON value"),
        ([], "must be an object"),
    ],
)
def test_a_line_with_values_that_are_none_is_refused(tmp_path, x, told, capsys):
    line = {"image_id": "a", "width": 0, "height": 0, "regions": [], "x": x}
    (tmp_path / "bad.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(sg.SgforgeError, match=told):
        list(read_jsonl(tmp_path / "bad.jsonl"))
    assert main(["import", str(tmp_path / "bad.jsonl"), str(tmp_path / "d")]) == 1
    assert told in capsys.readouterr().err


class Intruder:
    """Fills a column that it did not declare."""

    columns = (Column("region", "toy.mine", "u1"),)

    def __init__(self, edit: sg.Edit) -> None:
        self.answer = edit

    def caption(self, samples):
        return [self.answer for _ in samples]


@pytest.mark.parametrize(
    ("edit", "reason", "told"),
    [
        (sg.Edit.value("region", 0, "toy.other", 1), "role", "not column 'toy.other' of regions"),
        (sg.Edit.value("image", None, "questions", ()), "role", "not column 'questions'"),
        (sg.Edit.value("region", 0, "toy.mine", 256), "contract", "that u1 can hold"),
        (sg.Edit.value("region", 0, "toy.mine", [1]), "contract", "shape"),
        (sg.Edit.value("region", 2, "toy.mine", 1), "contract", "region 2 does not exist"),
        (sg.Edit.value("image", None, "caption", "text"), "contract", "a caption is a Caption"),
    ],
)
def test_a_step_fills_its_own_columns_with_what_they_take(tmp_path, edit, reason, told):
    report = run(tmp_path / "d", sg.caption(Intruder(edit)))
    assert {failure.reason for failure in report.failures} == {reason}
    assert told in report.failures[0].detail


def test_a_column_keeps_its_type(tmp_path):
    class Other(Intruder):
        columns = (Column("region", "toy.mine", "f4", (2,)),)

    mine = sg.caption(Intruder(sg.Edit.value("region", 0, "toy.mine", 7)), name="mine")
    other = sg.caption(Other(sg.Edit.value("region", 0, "toy.mine", [1, 2])), name="other")
    with pytest.raises(sg.SgforgeError, match=r"column 'toy\.mine' \(u1\).* column 'toy\.mine' \(f4 2\)"):
        run(tmp_path / "d", mine, other)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"values": {"toy.number": np.float32(1)}}, "column 'toy.number' of images was not declared by its source"),
        (
            {"region_values": {"toy.number": {0: NumberArray("u1", (), b"7")}}},
            "column 'toy.number' of regions was not declared by its source",
        ),
        ({"values": {"toy.map": FileRef("ab" * 32, 7)}}, "a source makes no files"),
        ({"region_values": {"toy.text": {1: "fine", 2: "x"}}}, "region 2 does not exist"),
        ({"values": {"caption": "a text"}}, "a caption is a Caption"),
    ],
)
def test_what_a_source_may_not_bring_fails_its_image_alone(tmp_path, values, told):
    class Wrong(toys.Source):
        def samples(self, roots, name):
            for sample in super().samples(roots, name):
                yield attrs.evolve(sample, **values) if sample.image_id == "i2" else sample

    report = sg.Pipeline(sg.caption(toys.Captioner())).run(Wrong(), tmp_path / "d", progress=False)
    assert [(one.image_id, one.reason) for one in report.failures] == [("i2", "annotation")]
    assert told in report.failures[0].detail
    assert len(sg.Dataset.open(tmp_path / "d")) == 5


def test_values_of_a_source_count_in_the_key_of_an_image_where_there_are_any(tmp_path):
    class Plain(toys.Source):
        def samples(self, roots, name):
            return (attrs.evolve(sample, values={}) for sample in super().samples(roots, name))

    class Other(toys.Source):
        def samples(self, roots, name):
            given = {"toy.given": "other"}
            return (attrs.evolve(one, values=given if one.has_values else {}) for one in super().samples(roots, name))

    def keys(source, name):
        sg.Pipeline(sg.segment(toys.Segmenter())).run(source, tmp_path / name, progress=False)
        snapshot = sg.Dataset.open(tmp_path / name).snapshot
        parent = sg.Snapshot.open(snapshot.path.parent / snapshot.meta.parents[0])
        return [key.tobytes() for key in parent.keys]

    given, plain, other = keys(toys.Source(), "given"), keys(Plain(), "plain"), keys(Other(), "other")
    # Every second image brings a value.
    assert [one == two for one, two in zip(given, plain, strict=True)] == [True, False] * 3
    assert [one == two for one, two in zip(given, other, strict=True)] == [True, False] * 3


def test_a_column_that_a_step_does_not_touch_is_not_read(tmp_path):
    """Nonsense is written over its bytes between two steps: who only links them does not notice."""
    dataset = whole(tmp_path / "d")
    chunks = [file for file in (dataset.snapshot.path / "region/toy.wide/values").rglob("c/*/*") if file.is_file()]
    chunks += [file for file in (dataset.snapshot.path / "region/toy.wide/values").rglob("c/**/*") if file.is_file()]
    assert chunks
    for chunk in set(chunks):
        chunk.chmod(0o644)
        chunk.write_bytes(b"\0" * chunk.stat().st_size)
    with DatasetWriter.open(tmp_path / "d") as writer:
        parent = writer.snapshot("main")
        keys = [bytes([number]) * 16 for number in range(len(parent))]
        edit = pack_edit(sg.Edit.reject(0, "dull"))
        writer.journal.put(
            [
                JournalRow(key=key, image_id=one, step="j", edit=edit)
                for key, one in zip(keys, parent.image_ids, strict=True)
            ]
        )
        made = writer.publish(StepRecord("j", "filter", "judge", "fp"), parent, keys)
    assert [row.status for row in sg.Snapshot.open(made.path).graph(0).all.relations] == ["rejected"]
    assert any("toy.wide" in problem for problem in verify_dataset(tmp_path / "d").problems)


class Sharing:
    """Images of which some share their values, as one object."""

    def samples(self, roots, name):
        shared, other = HeldValues({"toy.json": {"by": "x"}}), HeldValues({"toy.json": {"by": "y"}})
        for number, values in enumerate((shared, shared, other, shared, NO_VALUES, other, other)):
            yield Sample(f"i{number}", SceneGraph(0, 0, [Region("cat")]), split="train", values=values)


def test_values_that_images_share_are_those_of_each(tmp_path):
    assert sg.Pipeline().run(Sharing(), tmp_path / "d", progress=False).status == "done"
    found = [sample.values.get("toy.json", {}).get("by") for sample in sg.Dataset.open(tmp_path / "d")]
    assert found == ["x", "x", "y", "x", None, "y", "y"]
