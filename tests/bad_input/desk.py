"""A user's desk: a folder, config files, annotated pictures, and the commands of `sgforge`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from unittest import mock

import attrs
import numpy as np
from PIL import Image
from support.waiting import LONGEST

from sgforge.cli.main import main

__all__ = ["RAW", "Desk", "Done", "annotation", "picture"]

RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@attrs.frozen
class Done:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of the error; more than one line, or a traceback, is a failure."""
        lines = [line for line in self.err.splitlines() if line.startswith("sgforge: error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err, self.err
        assert "bug in sgforge" not in self.err, self.err
        return lines[0].removeprefix("sgforge: error: ")

    def check(self) -> Done:
        """No traceback, and nothing that a terminal would obey."""
        assert "Traceback" not in self.err, self.err
        for text in (self.out, self.err):
            found = RAW.search(text)
            assert found is None, f"raw {found[0]!r} in {text!r}"
        return self


@attrs.frozen
class Desk:
    """A folder in which `sgforge` is run."""

    folder: Path

    def sgforge(self, *arguments: str, **environment: str) -> Done:
        """A command, run in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.dict(os.environ, environment),
        ):
            code = main(arguments)
        return Done(code, out.getvalue(), err.getvalue()).check()

    def process(self, *arguments: str, **environment: str) -> Done:
        """A command as a user runs it, in a process of its own."""
        started = self.start(*arguments, **environment)
        out, err = started.communicate(timeout=LONGEST)
        return Done(started.returncode, out.decode(), err.decode()).check()

    def peak_memory(self, *arguments: str, **environment: str) -> tuple[Done, int]:
        """A command in a process of its own, and the most memory that it held, in bytes."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = self.start(*arguments, out=out, err=err, **environment)
            _, status, usage = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
            for stream in (out, err):
                stream.seek(0)
            done = Done(started.returncode, out.read().decode(), err.read().decode())
        # In bytes on macOS, in kilobytes elsewhere.
        return done.check(), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def start(
        self,
        *arguments: str,
        out: int | IO[bytes] = subprocess.PIPE,
        err: int | IO[bytes] = subprocess.PIPE,
        **environment: str,
    ) -> subprocess.Popen[bytes]:
        """A command that runs while the test goes on."""
        return subprocess.Popen(
            [sys.executable, "-m", "sgforge", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            stdout=out,
            stderr=err,
        )

    def write(self, name: str, text: str | bytes) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def coco(
        self, images: Mapping[str, tuple[int, int]], annotations: Sequence[Mapping[str, Any]], **more: Any
    ) -> None:
        """`coco.json`, with images by file name and the size it says they have."""
        rows = [
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
            for number, (name, size) in enumerate(images.items(), 1)
        ]
        numbered = [{"id": number, **row} for number, row in enumerate(annotations, 1)]
        document = {"images": rows, "annotations": numbered, "categories": [{"id": 1, "name": "cup"}], **more}
        self.write("coco.json", json.dumps(document))


def annotation(image: int, bbox: Sequence[float] = (2, 2, 10, 10), **more: Any) -> dict[str, Any]:
    """A row of `annotations`."""
    return {"image_id": image, "category_id": 1, "bbox": list(bbox), **more}


def picture(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0) -> Path:
    """A noisy PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path
