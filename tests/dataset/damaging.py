"""Damaging a dataset's files, and copies of one to damage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sgforge.dataset import Dataset

__all__ = ["copied", "flip", "head", "lineage"]


def copied(source: Path, target: Path) -> Path:
    """A copy of a dataset whose versions share files as those of the original do."""
    places: dict[tuple[int, int], Path] = {}
    for path in sorted(source.rglob("*")):
        there = target / path.relative_to(source)
        if path.is_dir():
            there.mkdir(parents=True)
            continue
        stamp = path.stat().st_dev, path.stat().st_ino
        there.parent.mkdir(parents=True, exist_ok=True)
        if stamp in places:
            os.link(places[stamp], there)
        else:
            shutil.copy2(path, there)
            places[stamp] = there
    return target


def flip(path: Path, *places: int, bits: int = 1) -> None:
    """Change bytes of a file where it lies, in all versions that share it; -1 is the last byte."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as stream:
        for place in places or (path.stat().st_size // 2,):
            stream.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
            found = stream.read(1)
            stream.seek(-1, os.SEEK_CUR)
            stream.write(bytes([found[0] ^ bits]))
    path.chmod(mode)


def head(data: Path) -> Path:
    """The folder of the version of branch main."""
    return Dataset.open(data).snapshot.path


def lineage(data: Path) -> Sequence[str]:
    """The ids of branch main's versions, the newest first."""
    return [meta.snapshot_id for meta in Dataset.open(data).log()]
