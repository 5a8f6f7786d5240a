"""Files that are none: pipes, devices, sockets, folders, and such as are far too large."""

from __future__ import annotations

import os
import socket

import pytest

from sgforge.regular_files import OddFileError, given_only, open_regular, read_json, read_regular


def test_a_regular_file_is_read_also_through_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b") == b"abc"
    assert read_regular(str(tmp_path / "a"), 3) == b"abc"
    with open_regular(tmp_path / "a") as stream:
        assert stream.read(2) == b"ab"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for path in (tmp_path / "pipe", "/dev/zero", "/dev/null", tmp_path, "socket"):
            with pytest.raises(OddFileError, match="no regular file"):
                read_regular(path, 10)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")


def test_more_than_the_limit_is_refused_unread(tmp_path):
    (tmp_path / "a").write_bytes(b"abcd")
    with pytest.raises(OddFileError, match="more than the 3 bytes"):
        read_regular(tmp_path / "a", 3)
    with open(tmp_path / "b", "wb") as stream:
        stream.truncate(2**29)
    with pytest.raises(OddFileError, match="more than the 1,000 bytes"):
        read_regular(tmp_path / "b", 1000)
    with open("/proc/self/status", "rb") as stream:  # of no size, as it says
        assert os.fstat(stream.fileno()).st_size == 0
    with pytest.raises(OddFileError, match="more than the 20 bytes"):
        read_regular("/proc/self/status", 20)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 200_000])
def test_what_is_no_json_is_a_value_error(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a.json", 10**7)
    (tmp_path / "a.json").write_bytes(b'{"a": 1}')
    assert read_json(tmp_path / "a.json", 100) == {"a": 1}


def test_a_file_of_holes_is_refused_and_one_that_is_mostly_there_is_read(tmp_path):
    with open(tmp_path / "holes", "wb") as stream:
        stream.truncate(2**38)
        stream.seek(2**20)
        stream.write(b"here")
    with pytest.raises(OddFileError, match=r"a file of 274,877,906,944 bytes, nearly all of them holes"):
        open_regular(tmp_path / "holes")
    with open(tmp_path / "large", "wb") as stream:  # of 1.5 GB, and a few MB there
        stream.truncate(3 * 2**29)
        stream.write(b"x" * 3_000_000)
    with open_regular(tmp_path / "large") as stream:
        assert stream.read(2) == b"xx"


def test_what_the_shell_opened_is_read_whatever_it_is(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"from a command")
    os.close(writing)
    with open(f"/dev/fd/{reading}", "rb", opener=given_only) as stream:
        assert stream.read() == b"from a command"
    os.close(reading)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OddFileError, match="no regular file"):
        given_only(str(tmp_path / "pipe"), os.O_RDONLY)
