"""What a killed export leaves beside its output goes with the next export of that name; what is being made stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgforge.durable import clear_leftovers, output_file
from sgforge_formats.writing.exports import whole_folder

FILE = """
import os, signal, sys
from pathlib import Path
from sgforge.durable import output_file
with output_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("half", flush=True)
    sys.stdin.read(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
FOLDER = """
import os, signal, sys
from pathlib import Path
from sgforge_formats.writing.exports import whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
    (folder / "a").write_bytes(b"half")
    print("half", flush=True)
    sys.stdin.read(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def export(kind: str, path: Path) -> None:
    if kind == "file":
        with output_file(path) as stream:
            stream.write(b"whole")
    else:
        with whole_folder(path) as folder:
            (folder / "a").write_bytes(b"whole")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_export_leaves_nothing_behind_the_next_of_that_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    for name in ("out.0123abcd.tmp", ".out.tmp", ".out2.0123abcd.tmp", ".out.0123abcd.tmp.txt"):
        (tmp_path / name).write_text("another's")
    kept = set(os.listdir(tmp_path))
    command = [sys.executable, "-c", FILE if kind == "file" else FOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"half\n"
        (half,) = set(os.listdir(tmp_path)) - kept
        clear_leftovers(path)
        assert half in os.listdir(tmp_path), "what another process is making stays"
        other.stdin.write(b"x")
        other.stdin.flush()
        other.wait()
    assert half in os.listdir(tmp_path), "it was killed"
    export(kind, path)
    assert set(os.listdir(tmp_path)) == kept | {"out"}
    assert (path if kind == "file" else path / "a").read_bytes() == b"whole"


def test_a_pipe_under_such_a_name_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".out.0123abcd.tmp")
    (tmp_path / ".out.0123abce.tmp").symlink_to("/dev/zero")
    export("file", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"whole"
