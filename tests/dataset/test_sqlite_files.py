"""SQLite files from a stranger: views, triggers, odd tables, pipes, another file's name, pages in a circle."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from dataset.made import make_dataset

from sgforge.cli.main import main
from sgforge.dataset import Dataset, Journal
from sgforge.dataset.journal import sealed_journal
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.dataset.states.known_states import KnownWork
from sgforge.errors import DatasetError
from sgforge.models.cache.store import Store
from sgforge.seals import seal_path
from sgforge.sqlite_files import connect, has_tables

PAGE = 512


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "data"
    make_dataset(path)
    return path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as base:
        for statement in statements:
            base.execute(statement)
        base.commit()


@pytest.mark.parametrize("name", ["journal.sqlite", "responses.sqlite"])
def test_schema_whose_bytes_are_no_text_is_damage(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / name
    if name == "responses.sqlite":
        Store(path).close()
    raw = path.read_bytes()
    assert raw.count(b"CREATE TABLE ") > 1
    path.write_bytes(raw.replace(b"CREATE TABLE ", b"CREAT\xb4 TABLE ", 1))
    with pytest.raises(sqlite3.DatabaseError, match=r"CREAT\\xb4"):
        connect(path, read_only=True)
    assert main(["verify", str(folder)]) == 1
    assert "CREAT\\xb4" in capsys.readouterr().out


def test_text_in_a_row_that_is_none_is_an_error_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    execute(
        path, "CREATE TABLE t (a TEXT)", "INSERT INTO t VALUES ('one')", "INSERT INTO t VALUES (CAST(x'b4' AS TEXT))"
    )
    with closing(connect(path, read_only=True)) as base, pytest.raises(sqlite3.Error, match="UTF-8"):
        base.execute("SELECT a FROM t").fetchall()


ODD = {
    "a view": ("ALTER TABLE answer RENAME TO a", "CREATE VIEW answer AS SELECT * FROM a"),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON answer BEGIN DELETE FROM step; END",),
    "a virtual table": ("CREATE VIRTUAL TABLE v USING rtree(a, b, c)",),
    "a generated column": ("CREATE TABLE g (a INTEGER, b TEXT AS (hex(zeroblob(1000000))))",),
    "a check that computes": ("CREATE TABLE g (a INTEGER CHECK (length(randomblob(9)) > a))",),
    "an expression as default": ("CREATE TABLE g (a TEXT DEFAULT (hex(randomblob(9))))",),
    "a comparison of its own": ("CREATE TABLE g (a TEXT COLLATE nocase)",),
    "an index of an expression": ("CREATE INDEX i ON answer (length(edit))",),
    "an index of some rows": ("CREATE INDEX i ON answer (step) WHERE step > 'a'",),
}


@pytest.mark.parametrize("what", ODD)
def test_what_a_file_defines_beside_plain_tables_is_refused(folder, what, capsys):
    execute(folder / "journal.sqlite", *ODD[what])
    with pytest.raises(DatasetError, match=r"it defines a .* that is none of ours; the journal is damaged"):
        Journal(folder / "journal.sqlite")
    with pytest.raises(DatasetError, match=r"none of ours; the journal is damaged"):
        KnownWork.open(folder).answered([b"k" * 16])
    assert any("none of ours" in problem for problem in verify_dataset(folder).problems)
    assert len(Dataset.open(folder)) == 3
    Store(folder / "responses.sqlite").close()
    execute(
        folder / "responses.sqlite",
        *(text.replace("answer", "response").replace("edit", "raw").replace("step", "model") for text in ODD[what]),
    )
    with pytest.raises(DatasetError, match=r"responses file .* none of ours"):
        Store(folder / "responses.sqlite")
    assert main(["ledger", str(folder)]) == 1
    assert "none of ours" in capsys.readouterr().err


def test_what_a_file_defines_is_not_trusted(folder):
    for read_only in (False, True):
        with closing(connect(folder / "journal.sqlite", read_only=read_only)) as base:
            assert base.execute("PRAGMA trusted_schema").fetchone() == (0,)


def test_plain_tables_that_a_later_version_may_add_are_left_alone(folder):
    execute(folder / "journal.sqlite", "CREATE TABLE \"later\" (a INTEGER PRIMARY KEY, b TEXT NOT NULL DEFAULT '')")
    execute(folder / "journal.sqlite", "ALTER TABLE answer ADD COLUMN more BLOB", "CREATE INDEX i ON later (b)")
    Journal(folder / "journal.sqlite").close()
    assert verify_dataset(folder).problems == []


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
def test_a_pipe_in_place_of_a_file_or_what_lies_beside_is_refused_at_once(folder, ending):
    path = folder / f"journal.sqlite{ending}"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(DatasetError, match=rf"journal\.sqlite{ending} is no regular file"):
        KnownWork.open(folder).answered([b"k" * 16])
    with pytest.raises(DatasetError, match="is no regular file"):
        Journal(folder / "journal.sqlite")


@pytest.mark.parametrize("name", ["journal.sqlite", "responses.sqlite", "steps", "files", "refs/tags"])
def test_a_part_that_is_a_link_to_elsewhere_is_refused(folder, name, tmp_path):
    if (folder / name).exists():
        (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(DatasetError, match=f"{name} is a link to elsewhere: refused"):
        Dataset.open(folder)


def test_a_rollback_journal_that_names_another_file_removes_nothing(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"worth keeping")
    path = folder / "journal.sqlite"
    execute(path, "PRAGMA journal_mode=DELETE")
    name = str(victim).encode()
    page = path.stat().st_size and struct.unpack(">H", path.read_bytes()[16:18])[0]
    header = bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 0, path.stat().st_size // page, 512, page)
    end = struct.pack(">I", 2**30 // page + 1) + name + struct.pack(">II", len(name), sum(name))
    (folder / "journal.sqlite-journal").write_bytes(header.ljust(512, b"\0") + end + bytes.fromhex("d9d505f920a163d7"))
    with pytest.raises(DatasetError, match=r"journal\.sqlite-journal names another file"):
        Journal(path)
    with pytest.raises(DatasetError, match="names another file"):
        KnownWork.open(folder).answered([b"k" * 16])
    assert victim.read_bytes() == b"worth keeping"


def pages_in_a_circle(path: Path) -> None:
    """A table of answers whose pages lead to each other so that a walk over it would end after ages."""
    execute(
        path,
        f"PRAGMA page_size={PAGE}",
        "CREATE TABLE answer (number INTEGER PRIMARY KEY, key BLOB NOT NULL, image_id TEXT NOT NULL, "
        "step TEXT NOT NULL, edit BLOB NOT NULL, calls TEXT NOT NULL, run TEXT NOT NULL, counts TEXT NOT NULL, "
        "parent_key BLOB NOT NULL, crc INTEGER)",
        "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90) INSERT INTO answer "
        "SELECT i, zeroblob(16), 'image', 'step', zeroblob(300), '[]', 'run', '{}', zeroblob(16), NULL FROM n",
    )
    with closing(sqlite3.connect(path)) as base:
        (root,) = base.execute("SELECT rootpage FROM sqlite_master WHERE name = 'answer'").fetchone()
    data = bytearray(path.read_bytes())
    count = len(data) // PAGE
    leaf = next(n for n in range(count, 1, -1) if data[(n - 1) * PAGE] == 13)
    chain = [root, *[n for n in range(2, count + 1) if n not in (root, leaf)][:15], leaf]
    for page, child in pairwise(chain):
        cells = 40
        start = PAGE - 5 * cells
        head = struct.pack(">BHHHBI", 5, 0, cells, start, 0, child)
        pointers = b"".join(struct.pack(">H", start + 5 * cell) for cell in range(cells))
        rows = b"".join(struct.pack(">IB", child, cell + 1) for cell in range(cells))
        body = (head + pointers).ljust(start, b"\0") + rows
        data[(page - 1) * PAGE : page * PAGE] = body
    path.write_bytes(data)


def test_pages_that_lead_to_each_other_end_a_query(tmp_path):
    path = tmp_path / "a.sqlite"
    pages_in_a_circle(path)
    with closing(connect(path, read_only=True)) as base, pytest.raises(sqlite3.OperationalError, match="interrupted"):
        for _ in base.execute("SELECT number FROM answer WHERE length(step) < 0"):
            pass


def test_a_journal_whose_pages_lead_to_each_other_is_damage(folder):
    path = folder / "journal.sqlite"
    path.unlink()
    pages_in_a_circle(path)
    journal = Journal(path)
    with pytest.raises(DatasetError, match="the journal is damaged"):
        len(journal)
    journal.close()
    assert verify_dataset(folder).problems != []


def test_queries_begin_to_count_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("sgforge.sqlite_files._FREE_STEPS", 3_000_000)
    monkeypatch.setattr("sgforge.sqlite_files._STEPS_A_BYTE", 0)
    count = "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT MAX(i) FROM n"
    with closing(connect(tmp_path / "a.sqlite")) as base:
        for _ in range(9):
            assert base.execute(count, (100_000,)).fetchone() == (100_000,)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            base.execute(count, (10_000_000,)).fetchone()


def test_a_file_whose_first_transaction_failed_holds_nothing_and_is_no_damage(folder, capsys):
    path = folder / "journal.sqlite"
    for statement in (
        "PRAGMA user_version=1",
        "CREATE TABLE start (number INTEGER PRIMARY KEY, snapshot TEXT NOT NULL)",
    ):
        path.unlink()
        seal_path(sealed_journal(path)).unlink(missing_ok=True)  # a first run that ends here has made none
        execute(path, statement)
        assert verify_dataset(folder).problems == []
        known = KnownWork.open(folder)
        assert known.answered([b"k" * 16]) == set()
        assert known.hashes([("a:b", 1, 2)]) == [None]
    execute(folder / "responses.sqlite", "PRAGMA user_version=1")
    assert not has_tables(folder / "responses.sqlite")
    assert main(["ledger", str(folder)]) == 0
    assert verify_dataset(folder).problems == []
    Store(folder / "responses.sqlite").close()
    assert has_tables(folder / "responses.sqlite")
