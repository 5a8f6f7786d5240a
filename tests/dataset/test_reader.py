"""Reading a dataset: samples, columns, filters, history, differences and counts, worked out by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dataset.given import key_of
from dataset.made import FILTER, TEACHER, make_dataset, three_samples
from support.waiting import LONGEST

from sgforge.cli.main import main
from sgforge.dataset import Dataset, DatasetWriter, Snapshot
from sgforge.dataset.queries.diff import Diff, ImageDiff, RowChange, diff_snapshots
from sgforge.errors import DatasetError, ImageError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.images import Roots


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "dataset"
    make_dataset(path)
    return path


def test_samples_by_order_and_by_id(folder):
    dataset = Dataset.open(folder)
    assert len(dataset) == 3
    assert [sample.image_id for sample in dataset] == ["a", "b", "c"]
    assert dataset["b"] == list(dataset)[1]
    assert "c" in dataset
    assert "d" not in dataset
    with pytest.raises(DatasetError, match="no image 'd'"):
        dataset["d"]
    source = Dataset.open(folder, dataset.log()[-1].snapshot_id)
    assert list(source) == three_samples()


def test_roots_open_the_pixels(folder, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    dataset = Dataset.open(folder, roots=Roots({"coco": tmp_path}))
    assert dataset["a"].image.read_bytes() == b"x"
    assert Dataset.open(folder, roots={"coco": tmp_path})["a"].image.read_bytes() == b"x"
    with pytest.raises(ImageError, match=r"no root 'coco' .*in Python with roots="):
        Dataset.open(folder)["a"].image.read_bytes()


def test_columns_and_vocabularies(folder):
    dataset = Dataset.open(folder)
    assert dataset.vocabulary("predicate") == ("left of", "next to", "on", "under", "wearing")
    assert dataset.column("relation/predicate").tolist() == [4, 1, 0, 2, 3]
    assert dataset.column("relation/status").tolist() == [0, 0, 1, 0, 0]
    assert dataset.column("region/mask_crop").tolist()[0] == [10, 10, 4, 2]
    assert dataset.column("image/id").texts() == ["a", "b", "c"]
    assert dataset.column("region/description").values.texts() == ["a tall man"]
    with pytest.raises(DatasetError, match="region/box"):
        dataset.column("region/boxes")
    with pytest.raises(DatasetError, match="no vocabulary"):
        dataset.vocabulary("predicates")


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, 4), (4, 4)])
def test_rows_that_are_not_there_are_refused(folder, start, stop):
    with pytest.raises(DatasetError, match=f"rows {start} to {stop} of 3 images"):
        Dataset.open(folder).snapshot.between(start, stop)


def test_pick_reads_the_same_as_whole_columns(folder):
    snapshot = Dataset.open(folder).snapshot
    whole = snapshot.columns()
    for row in range(3):
        part = whole.gather([row])
        crop, predicate, description = snapshot.pick(
            row, ["region/mask_crop", "relation/predicate", "region/description"]
        )
        assert crop.tolist() == part.region.mask_crop.tolist()
        assert predicate.tolist() == part.relation.predicate.tolist()
        assert description.equals(part.region.description)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"predicate": "wearing"}, ["a"]),
        ({"predicate": "flying"}, []),
        ({"label": "cup"}, ["b"]),
        ({"category": "spatial"}, ["a", "b"]),
        ({"category": "functional"}, ["a"]),
        ({"step": "complete"}, ["a", "b"]),
        ({"step": "spatial-rules"}, ["a", "b"]),
        ({"step": "source", "label": "cup"}, ["b"]),
        ({"step": "source", "predicate": "wearing"}, ["a"]),
        ({"step": "source", "predicate": "next to"}, []),
        ({"step": "source"}, ["a", "b"]),
        ({"model": "fake/one"}, ["a", "b"]),
        ({"model": "fake/one", "step": "complete"}, ["a", "b"]),
        ({"model": "fake/one", "step": "spatial-rules"}, []),
        ({"model": "fake/one", "reason": "empty"}, []),
        ({"step": "complete", "reason": "empty"}, []),
        ({"predicate": "left of", "category": "functional"}, []),
        ({"model": "fake/two"}, []),
        ({"reason": "left-right"}, ["a"]),
        ({"reason": "empty"}, ["c"]),
        ({"reason": "timeout"}, ["b"]),
        ({"predicate": "left of", "reason": "left-right"}, ["a"]),
        ({"predicate": "next to", "reason": "left-right"}, []),
        ({"predicate": "next to", "step": "spatial-rules"}, ["a"]),
        ({"predicate": "on", "step": "spatial-rules"}, []),
        ({"label": "man", "predicate": "wearing"}, ["a"]),
        ({"label": "cup", "predicate": "wearing"}, []),
        ({}, ["a", "b", "c"]),
    ],
)
def test_filter(folder, wanted, ids):
    assert Dataset.open(folder).filter(**wanted) == ids


def test_an_unknown_category_is_an_error(folder):
    with pytest.raises(DatasetError, match="spatial"):
        Dataset.open(folder).filter(category="spacial")


def _descendants(folder: Path, count: int) -> str:
    """Snapshots without arrays that came from branch main one after the other; the id of the newest."""
    newest = Dataset.open(folder).snapshot
    description = json.loads((newest.path / "zarr.json").read_text())
    stated, parent = description["attributes"]["sgforge"], newest.id
    for number in range(count):
        name = f"{number + 1:012x}{0:020x}"
        stated |= {"snapshot": name, "parents": [parent], "arrays": {}}
        place = newest.path.with_name(name)
        place.mkdir()
        (place / "zarr.json").write_text(json.dumps(description))
        parent = name
    return parent


def test_a_history_has_no_longest(tmp_path, capsys):
    make_dataset(tmp_path)
    newest = _descendants(tmp_path, 10_050)
    assert main(["log", f"{tmp_path}@{newest}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:12] for line in lines[:-3]] == [f"{number:012x}" for number in range(10_050, 0, -1)]
    assert [line.split()[2] for line in lines[-3:]] == ["filter", "complete", "source:"]


def test_snapshots_that_came_from_each_other_are_damage(tmp_path):
    make_dataset(tmp_path)
    newest = _descendants(tmp_path, 3)
    oldest = tmp_path / "snapshots" / f"{1:012x}{0:020x}" / "zarr.json"
    description = json.loads(oldest.read_text())
    description["attributes"]["sgforge"]["parents"] = [newest]
    oldest.write_text(json.dumps(description))
    with pytest.raises(DatasetError, match=r"0000/zarr\.json names a parent that came from it"):
        Dataset.open(tmp_path, newest).log()


def test_log_names_steps_from_the_newest(folder):
    history = Dataset.open(folder).log()
    assert [meta.step.name for meta in history] == ["spatial-rules", "complete", "source"]
    assert history[0].step == FILTER
    assert history[1].step == TEACHER
    assert history[0].parents == (history[1].snapshot_id,)
    assert history[2].parents == ()
    assert history[0].counts == {"images": 3, "regions": 5, "relations": 5}


def test_provenance_leads_from_an_image_to_its_calls_and_runs(folder):
    provenance = Dataset.open(folder).snapshot.provenance
    assert [(call.call_id, call.step, call.run_id) for call in provenance.of_image(0)] == [
        ("call-complete-a", "complete", "run-1"),
        ("call-spatial-rules-a", "spatial-rules", "run-1"),
    ]
    assert [call.step for call in provenance.of_image(1)] == ["complete"]
    assert provenance.runs[0].config_json == '{"seed":1}'
    assert provenance.runs[0].versions == {"sgforge": "0.1.0"}


def test_diff_says_what_changed_and_only_that(folder):
    dataset = Dataset.open(folder)
    history = [Dataset.open(folder, meta.snapshot_id) for meta in reversed(dataset.log())]
    first = history[0].diff(history[1])
    assert [(image.image_id, image.relations_added) for image in first.images] == [
        ("a", ("man(0) next to dog(2)", "dog(2) left of man(0)")),
        ("b", ("cup(0) on table(1)", "table(1) under cup(0)")),
    ]
    assert first.counts["images_changed"] == 2
    assert first.counts["relations_added"] == 4
    assert first.counts["relations_changed"] == 0
    second = history[1].diff(history[2])
    changes = [(change.index, change.fields["judged_by"][1]) for change in second.images[0].changed]
    assert changes == [(1, "spatial-rules"), (2, "spatial-rules")]
    assert second.images[0].changed[1].fields["status"] == ("kept", "rejected")
    assert second.counts["relations_rejected"] == 1
    marks = [(image.image_id, image.changed[0].fields) for image in second.images[1:]]
    assert marks == [("b", {"failed": (None, "timeout at spatial-rules")}), ("c", {"dropped": (None, "empty")})]
    back = history[2].diff(history[1])
    assert back.counts["relations_restored"] == 1
    assert history[1].diff(history[0]).counts["relations_removed"] == 4
    assert dataset.diff(dataset).images == ()


def test_another_pair_of_regions_is_another_relation(tmp_path):
    """Rows are compared by index, which holds within a lineage; these two are of different ones."""
    opened = []
    for number, relation in enumerate((Relation(0, "on", 1), Relation(1, "on", 0))):
        graph = SceneGraph(9, 9, [Region("cup"), Region("tray")], [relation, Relation(0, "near", 1)])
        with DatasetWriter.open(tmp_path / str(number)) as writer:
            opened.append(writer.publish_source([Sample("a", graph)], [key_of(f"a{number}")]))
    diff = diff_snapshots(*opened)
    (image,) = diff.images
    assert image.relations_removed == ("cup(0) on tray(1)",)
    assert image.relations_added == ("tray(1) on cup(0)",)
    assert image.changed == ()


def test_a_region_that_is_rejected_is_no_rejected_relation():
    verdict = {"status": ("kept", "rejected")}
    changes = (RowChange("region", 0, "cup(0)", verdict), RowChange("relation", 3, "cup(0) on table(1)", verdict))
    counts = Diff("1", "2", (ImageDiff("a", "changed", changed=changes),)).counts
    assert counts["regions_changed"] == counts["relations_changed"] == counts["relations_rejected"] == 1
    assert counts["relations_restored"] == 0


def test_stats_by_hand(folder):
    stats = Dataset.open(folder).stats()
    assert (stats.images, stats.regions, stats.relations) == (3, 5, 4)
    assert (stats.regions_rejected, stats.relations_rejected) == (0, 1)
    assert stats.failed == {"timeout": 1}
    assert stats.dropped == {"empty": 1}
    assert stats.regions_per_image == pytest.approx(5 / 3)
    assert stats.relations_per_image == pytest.approx(4 / 3)
    # a: 3 regions, 6 ordered pairs; b: 2 regions, 2 pairs.
    assert stats.density == pytest.approx(4 / 8)
    # Subjects of kept relations: man (wearing, next to), cup (on), table (under).
    assert stats.predicates_per_region == pytest.approx(4 / 3)
    assert (stats.labels, stats.predicates) == (5, 4)
    assert (stats.regions_with_mask, stats.regions_with_description) == (1, 1)
    assert {name: count for name, count in stats.categories.items() if count} == {"spatial": 3, "functional": 1}
    assert stats.made_by == {"region": {"source": 5}, "relation": {"source": 1, "complete": 4}}
    assert stats.verdicts == {"region": {}, "relation": {"spatial-rules": {"left-right": 1}}}
    (effect,) = stats.filters
    assert effect.step == "spatial-rules"
    assert [(part.regions, part.relations) for part in (effect.before, effect.after)] == [(5, 5), (5, 4)]
    assert effect.before.categories["spatial"] == pytest.approx(4 / 5)
    assert effect.after.categories["spatial"] == pytest.approx(3 / 4)
    assert effect.before.relations_per_image == pytest.approx(5 / 3)
    assert effect.before.relations_per_region == pytest.approx(5 / 5)
    # The rejected relation is the dog's only one.
    assert effect.before.predicates_per_region == pytest.approx(5 / 4)
    assert effect.after.predicates_per_region == pytest.approx(4 / 3)


def test_refs_resolve_by_branch_tag_and_start_of_an_id(folder):
    full = Dataset.open(folder).snapshot.id
    assert Dataset.open(folder, full).snapshot.id == full
    assert Dataset.open(folder, full[:8]).snapshot.id == full
    for ref in ("nope", "../../etc", full[:3], "g" * 32, "heads/main", ""):
        with pytest.raises(DatasetError, match=r"known: main|no branch"):
            Dataset.open(folder, ref)


def test_what_is_not_there_is_told_with_what_is(folder, tmp_path):
    dataset = Dataset.open(folder)
    with pytest.raises(
        DatasetError, match=rf"has no image 'zebra'; its ids read like '{dataset.snapshot.image_ids[0]}'"
    ):
        dataset["zebra"]
    file = tmp_path / "file"
    file.write_text("no dataset")
    with pytest.raises(DatasetError, match="file is no sgforge dataset"):
        Dataset.open(file)


def test_a_dataset_shows_what_it_is(folder):
    dataset = Dataset.open(folder)
    step, count = dataset.log()[0].step.name, len(list(dataset))
    assert repr(dataset).endswith(f"snapshot {dataset.snapshot.id[:12]} of step {step}, {count} images>")


def test_a_folder_without_write_permission_is_read_whole(folder, tmp_path):
    """In a child without root's rights: any attempt to write would fail."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for path in (*copy.rglob("*"), copy):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in (copy, *copy.parents):
        if parent.stat().st_mode & 0o005 != 0o005 and os.access(parent, os.W_OK):
            parent.chmod(parent.stat().st_mode | 0o055)
    script = (
        "import os, sys\n"
        "sys.path[:0] = [path for path in sys.argv[2:]]\n"
        "from sgforge.dataset import Dataset\n"
        "from sgforge.dataset.maintenance.verification import verify_dataset\n"
        "import sgforge.columns, sgforge.dataset.reader, sgforge.packed\n"
        "if os.getuid() == 0:\n"
        "    os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    open(os.path.join(sys.argv[1], 'probe'), 'w')\n"
        "except OSError:\n"
        "    pass\n"
        "else:\n"
        "    sys.exit(3)\n"
        "dataset = Dataset.open(sys.argv[1])\n"
        "assert len(list(dataset)) == 3 and dataset.stats().images == 3\n"
        "assert dataset.log() and dataset.filter(step='complete')\n"
        "problems = verify_dataset(sys.argv[1]).problems\n"
        "assert not problems, problems\n"
    )
    command = [sys.executable, "-c", script, str(copy), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in copy.iterdir()) == sorted(path.name for path in folder.iterdir())


def _damage_meta(folder, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = Dataset.open(copy).snapshot.path
    file = path / "zarr.json"
    meta = json.loads(file.read_text())
    change(meta["attributes"]["sgforge"])
    file.chmod(0o644)
    file.write_text(json.dumps(meta))
    return path


def test_an_unknown_major_schema_is_refused_and_a_minor_one_read(folder, tmp_path):
    path = _damage_meta(folder, tmp_path / "1", lambda stated: stated.update(schema="3.0"))
    with pytest.raises(DatasetError, match="newer sgforge"):
        Snapshot.open(path)
    path = _damage_meta(folder, tmp_path / "2", lambda stated: stated.update(schema="2.7", news=[1]))
    assert len(list(Snapshot.open(path))) == 3
    copy = tmp_path / "3"
    shutil.copytree(folder, copy)
    (copy / "sgforge.json").write_text('{"format": "sgforge-dataset", "schema": "9.1"}')
    with pytest.raises(DatasetError, match="newer sgforge"):
        Dataset.open(copy)


def test_a_folder_of_an_older_schema_is_refused_with_the_way_out(folder, tmp_path):
    copy = tmp_path / "old"
    shutil.copytree(folder, copy)
    (copy / "sgforge.json").write_text('{"format": "sgforge-dataset", "schema": "1.0"}')
    for opened in (Dataset.open, DatasetWriter.open):
        with pytest.raises(DatasetError, match=r"schema '1\.0'; .* run its pipeline again into a new folder"):
            opened(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda stated: stated["parents"].__setitem__(0, "../../../../etc"),
        lambda stated: stated["parents"].__setitem__(0, "/etc"),
    ],
)
def test_a_parent_that_is_a_path_is_never_followed(folder, tmp_path, change):
    path = _damage_meta(folder, tmp_path, change)
    with pytest.raises(DatasetError, match="no snapshot id"):
        Dataset.open(path.parent.parent).log()


@pytest.mark.parametrize("content", ["../../../../etc\n", "/etc/passwd", "", "0" * 31, "é" * 32])
def test_a_ref_that_is_no_id_is_refused(folder, tmp_path, content):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "refs/heads/main").write_text(content)
    with pytest.raises(DatasetError, match="does not name a snapshot"):
        Dataset.open(copy)


def test_array_names_in_the_description_open_nothing_outside(folder, tmp_path):
    def change(stated):
        stated["arrays"]["../../../x"] = {"rows": 0, "crc32c": 0}

    path = _damage_meta(folder, tmp_path, change)
    with pytest.raises(DatasetError, match="not the description of a snapshot"):
        Snapshot.open(path)


@pytest.mark.parametrize(
    "target", ["image", "image/width", "image/width/c", "image/width/c/0", "image/width/zarr.json"]
)
def test_links_out_of_a_snapshot_are_refused(folder, tmp_path, target):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = Dataset.open(copy).snapshot.path
    (path / target).rename(tmp_path / "outside")
    (path / target).symlink_to(tmp_path / "outside")
    with pytest.raises(DatasetError, match="leads out of"):
        Snapshot.open(path).column("image/width")


def test_links_that_stay_within_a_snapshot_are_followed(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = Dataset.open(copy).snapshot.path
    expected = Snapshot.open(path).column("image/width")
    (path / "image/width/c").rename(path / "beside")
    (path / "image/width/c").symlink_to("../../beside")
    assert np.array_equal(Snapshot.open(path).column("image/width"), expected)


def test_a_snapshot_that_is_a_link_is_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = Dataset.open(copy).snapshot.path
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(DatasetError, match="is a link"):
        Dataset.open(copy)


def test_keys_are_16_bytes_each(folder):
    keys = Dataset.open(folder).snapshot.keys
    assert keys.shape == (3, 16)
    assert keys.dtype == np.uint8
