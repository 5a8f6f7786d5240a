"""Answers in the journal that are not what was kept: each is found and named, left out when publishing, made again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from dataset.plain import run

from sgforge.cli.main import main
from sgforge.dataset import Dataset, DatasetWriter, JournalRow, KnownWork, RunRecord, StepRecord
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.edits import Edit, FieldSet, Verdict
from sgforge.engine.reporting.progress import NoProgress
from sgforge.errors import DatasetError
from sgforge.graph import Region, Relation
from sgforge.packed import edit_columns, pack_edit


class Told(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset whose step is answered and not published."""
    publish = DatasetWriter.publish

    def refuse(*arguments, **named):
        raise DatasetError("the power fails")

    monkeypatch.setattr(DatasetWriter, "publish", refuse)
    with pytest.raises(DatasetError, match="the power fails"):
        run(tmp_path / "data")
    monkeypatch.setattr(DatasetWriter, "publish", publish)
    return tmp_path / "data"


def change(data: Path, sql: str) -> None:
    with closing(sqlite3.connect(data / "journal.sqlite")) as base:
        assert base.execute(sql).rowcount == 1
        base.commit()


CHANGES = {
    "edit": "UPDATE answer SET edit = CAST(replace(CAST(edit AS TEXT), 'holding', 'holdinh') AS BLOB)",
    "cut short": "UPDATE answer SET edit = substr(edit, 1, length(edit) - 1)",
    "parent": "UPDATE answer SET parent_key = x'00000000000000000000000000000000'",
    "calls": "UPDATE answer SET calls = '{{'",
    "counts": "UPDATE answer SET counts = '{\"x\": 1}'",
    "step": "UPDATE answer SET step = 'holdin'",
    "run": "UPDATE answer SET run = ''",
    "a number": "UPDATE answer SET calls = 7",
    "crc": "UPDATE answer SET crc = crc + 1",
}


@pytest.mark.parametrize("what", CHANGES)
def test_one_bad_answer_is_named_and_costs_its_image(data: Path, what: str, capsys) -> None:
    change(data, f"{CHANGES[what]} WHERE image_id = 'im3'")
    (problem,) = verify_dataset(data).problems
    assert "for image 'im3' is damaged: its checksum does not fit, and the next run makes it again" in problem
    told = Told()
    report = run(data, progress=told)
    assert (report.step("holding").counts.computed, report.step("holding").counts.reused) == (1, 5)
    (note,) = [note for note in told.notes if "damaged" in note]
    assert note.endswith("for image 'im3' is damaged: it is made again")
    assert [row.predicate for row in Dataset.open(data)["im3"].graph.relations.values()] == ["on", "holding-im3"]
    assert verify_dataset(data).problems == []


def test_what_is_published_unfinished_leaves_it_out(data: Path, capsys) -> None:
    change(data, f"{CHANGES['edit']} WHERE image_id = 'im3'")
    assert main(["publish", str(data)]) == 1
    assert "the answer of step 'holding' for image 'im3' is damaged: it is left out" in capsys.readouterr().err
    dataset = Dataset.open(data)
    assert [len(dataset[f"im{n}"].graph.relations) for n in range(6)] == [2, 2, 2, 1, 2, 2]
    assert verify_dataset(data).problems == []
    assert run(data).step("holding").counts.computed == 1


@pytest.mark.parametrize("bit", [0, 7])
@pytest.mark.parametrize("offset", [0, 3, 6])
def test_a_flipped_bit_in_the_file_is_found(data: Path, offset: int, bit: int) -> None:
    path = data / "journal.sqlite"
    content = bytearray(path.read_bytes())
    content[content.find(b"holding-im4") + offset] ^= 1 << bit
    path.write_bytes(content)
    assert any("for image 'im4' is damaged" in problem for problem in verify_dataset(data).problems)
    assert run(data).step("holding").counts.computed == 1
    assert verify_dataset(data).problems == []


def test_a_flipped_bit_of_a_key_is_found_and_harms_nothing(data: Path) -> None:
    path = data / "journal.sqlite"
    with closing(sqlite3.connect(path)) as base:
        (key,) = base.execute("SELECT key FROM answer WHERE image_id = 'im2'").fetchone()
    content = bytearray(path.read_bytes())
    # The row's own, that stands beside its image; the other is the index's.
    place = next(at for at in range(len(content)) if content[at : at + 19] == key + b"im2")
    content[place] ^= 4
    path.write_bytes(content)
    assert verify_dataset(data).problems
    # By the index, which is sound, it is found under the key that it was kept under.
    assert run(data).step("holding").counts.reused == 6
    assert [row.predicate for row in Dataset.open(data)["im2"].graph.relations.values()] == ["on", "holding-im2"]
    assert verify_dataset(data).problems == []


def test_answers_from_before_there_were_checksums_are_kept(data: Path) -> None:
    (data / "seals" / "journal.sqlite.seal").unlink()  # nor was there a digest of the file
    with closing(sqlite3.connect(data / "journal.sqlite")) as base:
        base.execute("ALTER TABLE answer DROP COLUMN crc")
        keys = [key for (key,) in base.execute("SELECT key FROM answer")]
        base.commit()
    assert verify_dataset(data).problems == []
    assert KnownWork.open(data).answered(keys) == set(keys)
    assert run(data).step("holding").counts.reused == 6


def keep(data: Path, edit: Edit) -> None:
    """An answer of an unfinished step for the first image, with its checksum."""
    snapshot = Dataset.open(data).snapshot
    with DatasetWriter.open(data) as writer:
        writer.begin_run(RunRecord("r"))
        writer.begin_step(StepRecord("z", "complete", "z", "z"))
        key = snapshot.keys[0].tobytes()
        writer.journal.put([JournalRow(b"\1" * 16, "im0", "z", pack_edit(edit), run="r", parent_key=key)])


BEYOND = {
    "subject": (Edit.add(Relation(900000, "on", 0)), "region 900000 of 2"),
    "object": (Edit.add(Region("c"), Relation(0, "on", 3)), "region 3 of 3"),
    "parent": (Edit.add(Region("c", parent=7)), "region 7 of 3"),
    "set parent": (Edit.set("region", 0, parent=2), "region 2 of 2"),
    "set": (Edit(sets=[FieldSet("relation", 5, "score", 0.5)]), "relation 5 of 2"),
    "verdict": (Edit(verdicts=[Verdict("region", 2, "rejected")]), "region 2 of 2"),
}


@pytest.mark.parametrize("what", BEYOND)
def test_an_answer_that_names_what_is_not_there_is_never_published(tmp_path: Path, what: str, capsys) -> None:
    data = tmp_path / "data"
    run(data)
    before = Dataset.open(data).snapshot.id
    edit, named = BEYOND[what]
    keep(data, edit)
    assert verify_dataset(data).problems == [f"journal: the answer of step 'z' for image 'im0' names {named}"]
    assert main(["publish", str(data)]) == 1
    assert f"image 'im0' names {named}" in capsys.readouterr().err
    assert Dataset.open(data).snapshot.id == before


def test_indices_within_what_an_edit_adds_are_its_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run(data)
    keep(data, Edit.add(Region("c", parent=1), Region("d", parent=2), Relation(3, "on", 2)))
    assert verify_dataset(data).problems == []
    assert main(["publish", str(data)]) == 0
    parents = np.asarray(Dataset.open(data).snapshot.column("region/parent"))[:4].tolist()
    assert parents == [-1, -1, 1, 2]
    assert len(edit_columns([pack_edit(Edit())]).regions_added) == 1
