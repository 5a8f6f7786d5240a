"""Mending a dataset: sound copies take the place of damaged files, the rest is moved aside, and nothing is deleted.

Of a version that is moved aside the images that can still be read stay in one of their own, so that the next run finds
their states and computes only what was lost.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from sgforge.dataset.folder import DatasetFolder, Lock
from sgforge.dataset.maintenance.findings import OF_VERSIONS, Finding
from sgforge.dataset.maintenance.mend_beside import BesideMender
from sgforge.dataset.maintenance.mend_versions import VersionMender
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.dataset.maintenance.workbench import Workbench
from sgforge.errors import DatasetError

__all__ = ["Repair", "repair_dataset"]

_ROUNDS: Final = 8
"""What is moved aside may leave a branch without its version, and a version without its picture: it is looked again."""


@attrs.frozen
class Repair:
    """What was done, or would be. `aside`: what was moved, and where to; `again`: what the next run computes anew;
    `left`: what is still wrong."""

    mended: tuple[str, ...]
    aside: tuple[tuple[str, str], ...]
    again: tuple[str, ...]
    left: tuple[str, ...]


def repair_dataset(path: Path | str, others: Sequence[Path] = (), *, dry_run: bool = False) -> Repair:
    """Mend the dataset at `path`, with sound copies from itself and from the datasets `others`.

    A dataset that another process writes, or a folder that is none, is a `DatasetError`. Killed at any moment it leaves
    a dataset that can be mended the same way.
    """
    folder, is_marked = _opened(Path(path), dry_run=dry_run)
    work = _Work(Workbench(folder, [DatasetFolder.open(other) for other in others], dry_run=dry_run))
    if is_marked:
        work.bench.mended.append("sgforge.json: written anew")
    if dry_run:
        verification = verify_dataset(folder.path)
        work.mend(verification.findings)
        return work.done(())
    lock = Lock.take(folder.path)
    try:
        folder.clean()
        for _ in range(_ROUNDS):
            findings = verify_dataset(folder.path, is_locked=True).findings
            if not findings or not work.mend(findings):
                break
        shutil.rmtree(work.bench.scratch, ignore_errors=True)
        return work.done(verify_dataset(folder.path, is_locked=True).problems)
    finally:
        lock.release()


def _opened(path: Path, *, dry_run: bool) -> tuple[DatasetFolder, bool]:
    """The dataset, and whether its marker was damaged: it gets it back."""
    try:
        return DatasetFolder.open(path), False
    except DatasetError:
        folder = DatasetFolder(path)
        if dry_run or not (folder.snapshots.is_dir() and (path / "refs" / "heads").is_dir()):
            raise
        lock = Lock.take(path)
        try:
            if (path / "sgforge.json").exists():
                folder.set_aside(path / "sgforge.json")
            folder.mark()
        finally:
            lock.release()
        return DatasetFolder.open(path), True


class _Work:
    """One repair under way."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self._versions = VersionMender(bench)
        self._beside = BesideMender(bench)

    def done(self, left: Sequence[str]) -> Repair:
        """All that was done."""
        bench = self.bench
        return Repair(tuple(bench.mended), tuple(bench.aside), tuple(dict.fromkeys(bench.again)), tuple(left))

    def mend(self, findings: Sequence[Finding]) -> bool:
        """Do what can be done about each; whether anything was."""
        before = len(self.bench.mended) + len(self.bench.aside)
        lost: dict[str, None] = {}
        self._beside.begin_round()
        for finding in findings:
            if finding.needs and self._versions.comes_from_another(finding.needs):
                continue
            if finding.kind not in OF_VERSIONS:
                self._beside.mend(finding)
            elif not self._versions.mend(finding):
                lost.update(dict.fromkeys(finding.versions))
        self._versions.give_up(lost)
        return len(self.bench.mended) + len(self.bench.aside) > before
