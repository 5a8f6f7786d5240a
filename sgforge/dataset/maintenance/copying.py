"""A sound copy of a dataset, or of one of its versions: shared files stay shared, and it is there whole or not at all.

Refs are read first, then the journal, then the versions: what a run publishes meanwhile is in the copy twice rather
than not at all. The copy is checked before it gets its name.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import attrs

from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.in_use import Hold
from sgforge.dataset.journal import sealed_journal
from sgforge.dataset.maintenance.reachable import Versions, named_files, read_journal
from sgforge.dataset.maintenance.step_folders import StepFolder, step_folders
from sgforge.dataset.maintenance.verification import verify_dataset
from sgforge.dataset.snapshot import Snapshot
from sgforge.dataset.states.known_states import connect_to_read
from sgforge.durable import make_folder, sync_file, sync_folder
from sgforge.errors import DatasetError
from sgforge.regular_files import open_regular
from sgforge.seals import seal, seal_path
from sgforge.text.wording import counted

__all__ = ["Copied", "copy_dataset"]

_BLOCK: Final = 2**20
_FINISHED: Final = ("checkpoint.json", "report.json", "choices.jsonl")
"""The file that a barrier's step writes last, by which its folder is known to be whole."""
_TRIES: Final = 5
_MARGIN: Final = 2**20


@attrs.frozen(kw_only=True)
class Copied:
    """What was copied: versions, files and their bytes, hard links that were kept; what was left behind, and why."""

    versions: int
    refs: Mapping[str, str]
    files: int
    bytes: int
    links: int
    left_out: tuple[str, ...]


def copy_dataset(path: Path | str, target: Path | str, ref: str | None = None) -> Copied:
    """Copy the dataset at `path` to the new folder `target`, also while a run writes.

    `ref`: of a branch, tag or version alone, with all that it came from; then unpublished answers and the paid answers
    of models stay behind. A target that is there, a full disk, or a dataset that is damaged is a `DatasetError`, and
    leaves nothing at `target`; what a killed copy leaves beside it goes with the next copy to the same place.
    """
    folder, target = DatasetFolder.open(path), Path(target)
    if os.path.lexists(target):
        raise DatasetError(f"{target} is there already; give a name that is not")
    if target.resolve().is_relative_to(folder.path.resolve()):
        raise DatasetError(f"{target} lies in {folder.path}; give a place outside of the dataset")
    work = target.with_name(f".{target.name}.sgforge-copy")
    hold = Hold.shared(folder.snapshots)
    try:
        make_folder(target.parent)
        alone = _begin(work, target)
        copied = _Copy(folder, DatasetFolder(work)).all(ref)
        work.rename(target)
        sync_folder(target.parent)
        alone.release()
    except BaseException as error:
        if not isinstance(error, _BusyError):
            shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, OSError):
            why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise DatasetError(f"{target} was not made: {why}; nothing is left there") from error
        raise
    finally:
        hold.release()
    return copied


class _BusyError(DatasetError):
    """Another process copies to the same place."""


def _begin(work: Path, target: Path) -> Hold:
    """Make the folder in which the copy grows; what a killed copy left there is removed."""
    if work.is_dir():
        left = Hold.alone(work)
        if left is None:
            raise _BusyError(f"{target} is being made by another copy; wait for it, or give another name")
        shutil.rmtree(work)
        left.release()
    work.mkdir()
    hold = Hold.alone(work)
    if hold is None:
        raise _BusyError(f"{target} is being made by another copy; wait for it, or give another name")
    return hold


class _Copy:
    """The copy while it grows."""

    def __init__(self, source: DatasetFolder, target: DatasetFolder) -> None:
        self._source = source
        self._target = target
        self._by_inode: dict[tuple[int, int], Path] = {}
        self._made: list[Path] = []
        self._links = 0
        self._left_out: list[str] = []

    def all(self, ref: str | None) -> Copied:
        """Copy, make durable, check."""
        source = self._source
        # Once: a run may move a branch at any moment.
        head = None if ref is None else source.resolve(ref)
        named = {kind: self._refs(kind, ref, head) for kind in ("heads", "tags")}
        self._target.mark()
        self._copy_database(source.journal)
        versions = Versions(source)
        wanted = set(versions.metas) if head is None else versions.reach([head])
        self._check_space(wanted)
        self._copy_versions(wanted)
        self._copy_steps(self._wanted_steps(wanted, versions, is_part=head is not None))
        self._copy_made_files(None if head is None else wanted)
        if head is None:
            self._copy_database(source.responses)
        else:
            self._leave_answers()
        self._seal_databases()
        if source.aside.is_dir():
            self._left_out.append(f"{source.aside.name}/, which repair moved aside")
        self._write_refs(named)
        self._make_durable()
        self._check()
        return self._copied(len(wanted), named)

    def _refs(self, kind: str, ref: str | None, head: str | None) -> dict[str, str]:
        """The branches or tags of the copy; of one version its own name, and main, which is read by default."""
        for damage in self._source.damaged_refs(kind):
            raise damage
        refs = self._source.refs(kind)
        if ref is None or head is None:
            return refs
        found = {ref: head} if refs.get(ref) is not None else {}
        return {**found, "main": head} if kind == "heads" else found

    def _write_refs(self, named: Mapping[str, Mapping[str, str]]) -> None:
        for kind, refs in named.items():
            for name, snapshot_id in refs.items():
                self._made.append(self._target.ref(kind, name))
                self._made[-1].write_text(snapshot_id + "\n")

    def _copied(self, versions: int, named: Mapping[str, Mapping[str, str]]) -> Copied:
        states = (path.lstat() for path in self._target.path.rglob("*"))
        sizes = {state.st_ino: state.st_size for state in states if stat.S_ISREG(state.st_mode)}
        return Copied(
            versions=versions,
            refs={name: "branch" if kind == "heads" else "tag" for kind, refs in named.items() for name in refs},
            files=len(sizes),
            bytes=sum(sizes.values()),
            links=self._links,
            left_out=tuple(self._left_out),
        )

    def _copy_versions(self, wanted: Collection[str]) -> None:
        for snapshot_id in sorted(wanted):
            self._copy_tree(self._source.snapshot(snapshot_id), self._target.snapshot(snapshot_id))
            sealed = seal_path(self._source.sealed(snapshot_id))
            if sealed.exists():
                self._copy_file(sealed, self._target.seals / sealed.name)

    def _wanted_steps(self, wanted: Collection[str], versions: Versions, *, is_part: bool) -> list[StepFolder]:
        """The folders of steps that belong to these versions; of a whole dataset all."""
        found = list(step_folders(self._source, read_journal(self._source).uses))
        if not is_part:
            return found
        metas = (versions.metas[each] for each in wanted)
        fingerprints = {meta.step.fingerprint for meta in metas if meta is not None}
        return [
            each
            for each in found
            if each.fingerprint in fingerprints or any(use.snapshot_id in wanted for use in each.uses)
        ]

    def _copy_steps(self, folders: Iterable[StepFolder]) -> None:
        """Folders of steps; one that a run changes meanwhile is left out, unless its work is done."""
        for each in folders:
            target = self._target.step(each.fingerprint)
            if any((each.path / name).exists() for name in _FINISHED):
                self._copy_tree(each.path, target)
                continue
            # As it is between two changes, a kill could have left it too: its training resumes from there.
            made, before = len(self._made), _states(each.path)
            with suppress(FileNotFoundError):
                self._copy_tree(each.path, target)
                if _states(each.path) == before:
                    continue
            del self._made[made:]
            shutil.rmtree(target, ignore_errors=True)
            self._left_out.append(f"step folder {each.fingerprint[:12]}, in which a run is at work")

    def _check_space(self, wanted: Collection[str]) -> None:
        """An error before hours of copying rather than after them."""
        sizes = {}
        folders = [self._source.snapshot(each) for each in wanted]
        for path in (each for folder in folders for each in folder.rglob("*")):
            state = path.lstat()
            sizes[state.st_ino] = state.st_size
        need, free = sum(sizes.values()) + _MARGIN, shutil.disk_usage(self._target.path).free
        if need > free:
            raise DatasetError(
                f"{self._target.path.parent} has {free / 1e9:.1f} GB left, the versions alone need {need / 1e9:.1f} "
                "GB; nothing was copied"
            )

    def _copy_made_files(self, wanted: Collection[str] | None) -> None:
        files = self._source.files.folder
        named: set[str] | None = None
        if wanted is not None:
            seen: set[object] = set()
            opened = (Snapshot.open(self._source.snapshot(each)) for each in wanted)
            named = {name for snapshot in opened for name in named_files(snapshot, seen)}
        for path in sorted(files.glob("[0-9a-f][0-9a-f]/*")):
            if not path.name.startswith(".") and (named is None or path.name.partition(".")[0] in named):
                self._copy_file(path, self._target.files.folder / path.parent.name / path.name)

    def _copy_tree(self, source: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                (target / path.relative_to(source)).mkdir(exist_ok=True)
            elif not path.name.endswith(".tmp"):
                self._copy_file(path, target / path.relative_to(source))

    def _copy_file(self, source: Path, target: Path) -> None:
        """A file with its mode and times, or another name of one that is there already."""
        if source.is_symlink():
            raise DatasetError(f"{source} is a link to elsewhere: refused")
        with open_regular(source) as stream:
            state = os.fstat(stream.fileno())
            inode = state.st_dev, state.st_ino
            target.parent.mkdir(parents=True, exist_ok=True)
            if inode in self._by_inode and self._link(self._by_inode[inode], target):
                return
            with target.open("xb") as out:
                shutil.copyfileobj(stream, out, _BLOCK)
                # A source may have lost its modes, by another way of copying.
                is_fixed = target.is_relative_to(self._target.snapshots)
                os.fchmod(out.fileno(), 0o444 if is_fixed else state.st_mode & 0o777)
        os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
        if state.st_nlink > 1:
            self._by_inode[inode] = target
        self._made.append(target)

    def _link(self, known: Path, target: Path) -> bool:
        try:
            os.link(known, target)
        except OSError:  # no links here, or too many of one file
            return False
        self._links += 1
        return True

    def _copy_database(self, path: Path) -> None:
        """A SQLite file as it is at one moment, whoever writes it."""
        if not path.exists():
            return
        target = self._target.path / path.name
        for _ in range(_TRIES):
            before = _log_of(path)
            try:
                with closing(connect_to_read(path)) as base, closing(sqlite3.connect(target)) as copy:
                    base.backup(copy)
            except sqlite3.Error as error:
                raise DatasetError(f"{path} cannot be copied: {error}; sgforge verify says more") from error
            # Without a log nothing was writing, and the file alone was read; a run that began since may change it.
            if before is not None or _log_of(path) is None:
                break
            target.unlink()
        else:
            raise DatasetError(f"{path} changed each time it was copied; try again")
        self._made.append(target)

    def _leave_answers(self) -> None:
        """Take out of the copied journal what belongs to versions and folders that stay behind."""
        self._left_out.append("unpublished answers, and the paid answers of models")
        if not self._target.journal.exists():
            return
        with closing(sqlite3.connect(self._target.journal, isolation_level=None)) as base:
            tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in sorted(tables & {"answer", "start", "reading"}):
                base.execute(f"DELETE FROM {table}")
            if "folder_use" in tables:
                known = [folder for (folder,) in base.execute("SELECT DISTINCT folder FROM folder_use")]
                gone = [(folder,) for folder in known if not self._target.step(folder).exists()]
                base.executemany("DELETE FROM folder_use WHERE folder = ?", gone)
            base.execute("VACUUM")  # deleted rows would be in the file still

    def _seal_databases(self) -> None:
        """They are at rest now, with other bytes than those that they were copied from."""
        journal, responses = self._target.journal, self._target.responses
        if journal.exists():
            seal(journal, sealed=sealed_journal(journal))
        if responses.exists():
            seal(responses)

    def _make_durable(self) -> None:
        # All were handed to the system before: it has begun to write, and each wait is short.
        with ThreadPoolExecutor(4, thread_name_prefix="sgforge-sync") as threads:
            list(threads.map(sync_file, self._made))
        folders = [path for path in self._target.path.rglob("*") if path.is_dir()]
        for path in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            sync_folder(path)
        sync_folder(self._target.path)

    def _check(self) -> None:
        problems = verify_dataset(self._target.path).problems
        if problems:
            raise DatasetError(
                f"the copy is not sound, so it was not kept: {counted(len(problems), 'problem')}, the first: "
                f"{problems[0]}; sgforge verify {self._source.path} looks at the dataset itself, and a sound version "
                "of it can be copied alone (DATASET@NAME)"
            )


def _states(folder: Path) -> list[tuple[str, int, int, int]]:
    """What of the files of a folder changes when one is written."""
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return [(str(path), state.st_ino, state.st_size, state.st_mtime_ns) for path, state in found]


def _log_of(path: Path) -> int | None:
    with suppress(OSError):
        return path.with_name(path.name + "-wal").stat().st_ino
    return None
