"""Removing what nothing needs any more: versions, step folders and made files that no branch, tag or age keeps."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

from sgforge.dataset.folder import DatasetFolder, no_space
from sgforge.dataset.in_use import Hold
from sgforge.dataset.maintenance.reachable import Journalled, Versions, named_files, read_journal
from sgforge.dataset.maintenance.step_folders import StepFolder, StillUsed, step_folders
from sgforge.dataset.snapshot import Snapshot
from sgforge.dataset.writer import DatasetWriter
from sgforge.durable import sync_folder
from sgforge.errors import ConfigError, DatasetError
from sgforge.seals import seal_path
from sgforge.text.wording import counted

__all__ = ["KEEP_DAYS", "GcPlan", "UnusedVersion", "collect", "plan_gc"]

KEEP_DAYS: Final = 7.0
"""What is younger stays, whatever names it; as Lance keeps old versions."""
_MOST_DAYS: Final = 365_000


@attrs.frozen
class UnusedVersion:
    """A version that goes: its id, the step that made it (empty where it is damaged), when it was made."""

    snapshot_id: str
    step: str
    created: datetime


@attrs.frozen(kw_only=True)
class GcPlan:
    """What goes, and what stays for which reason.

    `versions`: in the order they go, each before those it came from. `held`: trained weights and unfinished trainings
    that nothing kept uses and that stay because they were not asked for. `kept`: how many versions stay, by why.
    `bytes`: what is freed.
    """

    versions: tuple[UnusedVersion, ...]
    folders: tuple[StepFolder, ...]
    files: tuple[Path, ...]
    held: tuple[StepFolder, ...]
    kept: Mapping[str, int]
    notes: tuple[str, ...]
    bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        return not (self.versions or self.folders or self.files)

    @property
    def held_bytes(self) -> int:
        """Bytes of what is held."""
        return sum(folder.bytes for folder in self.held)

    def within(self, shown: GcPlan) -> GcPlan:
        """This plan, without what another one had not shown."""
        versions = {version.snapshot_id for version in shown.versions}
        folders = {folder.path for folder in shown.folders}
        files = set(shown.files)
        return attrs.evolve(
            self,
            versions=tuple(version for version in self.versions if version.snapshot_id in versions),
            folders=tuple(folder for folder in self.folders if folder.path in folders),
            files=tuple(path for path in self.files if path in files),
        )


def plan_gc(path: Path | str, *, keep_days: float = KEEP_DAYS, checkpoints: bool = False) -> GcPlan:
    """What `collect` would remove from the dataset at `path`; nothing is written, a run may be at work.

    `keep_days`: what is younger stays. `checkpoints`: trained weights that nothing kept uses go too. A branch or tag of
    which it is not known what it stands for, or a damaged version that is needed, is a `DatasetError`.
    """
    if not 0 <= keep_days <= _MOST_DAYS:
        raise ConfigError(f"the days to keep are a number from 0 to {_MOST_DAYS}, not {keep_days:g}")
    folder = DatasetFolder.open(path)
    since = datetime.now(UTC) - timedelta(days=keep_days)
    journalled = read_journal(folder)
    versions = Versions(folder)
    folders = list(step_folders(folder, journalled.uses))
    reasons = _reasons(versions, journalled, since, [] if checkpoints else folders)
    kept = set().union(*reasons.values())
    still = _still_used(versions, journalled, since, reasons)
    unused = [each for each in folders if not still.keeps(each)]
    going = tuple(each for each in unused if checkpoints or not each.is_trained)
    files, notes = _unused_files(folder, kept, journalled, min(since, _began(folders, going) or since))
    gone = [each for each in versions.metas if each not in kept]
    return GcPlan(
        versions=tuple(_children_first(gone, versions)),
        folders=going,
        files=tuple(files),
        held=tuple(each for each in unused if each not in going),
        kept=_kept_counts(reasons),
        notes=(*notes, *_of_unrecorded(folders)),
        bytes=_freed([*(folder.snapshot(each) for each in gone), *(each.path for each in going)], files),
    )


def _reasons(
    versions: Versions, journalled: Journalled, since: datetime, folders: Sequence[StepFolder]
) -> dict[str, set[str]]:
    """The versions that are kept, by why; `folders`: those in which an unfinished training keeps what it reads."""
    trainings = [each for each in folders if each.kind == "unfinished training"]
    read = (use.snapshot_id for each in trainings for use in each.uses if not use.is_final)
    reasons = {
        "branches": set().union(*versions.by_branch.values()),
        "tags": versions.reach(versions.tagged),
        "age": versions.reach(versions.younger_than(since)),
        "readers": versions.reach(versions.in_use()),
        "unfinished trainings": versions.reach(read),
    }
    answered = versions.answered_from(journalled, set().union(*reasons.values()))
    return {**reasons, "unpublished answers": versions.reach(answered)}


def _still_used(
    versions: Versions, journalled: Journalled, since: datetime, reasons: Mapping[str, set[str]]
) -> StillUsed:
    metas = [versions.metas[each] for each in set().union(*reasons.values())]
    return StillUsed(
        by_branch=versions.by_branch,
        otherwise=set().union(*(some for why, some in reasons.items() if why != "branches")),
        fingerprints={meta.step.fingerprint for meta in metas if meta is not None},
        since=since,
        # Uses come in order, so that the last one counts.
        last_runs={(use.branch, use.snapshot_id): use.run_id for use in journalled.uses if use.is_final},
    )


def _of_unrecorded(folders: Sequence[StepFolder]) -> Iterator[str]:
    unrecorded = sum(not each.uses for each in folders)
    if unrecorded:
        yield (
            f"{counted(unrecorded, 'step folder')} from before uses were recorded: kept; the next run of their config "
            "records them, and one that is needed no more can be deleted by hand"
        )


def _kept_counts(reasons: Mapping[str, set[str]]) -> dict[str, int]:
    """How many versions are kept for each reason and for none before it."""
    counts: dict[str, int] = {}
    told: set[str] = set()
    for why, some in reasons.items():
        if some - told:
            counts[why] = len(some - told)
        told |= some
    return counts


def _children_first(gone: Sequence[str], versions: Versions) -> Iterator[UnusedVersion]:
    """Each before what it came from, so that none is ever there without its parents."""
    parents = {each: [] if (meta := versions.metas[each]) is None else meta.parents for each in gone}
    children = Counter(parent for each in gone for parent in set(parents[each]))
    free = [each for each in gone if not children[each]]
    left = dict.fromkeys(gone)
    while left:
        # Where versions came from each other in a circle, any one is first.
        snapshot_id = free.pop() if free else next(iter(left))
        if snapshot_id not in left:
            continue
        del left[snapshot_id]
        meta = versions.metas[snapshot_id]
        yield UnusedVersion(snapshot_id, "" if meta is None else meta.step.name, versions.created(snapshot_id))
        for parent in set(parents[snapshot_id]):
            children[parent] -= 1
            if parent in left and not children[parent]:
                free.append(parent)


def _began(folders: Iterable[StepFolder], going: Collection[StepFolder]) -> datetime | None:
    """When the first of the trainings that may be resumed began: which files it made, only its component knows."""
    stays = (each.began for each in folders if each.kind == "unfinished training" and each not in going)
    return min(stays, default=None)


def _unused_files(
    folder: DatasetFolder, kept: Collection[str], journalled: Journalled, before: datetime
) -> tuple[list[Path], list[str]]:
    """Files that steps made, that have not changed since and that nothing names; and remarks."""
    found = sorted(path for path in folder.files.folder.glob("[0-9a-f][0-9a-f]/*") if not path.name.startswith("."))
    old = [
        path for path in found if path.is_file() and not path.is_symlink() and path.stat().st_mtime < before.timestamp()
    ]
    if not old:
        return [], []
    named = set(journalled.files)
    seen: set[object] = set()
    for snapshot_id in kept:
        try:
            named.update(named_files(Snapshot.open(folder.snapshot(snapshot_id)), seen))
        except DatasetError as error:
            return [], [f"no made file is removed, for it cannot be read which are still named: {error}"]
    return [path for path in old if path.name.partition(".")[0] not in named], []


def _freed(folders: Iterable[Path], files: Iterable[Path]) -> int:
    """Bytes of files of which no other name stays."""
    names: Counter[tuple[int, int]] = Counter()
    found = {}
    for path in (*files, *(each for folder in folders for each in folder.rglob("*"))):
        state = path.lstat()
        names[state.st_dev, state.st_ino] += 1
        found[state.st_dev, state.st_ino] = state
    return sum(state.st_size for inode, state in found.items() if names[inode] >= state.st_nlink)


def collect(writer: DatasetWriter, plan: GcPlan) -> GcPlan:
    """Remove what a plan says, made while this writer had the dataset; what was removed, without what is in use now.

    Killed at any moment it leaves a dataset that is sound; what is left over goes with the next writer, or the next gc.
    A `DatasetError` if the dataset is being checked or copied.
    """
    folder = DatasetFolder.open(writer.path)
    trash = folder.snapshots / f".tmp-gc-{secrets.token_hex(4)}"
    alone = Hold.alone(folder.snapshots)
    if alone is None:
        raise DatasetError(f"{folder.path} is being checked or copied: nothing was removed, try again after that")
    try:
        trash.mkdir()
        gone = _take_away(folder, plan.versions, trash)
        sync_folder(folder.snapshots)
        for each in plan.folders:
            _move(each.path, trash)
        if plan.folders:
            sync_folder(folder.steps)
        alone.release()
        # A version that somebody opened just now still names its files; they go the next time.
        for path in plan.files if len(gone) == len(plan.versions) else ():
            path.unlink(missing_ok=True)
            with suppress(OSError):  # others lie there
                path.parent.rmdir()
        writer.journal.forget_uses(each.fingerprint for each in plan.folders)
        shutil.rmtree(trash, ignore_errors=True)
    except OSError as error:
        raise no_space(error, folder.path) from error
    finally:
        alone.release()
    removed = tuple(each for each in plan.versions if each.snapshot_id in gone)
    return attrs.evolve(plan, versions=removed, files=plan.files if len(removed) == len(plan.versions) else ())


def _take_away(folder: DatasetFolder, versions: Iterable[UnusedVersion], trash: Path) -> set[str]:
    """Move versions out of sight; which were moved: one that is in use stays, and what it came from."""
    gone: set[str] = set()
    staying: set[str] = set()
    for version in versions:
        path = folder.snapshot(version.snapshot_id)
        hold = None if version.snapshot_id in staying else Hold.alone(path)
        if hold is None:
            with suppress(DatasetError):
                staying.update(Snapshot.open(path).meta.parents)
            continue
        path.rename(trash / version.snapshot_id)
        hold.release()
        gone.add(version.snapshot_id)
        # Of a version that is gone; one that is left behind the next writer removes.
        seal_path(folder.sealed(version.snapshot_id)).unlink(missing_ok=True)
    return gone


def _move(path: Path, trash: Path) -> None:
    try:
        path.rename(trash / path.name)
    except OSError:  # the folder of steps may lie on another disk: then what names the weights goes first
        (path / "checkpoint.json").unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
