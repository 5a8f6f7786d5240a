"""`copies` of a source: ids, groups, keys, splits; and the best of each group."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from PIL import Image

import sgforge as sg
from sgforge.cli.main import main
from sgforge.config import parse_config
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.engine.sources.reading import split_of
from sgforge.graph import Region, Sample, SceneGraph
from sgforge.jsonl import dump_sample
from sgforge.plugins import Owner, Registry, load_plugins
from tests.selection.toys import Captioner, Few, Source


def run(folder: Path, *steps: sg.Step, copies: int | None = 3, source=None, **arguments):
    return sg.Pipeline(*steps).run(sg.source(source or Source(3), copies=copies), folder, progress=False, **arguments)


def counts(report, name: str) -> tuple[int, int]:
    found = report.step(name).counts
    return found.computed, found.reused


def test_copies_have_ids_a_group_and_keys_of_their_own(tmp_path):
    run(tmp_path / "d", sg.caption(Captioner()))
    dataset = sg.Dataset.open(tmp_path / "d")
    assert [(one.image_id, one.values["group"], one.copy) for one in dataset] == [
        (f"i{number}~{copy}", f"i{number}", copy) for number in range(3) for copy in range(3)
    ]
    assert len({key.tobytes() for key in dataset.snapshot.keys}) == 9
    # Each is asked about for itself, and sees that it is one of a group.
    assert [one.values["caption"].text for one in dataset] == [f"{copy} ['group']" for copy in range(3)] * 3
    assert verify_dataset(tmp_path / "d").problems == []


def test_more_copies_leave_those_that_there_are(tmp_path):
    run(tmp_path / "d", sg.caption(Captioner()))
    report = run(tmp_path / "d", sg.caption(Captioner()), copies=5)
    assert (counts(report, "source"), counts(report, "caption")) == ((6, 9), (6, 9))
    report = run(tmp_path / "d", sg.caption(Captioner()), copies=None)
    assert (counts(report, "source"), counts(report, "caption")) == ((3, 0), (3, 0))
    one = run(tmp_path / "e", sg.caption(Captioner()), copies=1)
    assert [one.image_id for one in sg.Dataset.open(one.dataset)] == ["i0~0", "i1~0", "i2~0"]


def test_equal_graphs_of_two_names_are_two_groups(tmp_path):
    class Twins(Source):
        def samples(self, roots, name):
            return (Sample(image_id, SceneGraph(0, 0, [Region("cat")]), split="train") for image_id in "ab")

    run(tmp_path / "d", sg.caption(Captioner()), source=Twins(), copies=2)
    found = [(one.image_id, one.values["group"]) for one in sg.Dataset.open(tmp_path / "d")]
    assert found == [("a~0", "a"), ("a~1", "a"), ("b~0", "b"), ("b~1", "b")]


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"p{number:02}.png")
    return folder


def test_a_group_stays_in_one_split_which_is_that_of_its_photo(tmp_path):
    folder = pictures(tmp_path / "photos", 30)
    sources = sg.source("folder", images=str(folder)), sg.source("folder", images=str(folder), copies=4)
    found = []
    for name, source in zip("ab", sources, strict=True):
        sg.Pipeline(sg.caption(Captioner())).run(source, tmp_path / name, progress=False)
        found.append({one.image_id: one.split for one in sg.Dataset.open(tmp_path / name)})
    alone, copied = found
    assert set(alone.values()) == {"train", "val"}
    assert copied == {f"{image_id}~{copy}": split for image_id, split in alone.items() for copy in range(4)}


def test_without_a_photo_the_name_of_the_group_decides(tmp_path):
    run(tmp_path / "d", sg.caption(Captioner()), source=Source(30, split=None), copies=2)
    dataset = sg.Dataset.open(tmp_path / "d")
    assert {one.image_id: one.split for one in dataset} == {
        f"i{number}~{copy}": split_of(None, f"i{number}") for number in range(30) for copy in range(2)
    }
    assert {one.split for one in dataset} == {"train", "val"}
    # Read back without splits, they stay together.
    lines = [json.loads(dump_sample(one)) for one in dataset]
    (tmp_path / "lines.jsonl").write_text("".join(f"{json.dumps({**line, 'split': None})}\n" for line in lines))
    again = sg.source("jsonl", graphs=str(tmp_path / "lines.jsonl"))
    sg.Pipeline(sg.caption(Captioner())).run(again, tmp_path / "again", progress=False)
    again = sg.Dataset.open(tmp_path / "again")
    assert {one.image_id: (one.split, one.values["group"]) for one in again} == {
        one.image_id: (one.split, one.values["group"]) for one in dataset
    }


def test_a_limit_counts_images_and_leaves_groups_whole(tmp_path):
    run(tmp_path / "d", sg.caption(Captioner()), limit=2)
    assert [one.image_id for one in sg.Dataset.open(tmp_path / "d")] == [f"i{n}~{copy}" for n in "01" for copy in "012"]


def test_an_image_that_cannot_be_read_is_told_once_and_a_source_that_has_not_changed_is_not_read(tmp_path, monkeypatch):
    folder = pictures(tmp_path / "photos", 3)
    (folder / "bad.png").write_bytes(b"no picture")
    source = sg.source("folder", images=str(folder), copies=2)
    report = sg.Pipeline(sg.caption(Captioner())).run(source, tmp_path / "d", progress=False)
    assert [failure.image_id for failure in report.failures] == ["bad.png"]
    assert report.step("source").counts.computed == 6

    folder_source = load_plugins().lookup("source", "folder").load()

    def read(self, roots, name):
        raise AssertionError("it was read")

    monkeypatch.setattr(folder_source, "samples", read)
    again = sg.Pipeline(sg.caption(Captioner())).run(source, tmp_path / "d", progress=False)
    assert (counts(again, "source"), counts(again, "caption")) == ((0, 6), (0, 6))
    monkeypatch.undo()
    other = sg.source("folder", images=str(folder), copies=3)
    more = sg.Pipeline(sg.caption(Captioner())).run(other, tmp_path / "d", progress=False)
    assert counts(more, "caption") == (3, 6)


CONFIG = """
dataset = "d"
[source]
use = "folder"
images = "photos"
copies = {copies}
[[step]]
segment = "regions"
"""


def test_a_config_says_it_and_what_it_cannot_be_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 2)
    (tmp_path / "p.toml").write_text(CONFIG.format(copies=2))
    assert parse_config(CONFIG.format(copies=2)).sources["source"].copies == 2
    assert main(["check", "p.toml"]) == 0
    assert '(images = "photos"), 2 copies of each image' in capsys.readouterr().out
    assert main(["plan", "p.toml"]) == 0
    assert "4 images" in capsys.readouterr().out
    assert main(["run", "p.toml"]) == 0
    dataset = sg.Dataset.open(tmp_path / "d")
    assert [one.image_id for one in dataset] == ["p00.png~0", "p00.png~1", "p01.png~0", "p01.png~1"]
    assert json.loads(dataset.snapshot.provenance.runs[0].config_json)["sources"]["source"]["copies"] == 2
    capsys.readouterr()
    for wrong, told in (("0", "must be 1 or more, not 0"), ('"two"', "copies"), ("true", "copies")):
        (tmp_path / "p.toml").write_text(CONFIG.format(copies=wrong))
        assert main(["check", "p.toml"]) == 2
        error = capsys.readouterr().err
        assert "p.toml:6" in error
        assert told in error
    with pytest.raises(sg.SgforgeError, match="copies must be a whole number from 1, not 0"):
        sg.source("folder", copies=0)


def test_no_source_has_an_option_of_that_name():
    @attrs.frozen
    class Options:
        copies: int = 1

    class Plugin:
        @sg.hookimpl
        def sgforge_register_sources(self, register):
            register("odd", Source, config=Options)

    report = Registry().add(Plugin(), Owner("odd"))
    assert "option 'copies' of Options is a reserved key of a source: rename it" in report.problems[0]


def chosen(folder: Path) -> dict[str, object]:
    dataset = sg.Dataset.open(folder)
    dropped = dataset.snapshot.column("image/dropped").tolist()
    return {
        one.image_id: "dropped" if gone >= 0 else one.values.get("chosen")
        for one, gone in zip(dataset, dropped, strict=True)
    }


class Varied:
    """An editor: takes from copy n the last n relations, so that the copies of a graph differ."""

    def edit(self, samples):
        return [self._edit(sample) for sample in samples]

    def _edit(self, sample):
        count = len(sample.graph.all.relations)
        return sg.Edit.add(*(sg.Relation(1, f"under {row}", 0) for row in range((sample.copy + count) % 3)))


def test_the_best_of_each_group_by_a_reward(tmp_path):
    steps = sg.edit(Varied()), sg.select("best-of", rewards=[sg.use(Few())])
    report = run(tmp_path / "d", *steps)
    # Graphs i0, i1, i2 have 0, 1, 2 relations; copy n of i0 gets 0, 1, 2 more, of i1 1, 2, 0, of i2 2, 0, 1. An empty
    # one cannot be scored.
    assert [(one.image_id, one.reason) for one in report.failures] == [("i0~0", "empty")]
    assert chosen(tmp_path / "d") == {
        "i0~0": None,
        "i0~1": {"chosen": True, "credit": 1 / 2, "rank": 1, "of": 2},
        "i0~2": "dropped",
        "i1~0": "dropped",
        "i1~1": "dropped",
        "i1~2": {"chosen": True, "credit": 1 / 2, "rank": 1, "of": 3},
        "i2~0": "dropped",
        "i2~1": {"chosen": True, "credit": 1 / 3, "rank": 1, "of": 3},
        "i2~2": "dropped",
    }


def test_the_others_may_stay_with_their_rank(tmp_path):
    steps = sg.edit(Varied()), sg.select("best-of", rewards=[sg.use(Few())], keep=2, others="keep")
    run(tmp_path / "d", *steps)
    found = chosen(tmp_path / "d")
    assert {name: (one["chosen"], one["rank"]) for name, one in found.items() if name.startswith("i1")} == {
        "i1~0": (True, 2),
        "i1~1": (False, 3),
        "i1~2": (True, 1),
    }
    # The one image of its group that can be judged, and of equal ones the first by id.
    assert found["i0~1"]["rank"] == 1


def test_equal_credits_go_by_the_id_and_an_image_without_a_group_is_its_own(tmp_path):
    class Same(Few):
        def _one(self, graph):
            return sg.stages.Credit(0.5)

    run(tmp_path / "d", sg.select("best-of", rewards=[sg.use(Same())]))
    assert [name for name, one in chosen(tmp_path / "d").items() if one != "dropped"] == ["i0~0", "i1~0", "i2~0"]
    run(tmp_path / "e", sg.select("best-of", rewards=[sg.use(Same())]), copies=None)
    assert [one["of"] for one in chosen(tmp_path / "e").values()] == [1, 1, 1]


@pytest.mark.parametrize(("fraction", "kept"), [(0.5, 5), (0.7, 7), (0.01, 1), (0.55, 6), (1.0, 10)])
def test_the_best_fraction_of_all(tmp_path, fraction, kept):
    step = sg.select("top-fraction", rewards=[sg.use(Few())], fraction=fraction)
    report = run(tmp_path / "d", step, copies=None, source=Source(11))
    # Image 0 has no relation to judge by; of the others those with few are the best.
    assert [one.image_id for one in report.failures] == ["i0"]
    found = chosen(tmp_path / "d")
    left = [name for name, one in found.items() if isinstance(one, dict)]
    assert sorted(left, key=lambda name: int(name[1:])) == [f"i{number}" for number in range(1, kept + 1)]
    assert found["i1"] == {"chosen": True, "credit": 0.5, "rank": 1, "of": 10}


def test_what_a_selector_by_rewards_cannot_take_is_told(tmp_path):
    with pytest.raises(sg.SgforgeError, match="fraction"):
        run(tmp_path / "d", sg.select("top-fraction", rewards=[sg.use(Few())], fraction=0.0))
    with pytest.raises(sg.SgforgeError, match="rewards: missing"):
        run(tmp_path / "d", sg.select("best-of"))
    with pytest.raises(sg.SgforgeError, match="rewards: must name at least one component"):
        run(tmp_path / "d", sg.select("best-of", rewards=[]))
