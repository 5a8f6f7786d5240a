"""In a locale that has ASCII alone every command finds every file, and shows what it cannot print as an escape."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

CONFIG = 'dataset = "dü"\n[source]\nuse = "folder"\nimages = "größe"\n[[step]]\nsegment = "regions"\n'


def ascii_only(folder: Path, *words: str, encoding: str | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    environment.pop("PYTHONIOENCODING", None)
    if encoding is not None:
        environment["PYTHONIOENCODING"] = encoding
    command = [sys.executable, "-m", "sgforge", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locale")
    (folder / "größe").mkdir()
    for name in ("a", "ü"):
        Image.new("RGB", (64, 64)).save(folder / "größe" / f"{name}.png")
    (folder / "pü.toml").write_text(CONFIG, encoding="utf-8")
    done = ascii_only(folder, "run", "pü.toml")
    assert (done.returncode, done.stdout.isascii(), done.stderr.isascii()) == (0, True, True), done.stderr
    assert (folder / "dü").is_dir()
    assert b"d\\xfc (branch main" in done.stdout
    return folder


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (("check", "pü.toml"), 0, b'images = "gr\\xf6\\xdfe"'),
        (("check", "pü.toml", "--json"), 0, b'"images": "gr\\u00f6\\u00dfe"'),
        (("plan", "pü.toml"), 0, b"2 images"),
        (("run", "pü.toml", "--json"), 0, b'"dataset": "d\\u00fc"'),
        (("show", "dü"), 0, b"  \\xfc.png  0 regions"),
        (("show", "dü", "ü.png", "--json"), 0, b"\\u00fc.png"),
        (("log", "dü"), 0, b"<- main"),
        (("export", "dü", "--to", "jsonl", "--output", "aü.jsonl"), 0, b"written to a\\xfc.jsonl"),
        (("show", "dü", "öl"), 1, b"has no image '\\xf6l'"),
        (("show", "düx"), 1, b"d\\xfcx does not exist"),
        (("run", "ö.toml"), 2, b"config \\xf6.toml does not exist"),
    ],
)
def test_every_command_finds_and_shows_any_name(folder: Path, words: tuple[str, ...], code: int, shown: bytes) -> None:
    done = ascii_only(folder, *words)
    assert done.returncode == code, done.stderr
    assert shown in done.stdout + done.stderr
    assert done.stdout.isascii()
    assert done.stderr.isascii()


def test_an_encoding_asked_for_is_kept(folder: Path) -> None:
    assert "größe".encode("latin-1") in ascii_only(folder, "check", "pü.toml", encoding="latin-1").stdout
