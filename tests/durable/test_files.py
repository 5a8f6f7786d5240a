"""Files that appear whole: after an error nothing has changed, and what is no file is not replaced by one."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from support.waiting import LONGEST

from sgforge import Sample
from sgforge.durable import output_file, whole_file, write_text
from sgforge.jsonl import read_jsonl, write_jsonl


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "there.txt"
    write_text(path, "old")
    with whole_file(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["there.txt"]


def test_after_an_error_the_old_file_stands_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "there.txt"
    write_text(path, "old")

    def break_off() -> None:
        with whole_file(path) as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["there.txt"]


def test_a_link_is_replaced_by_our_own_files_and_followed_for_a_named_output(tmp_path: Path) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    write_text(elsewhere, "old")
    link.symlink_to(elsewhere)
    with output_file(link) as stream:
        stream.write(b"through")
    assert (link.is_symlink(), elsewhere.read_text()) == (True, "through")
    write_text(link, "in its place")
    assert (link.is_symlink(), link.read_text(), elsewhere.read_text()) == (False, "in its place", "through")


def test_a_pipe_that_is_named_as_output_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    assert write_jsonl([Sample("one")], pipe) == 1
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    reader.join(LONGEST)
    copy = tmp_path / "copy.jsonl"
    copy.write_text(received[0])
    assert [sample.image_id for sample in read_jsonl(copy)] == ["one"]


@pytest.mark.parametrize("name", [".", "..", "there", "there/.."])
def test_a_folder_is_never_taken_for_a_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError), output_file(Path(name)):
        pytest.fail("nothing is begun")
    assert os.listdir(tmp_path) == ["there"]
