"""Commands on datasets as people and pipes use them: import, tag, show, export, and odd encodings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from support.waiting import LONGEST

import sgforge as sg
from sgforge.cli.main import main

SGFORGE = [sys.executable, "-m", "sgforge"]
LINE = {"image_id": "bild ü", "width": 9, "height": 9, "regions": [{"label": "犬", "box": [0, 0, 4, 4]}]}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("g.jsonl").write_text(json.dumps(LINE) + "\n")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*SGFORGE, *arguments], capture_output=True, check=False, timeout=LONGEST, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_an_image_is_an_error_and_makes_no_dataset(
    content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.jsonl").write_text(content)
    assert main(["import", "empty.jsonl", "made"]) == 1
    assert capsys.readouterr().err == (
        "sgforge: error: empty.jsonl holds no image, nothing was imported: give graph JSONL, one image a line\n"
    )
    assert not Path("made").exists()


def test_import_moves_main_only_where_no_run_made_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "g.jsonl", "d"]) == 0
    Path("g2.jsonl").write_text(json.dumps({**LINE, "image_id": "b"}) + "\n")
    assert main(["import", "g2.jsonl", "d"]) == 0
    assert [sample.image_id for sample in sg.Dataset.open("d")] == ["b"]
    sg.Pipeline(sg.complete("geometry")).run(sg.source("jsonl", graphs="g.jsonl"), "d")
    before = sg.Dataset.open("d").snapshot.id
    capsys.readouterr()
    assert main(["import", "g2.jsonl", "d"]) == 1
    assert "branch main of d is what step 'complete' made" in capsys.readouterr().err
    assert sg.Dataset.open("d").snapshot.id == before
    assert main(["import", "g2.jsonl", "d", "--branch", "given", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["branch"] == "given"
    assert told["counts"] == {"images": 1, "regions": 1, "relations": 0}
    assert sg.Dataset.open("d", "given").snapshot.id == told["snapshot"]


def test_tags_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["import", "g.jsonl", "d"])
    capsys.readouterr()
    assert main(["tag", "d", "first", "--json"]) == 0
    snapshot = sg.Dataset.open("d").snapshot.id
    assert json.loads(capsys.readouterr().out) == {"tag": "first", "snapshot": snapshot}
    assert main(["tag", "d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"branches": {"main": snapshot}, "tags": {"first": snapshot}}


def test_an_image_as_json_is_a_line_that_can_be_imported(capsys: pytest.CaptureFixture[str]) -> None:
    main(["import", "g.jsonl", "d"])
    capsys.readouterr()
    assert main(["show", "d", "bild ü", "--json"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    Path("one.jsonl").write_text(shown)
    assert main(["import", "one.jsonl", "again"]) == 0
    assert sg.Dataset.open("again")["bild ü"].graph.regions[0].label == "犬"


def test_an_export_into_a_pipe_is_alone_in_it() -> None:
    main(["import", "g.jsonl", "d"])
    os.mkfifo("pipe")
    received: list[str] = []
    # A daemon: an export that never opens the pipe fails the test, where a plain read would wait for ever.
    reader = threading.Thread(target=lambda: received.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    assert run("export", "d", "--to", "jsonl", "--output", "pipe").returncode == 0
    reader.join(LONGEST)
    assert json.loads(received[0])["image_id"] == "bild ü"
    assert Path("pipe").is_fifo()


def test_what_an_encoding_lacks_is_printed_as_an_escape() -> None:
    main(["import", "g.jsonl", "d"])
    done = run("show", "d", "bild ü", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"bild \xfc: 9x9" in done.stdout
    assert rb"\u72ac [0, 0, 4, 4]" in done.stdout


@pytest.mark.parametrize("name", ["mit leer.toml", "it's.toml", "two\nlines.toml"])
def test_init_writes_what_toml_can_hold_and_says_it_as_a_shell_takes_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = 'a"b\\c\td\x7f\U000e0001'
    assert main(["init", name, "--images", odd, "--dataset", f"{odd}2"]) == 0
    read = tomllib.loads(Path(name).read_text())
    assert (read["source"]["images"], read["dataset"]) == (odd, f"{odd}2")
    told = capsys.readouterr().out
    assert "\nnext: sgforge check " in told
    assert len(told.splitlines()) == 3
    if name == "mit leer.toml":
        assert told.endswith("next: sgforge check 'mit leer.toml' && sgforge run 'mit leer.toml'\n")


def test_init_refuses_a_path_that_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "p.toml", "--images", "im\udcc3ges"]) == 2
    assert "is no text in the encoding of this locale" in capsys.readouterr().err
    assert not Path("p.toml").exists()
