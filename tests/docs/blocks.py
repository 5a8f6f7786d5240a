"""Code blocks of a Markdown page, run in order in one folder.

The convention: a `bash` or `python` block is run; a block with `title="path"` is written to that file; a `text` block
holds lines that the output of the block before it must show, in this order; a line `<!-- not run: why -->` right
before a block leaves it out. Blocks of other languages are only shown.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs
from support.waiting import LONGEST

_BLOCK = re.compile(r"^(?P<skip><!-- not run: [^\n]+ -->\n)?```(?P<info>[^\n`]+)\n(?P<code>.*?)^```$", re.M | re.S)
_TITLE = re.compile(r'title="([^"]+)"')
_COMMANDS = {"bash": ("bash", "-euo", "pipefail", "-c"), "python": ("python", "-c")}
_LONGEST = LONGEST


@attrs.frozen
class Block:
    """One fenced block: its language, its file or None, its text, and the line it starts at."""

    language: str
    title: str | None
    code: str
    line: int
    is_skipped: bool


def read_blocks(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    found = []
    for match in _BLOCK.finditer(page):
        title = _TITLE.search(match["info"])
        line = page.count("\n", 0, match.start("info")) + 1
        language = match["info"].split()[0]
        found.append(Block(language, title[1] if title else None, match["code"], line, match["skip"] is not None))
    return found


def run_page(page: Path, folder: Path, variables: Mapping[str, str]) -> int:
    """Run a page's blocks in `folder`; returns how many were run or compared, raises at the first that fails."""
    output = None
    done = 0
    for block in read_blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if block.is_skipped:
            output = None
        elif block.title is not None:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
        elif block.language == "text":
            assert output is not None, f"{where}: a text block follows the command that prints it"
            compare(block.code, output, where)
            done += 1
        elif block.language in _COMMANDS:
            output = run_block(block, folder, variables, where)
            done += 1
    return done


def run_block(block: Block, folder: Path, variables: Mapping[str, str], where: str) -> str:
    """Run one block; its standard output."""
    command = [*_COMMANDS[block.language], block.code]
    finished = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=_LONGEST
    )
    assert finished.returncode == 0, f"{where} failed:\n{block.code}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def compare(expected: str, output: str, where: str) -> None:
    """Every line expected must be part of a line of the output, in this order."""
    lines = iter(output.splitlines())
    for line in expected.splitlines():
        if line.strip():
            assert any(line.strip() in shown for shown in lines), f"{where}: {line!r} is not printed:\n{output}"
