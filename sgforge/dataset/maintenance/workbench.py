"""Workbench: what every part of a repair works with, and the list of what it did."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance.mending import place, put_right, sound_copy
from sgforge.seals import Digest

__all__ = ["Workbench", "how"]


class Workbench:
    """A dataset that is mended, and datasets to copy from; nothing is changed in a dry run.

    `mended`: what was put right; `aside`: what was moved, and where to; `again`: what the next run computes anew.
    """

    def __init__(self, folder: DatasetFolder, others: Sequence[DatasetFolder], *, dry_run: bool) -> None:
        self.folder = folder
        self.others = others
        self.dry_run = dry_run
        self.mended: list[str] = []
        self.aside: list[tuple[str, str]] = []
        self.again: list[str] = []
        self.scratch = folder.snapshots / f".tmp-repair-{os.getpid()}"

    def do(self, action: Callable[[Path], object], path: Path) -> None:
        """Do something with a file, but in a dry run."""
        if not self.dry_run:
            action(path)

    def found(self, path: Path, told: Sequence[Digest], candidates: Sequence[Path]) -> Path | bytes | None:
        """A sound copy of a file, or its bytes where one of them was changed."""
        for digest in told:
            copy = sound_copy(candidates, digest)
            if copy is not None:
                return copy
            with suppress(OSError):
                mended = put_right(path.read_bytes(), digest) if path.stat().st_size == digest.size else None
                if mended is not None:
                    return mended
        return None

    def put(self, source: Path | bytes, paths: Sequence[Path]) -> None:
        """Let a sound file stand at all of these places; what is there is kept aside, once."""
        if self.dry_run:
            return
        if isinstance(source, Path) and not source.is_relative_to(self.folder.path):
            source = source.read_bytes()  # and no link: a change in one dataset would be one in the other
        self.keep(paths)
        for path in paths:
            place(source, path, self.scratch)
            source = path

    def keep(self, paths: Sequence[Path]) -> None:
        """Let what is about to be replaced lie aside too; files that are one and the same once."""
        kept: set[tuple[int, int]] = set()
        for path in () if self.dry_run else paths:
            if path.exists() and (stamp := (path.stat().st_dev, path.stat().st_ino)) not in kept:
                kept.add(stamp)
                target = self.folder.place_aside(path)
                place(path, target, self.scratch)
                self.aside.append((str(path.relative_to(self.folder.path)), str(target)))

    def move(self, path: Path, where: str) -> None:
        """Move a file or folder out of the way."""
        if self.dry_run:
            self.aside.append((where, str(self.folder.aside)))
            return
        self.aside.append((where, str(self.folder.set_aside(path))))


def how(source: Path | bytes) -> str:
    """How a file was put right: from a copy, or by its digest."""
    return f"a sound copy of {source}" if isinstance(source, Path) else "put right by its digest"
