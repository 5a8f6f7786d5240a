"""The folders of barriers' steps: what lies in each, who used it, and whether anything kept still does."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import attrs

from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.maintenance.reachable import moment_of
from sgforge.dataset.records import FolderUse
from sgforge.errors import DatasetError
from sgforge.regular_files import read_json

__all__ = ["StepFolder", "StillUsed", "step_folders"]

_MOST_BYTES: Final = 2**24
FolderKind = Literal["checkpoint", "unfinished training", "results"]


@attrs.frozen(kw_only=True)
class StepFolder:
    """The folder of one barrier: trained weights, a training that can be resumed, or results such as a report.

    `steps`: the names it had in runs; none where no use of it was remembered. `bytes`: of all its files. `changed`:
    when a file in it was last changed. `uses`: by runs, in order.
    """

    path: Path
    kind: FolderKind
    steps: tuple[str, ...]
    bytes: int
    began: datetime
    changed: datetime
    uses: tuple[FolderUse, ...]

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the step, which is the folder's name."""
        return self.path.name

    @property
    def is_trained(self) -> bool:
        """Whether hours of work may lie in it."""
        return self.kind != "results"


@attrs.frozen(kw_only=True)
class StillUsed:
    """What is kept of everything else, against which a step's folder is held.

    `by_branch`: the versions that each branch reaches; `otherwise`: those that anything else does. `fingerprints`: of
    the steps of kept versions. `since`: the moment after which everything is kept.
    """

    by_branch: Mapping[str, Collection[str]]
    otherwise: Collection[str]
    fingerprints: Collection[str]
    since: datetime
    last_runs: Mapping[tuple[str, str], str]

    def keeps(self, folder: StepFolder) -> bool:
        """Whether a folder stays. One of which no use is remembered does: it is older than the remembering."""
        if not folder.uses or folder.changed >= self.since or folder.fingerprint in self.fingerprints:
            return True
        return any(self._counts(use, folder) for use in folder.uses)

    def _counts(self, use: FolderUse, folder: StepFolder) -> bool:
        used = moment_of(use.used)
        if used is None or used >= self.since:
            return True
        if not use.is_final:
            everywhere = (self.otherwise, *self.by_branch.values())
            return any(use.snapshot_id in some for some in everywhere)
        if use.snapshot_id not in self.by_branch.get(use.branch, ()) and use.snapshot_id not in self.otherwise:
            return False
        # Of several trainings that ended in one version the last stands for it; results are small and all stay.
        return not folder.is_trained or self.last_runs[use.branch, use.snapshot_id] == use.run_id


def step_folders(folder: DatasetFolder, uses: Sequence[FolderUse]) -> Iterator[StepFolder]:
    """All folders of steps, in order of their names; a link to elsewhere is none."""
    by_folder: dict[str, list[FolderUse]] = {}
    for use in uses:
        by_folder.setdefault(use.folder, []).append(use)
    if not folder.steps.is_dir():
        return
    for path in sorted(folder.steps.iterdir()):
        try:
            is_step = folder.step(path.name) == path and path.is_dir()
        except DatasetError:
            continue
        if is_step:
            yield _look_at(path, tuple(by_folder.get(path.name, ())))


def _look_at(path: Path, uses: tuple[FolderUse, ...]) -> StepFolder:
    found = [each.lstat() for each in (path, *path.rglob("*"))]
    times = [each.st_mtime for each in found]
    return StepFolder(
        path=path,
        kind=_kind(path),
        steps=tuple(dict.fromkeys(use.step for use in uses)),
        bytes=sum(each.st_size for each in found if stat.S_ISREG(each.st_mode)),
        began=datetime.fromtimestamp(min(times), UTC),
        changed=datetime.fromtimestamp(max(times), UTC),
        uses=uses,
    )


def _kind(path: Path) -> FolderKind:
    try:
        told = read_json(path / "checkpoint.json", _MOST_BYTES)
        if (path / str(told["path"])).is_dir():
            return "checkpoint"
    except (OSError, ValueError, LookupError, TypeError):
        out = path / "out"
        if out.is_dir() and any(out.iterdir()):
            return "unfinished training"
    return "results"
