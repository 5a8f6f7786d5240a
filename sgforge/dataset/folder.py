"""The folder of a dataset: its marker, names that are safe as paths, durable small files, the lock."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from sgforge.dataset.damage import damaged_ref
from sgforge.durable import make_folder, sync_folder, write_text
from sgforge.errors import ConfigError, DatasetError
from sgforge.file_refs import FILES_ROOT
from sgforge.made_files import MadeFiles
from sgforge.regular_files import MAX_NAME_BYTES, OddFileError, read_json, read_regular, regular_only
from sgforge.seals import SUFFIX as SEAL_SUFFIX

__all__ = [
    "SCHEMA",
    "DatasetFolder",
    "Lock",
    "check_branch",
    "check_schema",
    "no_space",
    "split_ref",
    "write_durably",
]

SCHEMA: Final = "2.1"
"""Of what is written. 2.0 had no digests of metadata; `sgforge upgrade` adds them."""
_SCHEMAS: Final = ("2.0", SCHEMA)
_MARKER: Final = "sgforge.json"
_MAX_MARKER_BYTES: Final = 4096
_OWN_NAMES: Final = re.compile(
    r"\.?sgforge\.json.*|lock|journal\.sqlite.*|responses\.sqlite.*|\.?states\.index.*"
    r"|snapshots|refs|steps|files|seals|damaged"
)
_SNAPSHOT_ID: Final = re.compile(r"[0-9a-f]{32}")
_REF_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FINGERPRINT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_KINDS: Final = ("heads", "tags")


def check_schema(schema: Any, where: Path) -> None:
    """A `DatasetError` unless `schema` is one that this sgforge reads; an unknown minor number is fine."""
    major, own = str(schema).partition(".")[0], SCHEMA.partition(".")[0]
    if major == own:
        return
    is_older = major.isdecimal() and int(major) < int(own)
    way_out = "run its pipeline again into a new folder" if is_older else "use a newer sgforge"
    raise DatasetError(f"{where} has schema {schema!r}; this sgforge reads {SCHEMA}: {way_out}")


def _marker_text(schema: str) -> str:
    return json.dumps({"format": "sgforge-dataset", "schema": schema}) + "\n"


def check_branch(name: str) -> None:
    """A `ConfigError` for a name that no branch can have: found before any work, not after it."""
    if not (isinstance(name, str) and _REF_NAME.fullmatch(name)):
        raise ConfigError(f"{name!r} is no name of a branch: use letters, digits, '.', '_' and '-'")


def no_space(error: OSError, path: Path) -> DatasetError:
    """The error for a write that failed: what, where, and that nothing finished is lost."""
    why = error.strerror or str(error)
    return DatasetError(f"{path}: cannot write: {why}; everything finished so far is kept, run again after mending it")


def split_ref(spec: str, default: str = "main") -> tuple[str, str]:
    """(path, ref) of DATASET[@ref]."""
    path, at, ref = spec.rpartition("@")
    # An @ before the last folder belongs to the path.
    if not at or "/" in ref or not path:
        return spec, default
    return path, ref


def write_durably(path: Path, text: str) -> None:
    """Replace a small file of a dataset; when this returns, it survives a power cut."""
    try:
        write_text(path, text)
    except OSError as error:
        raise no_space(error, path) from error


class DatasetFolder:
    """Where everything of a dataset lies. Names that come from files are checked before they become a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.snapshots = path / "snapshots"
        self.seals = path / "seals"
        self.journal = path / "journal.sqlite"
        self.states_index = path / "states.index"

    @classmethod
    def open(cls, path: Path | str) -> DatasetFolder:
        """An existing dataset; anything else is a `DatasetError`."""
        folder = cls(Path(path))
        marker = folder.path / _MARKER
        try:
            meta = read_json(marker, _MAX_MARKER_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            what = "is no sgforge dataset" if folder.path.exists() else "does not exist"
            raise DatasetError(f"{folder.path} {what} (there is no {_MARKER} in it); give a dataset's folder") from None
        except (OSError, ValueError) as error:
            raise DatasetError(f"{marker} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if not isinstance(meta, dict) or meta.get("format") != "sgforge-dataset":
            raise DatasetError(f"{marker} is not the marker of an sgforge dataset; give another folder")
        check_schema(meta.get("schema"), marker)
        folder._refuse_links()
        return folder

    def _refuse_links(self) -> None:
        """A `DatasetError` for a part of the dataset that leads to elsewhere: what lies there is no part of it."""
        entries = (entry for entry in self.path.iterdir() if _OWN_NAMES.fullmatch(entry.name))
        for entry in (*entries, *(self.path / "refs" / kind for kind in _KINDS)):
            if entry.is_symlink():
                raise DatasetError(f"{entry} is a link to elsewhere: refused; put the file or folder itself there")

    @classmethod
    def prepare(cls, path: Path | str) -> DatasetFolder:
        """An existing dataset or an empty folder to become one; another program's folder is a `DatasetError`."""
        folder = cls(Path(path))
        try:
            make_folder(folder.path)
            entries = sorted(folder.path.iterdir())
        except OSError as error:
            raise DatasetError(f"{folder.path}: {error.strerror}; give a folder that can be written") from None
        foreign = [entry.name for entry in entries if not _OWN_NAMES.fullmatch(entry.name)]
        folder._refuse_links()
        if (folder.path / _MARKER).exists():
            return cls.open(path)
        if foreign:
            raise DatasetError(f"{folder.path} holds {foreign[0]!r} and no dataset: give an empty or a new folder")
        return folder

    @property
    def files(self) -> MadeFiles:
        """The files that steps made."""
        return MadeFiles(self.path / FILES_ROOT)

    def mark(self) -> None:
        """Make the folder a dataset, if it is none yet; the lock must be held."""
        try:
            for name in ("snapshots", "seals", "refs/heads", "refs/tags", "steps"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_space(error, self.path) from error
        marker = self.path / _MARKER
        if not marker.exists():
            sync_folder(self.path / "refs")
        # Before any version of this schema: what holds one, and says otherwise, is damaged.
        if self.marker_schema() in (None, *_SCHEMAS[:-1]):
            write_durably(marker, _marker_text(SCHEMA))

    def marker_schema(self) -> str | None:
        """The schema in the marker; None if there is none, "" where its bytes are none that this sgforge writes."""
        try:
            text = read_regular(self.path / _MARKER, _MAX_MARKER_BYTES)
        except FileNotFoundError:
            return None
        return next((schema for schema in _SCHEMAS if text == _marker_text(schema).encode()), "")

    def clean(self) -> None:
        """Remove what a killed writer left half-written; the lock must be held."""
        for leftover in self.snapshots.glob(".tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for leftover in self.seals.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        for leftover in self.seals.glob(f"*{SEAL_SUFFIX}"):  # of a version that a killed writer was about to name
            if _SNAPSHOT_ID.fullmatch(leftover.stem) and not (self.snapshots / leftover.stem).exists():
                leftover.unlink(missing_ok=True)
        for kind in _KINDS:
            for leftover in (self.path / "refs" / kind).glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        for leftover in (
            *self.path.glob(f".{_MARKER}.*.tmp"),
            *self.path.glob(".states.index.*.tmp"),
            *(self.path / FILES_ROOT).glob("*/.*.tmp"),
        ):
            leftover.unlink(missing_ok=True)

    def place_aside(self, path: Path) -> Path:
        """Where a file or folder of the dataset would be moved out of the way; nothing lies there yet."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        number = 0
        while (target := self.aside / f"{stamp}-{number}" / path.relative_to(self.path)).exists():
            number += 1
        return target

    def set_aside(self, path: Path) -> Path:
        """Move a file or folder of the dataset out of the way, durably; where it went. The lock must be held."""
        target = self.place_aside(path)
        try:
            make_folder(target.parent)
            path.rename(target)
            sync_folder(target.parent)
            sync_folder(path.parent)
        except OSError as error:
            raise no_space(error, target) from error
        return target

    def was_set_aside(self, snapshot_id: str) -> bool:
        """Whether a snapshot that is not here was moved out of the way."""
        return any(self.aside.glob(f"*/snapshots/{snapshot_id}"))

    @property
    def aside(self) -> Path:
        """Where damaged files are moved; nothing here reads them."""
        return self.path / "damaged"

    def is_unused(self) -> bool:
        """Whether nothing has been published, named or trained in it; the journal is not asked."""
        kept = (self.snapshots, self.path / "steps", *(self.path / "refs" / kind for kind in _KINDS))
        return not any(any(folder.iterdir()) for folder in kept if folder.is_dir())

    def remove(self) -> None:
        """Take the folder away, unless something of somebody else's lies in it; the lock must be held."""
        if all(_OWN_NAMES.fullmatch(entry.name) for entry in self.path.iterdir()):
            shutil.rmtree(self.path, ignore_errors=True)

    def snapshot(self, snapshot_id: str) -> Path:
        """The folder of a snapshot; an id that is none is a `DatasetError`."""
        if not _SNAPSHOT_ID.fullmatch(snapshot_id):
            raise DatasetError(f"{self.path}: {snapshot_id!r} is no snapshot id (32 hexadecimal digits)")
        path = self.snapshots / snapshot_id
        if path.is_symlink() or self.snapshots.is_symlink():
            raise DatasetError(f"{path} is a link to elsewhere: refused")
        return path

    def sealed(self, snapshot_id: str) -> Path:
        """The path whose seal is that of a snapshot's root, SNAPSHOT/zarr.json."""
        return self.seals / self.snapshot(snapshot_id).name

    def sealed_ids(self) -> list[str]:
        """The ids of snapshots that have a seal."""
        found = (path.stem for path in self.seals.glob(f"*{SEAL_SUFFIX}"))
        return sorted(name for name in found if _SNAPSHOT_ID.fullmatch(name))

    def snapshot_ids(self) -> list[str]:
        """All published snapshots, sorted by id."""
        try:
            return sorted(entry.name for entry in self.snapshots.iterdir() if _SNAPSHOT_ID.fullmatch(entry.name))
        except OSError as error:
            raise DatasetError(f"{self.snapshots}: {error.strerror}") from None

    @property
    def steps(self) -> Path:
        """The folders of checkpoints and reports."""
        return self.path / "steps"

    @property
    def responses(self) -> Path:
        """The file of paid answers, where no other was named."""
        return self.path / "responses.sqlite"

    def step(self, fingerprint: str) -> Path:
        """The folder of a step's checkpoints and reports; not made here."""
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise DatasetError(f"{fingerprint!r} is no fingerprint of a step")
        path = self.path / "steps" / fingerprint
        if path.is_symlink():
            raise DatasetError(f"{path} is a link to elsewhere: refused")
        return path

    def ref(self, kind: str, name: str) -> Path:
        """The file of a branch (`heads`) or tag (`tags`)."""
        if not _REF_NAME.fullmatch(name):
            raise DatasetError(f"{name!r} is no name of a branch or tag: use letters, digits, '.', '_' and '-'")
        return self.path / "refs" / kind / name

    def refs(self, kind: str) -> dict[str, str]:
        """Snapshot id by name of all branches (`heads`) or tags (`tags`) whose files are in order."""
        return {name: found for name, found in self._all_refs(kind) if isinstance(found, str)}

    def damaged_refs(self, kind: str) -> list[DatasetError]:
        """What is wrong with the files of the other branches or tags."""
        return list(self.damaged_refs_by_name(kind).values())

    def damaged_refs_by_name(self, kind: str) -> dict[str, DatasetError]:
        """As `damaged_refs`, by name."""
        return {name: found for name, found in self._all_refs(kind) if isinstance(found, DatasetError)}

    def is_plain_ref(self, kind: str, name: str) -> bool:
        """Whether the file of a branch or tag holds an id and the end of a line, and nothing that only reads so."""
        try:
            return re.fullmatch(rb"[0-9a-f]{32}\n?", self.ref(kind, name).read_bytes()) is not None
        except FileNotFoundError:  # taken away just now
            return True

    def _all_refs(self, kind: str) -> Iterator[tuple[str, str | DatasetError]]:
        folder = self.path / "refs" / kind
        try:
            names = sorted(entry.name for entry in folder.iterdir() if _REF_NAME.fullmatch(entry.name))
        except OSError as error:
            raise DatasetError(f"{folder}: {error.strerror}") from None
        for name in names:
            try:
                yield name, self.read_ref(kind, name)
            except DatasetError as error:
                yield name, error

    def read_ref(self, kind: str, name: str) -> str:
        """The snapshot id that the file of a branch or tag holds; a damaged file is a `DatasetError`."""
        path = self.ref(kind, name)
        if Path(os.path.realpath(path)) != Path(os.path.realpath(self.path)) / path.relative_to(self.path):
            raise DatasetError(f"{path} is a link to elsewhere: refused")
        try:
            text = read_regular(path, MAX_NAME_BYTES).decode("utf-8").strip()
        except (OddFileError, ValueError):
            text = ""
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}") from None
        if not _SNAPSHOT_ID.fullmatch(text):
            raise damaged_ref(path)
        return text

    def resolve(self, ref: str) -> str:
        """The snapshot id that a branch, a tag or (the start of) an id names."""
        for kind in _KINDS:
            if _REF_NAME.fullmatch(ref) and self.ref(kind, ref).exists():
                return self.read_ref(kind, ref)
        if len(ref) >= 6 and re.fullmatch(r"[0-9a-f]+", ref):
            found = [snapshot_id for snapshot_id in self.snapshot_ids() if snapshot_id.startswith(ref)]
            if len(found) == 1:
                return found[0]
        known = ", ".join([*self.refs("heads"), *self.refs("tags")]) or "none yet: nothing has been published"
        raise DatasetError(f"{self.path} has no branch, tag or snapshot {ref!r}; known: {known}")


class Lock:
    """The right to write a dataset: one process at a time, given back by the system when the process ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @classmethod
    def take(cls, folder: Path) -> Lock:
        """Take the lock of a folder; held by another writer it is a `DatasetError` naming that one."""
        path = folder / "lock"
        try:
            # Held open as long as the lock.
            stream = open(path, "a+", encoding="utf-8", errors="replace", opener=regular_only)  # noqa: SIM115
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror}; a dataset is written in a folder one may write") from None
        try:
            _lock(stream)
        except OSError:
            stream.seek(0)
            holder = stream.read(200).strip() or "another process"
            stream.close()
            raise DatasetError(f"{folder} is being written by {holder}; wait for it to end, or stop it") from None
        with suppress(OSError):  # on a full disk nobody is told who holds it: it is held all the same
            stream.truncate(0)
            os.write(stream.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        return cls(stream)

    def release(self) -> None:
        """Let others write."""
        if not self._stream.closed:
            with suppress(OSError):
                self._stream.truncate(0)  # at rest it says nothing that could be damaged
        self._stream.close()


def _lock(stream: TextIO) -> None:
    """Lock a file; once more after a moment, as a check whether somebody has it locked holds it for that long."""
    with suppress(OSError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    time.sleep(0.05)
    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
