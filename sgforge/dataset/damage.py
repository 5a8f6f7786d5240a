"""What is said of a damaged file of a dataset: where it lies, and the ways out of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sgforge.errors import DatasetError

__all__ = ["DamagedError", "damage_told", "damaged_journal", "damaged_ref", "damaged_snapshot"]


class DamagedError(DatasetError):
    """A version in which something is wrong. `what`: that alone, without the ways out."""

    what: str = ""


def damaged_snapshot(what: str, folder: Path) -> DatasetError:
    """The error for a snapshot's folder in which something is wrong."""
    error = DamagedError(
        f"{what}; this version is damaged: sgforge repair {folder.parent.parent} takes a sound copy of the file "
        f"or moves the version aside; or use another one (DATASET@NAME), or delete {folder} and run again, which makes "
        "its step anew and pays no model twice; sgforge verify finds all damage"
    )
    error.what = what
    return error


def damaged_ref(path: Path) -> DatasetError:
    """The error for the file of a branch or tag that names no snapshot."""
    way_out = "run again, which writes it anew" if path.parent.name == "heads" else "delete it and tag again"
    return DatasetError(
        f"{path} does not name a snapshot, the file is damaged: {way_out}; each folder in "
        f"{path.parent.parent.parent / 'snapshots'} is a version that can be used by its id"
    )


def damaged_journal(path: Path, why: str) -> DatasetError:
    """The error for a journal that SQLite cannot read."""
    return DatasetError(
        f"{path}: {why}; the journal is damaged: move it away with its -wal and -shm files and run again; what "
        "unfinished steps had is computed anew, published versions and the paid answers of models are not touched"
    )


class Version(Protocol):
    """A version as far as it is asked what is wrong with it."""

    path: Path

    def content_fault(self) -> str | None:
        """What is wrong with what it holds; None if nothing is."""
        ...


@contextmanager
def damage_told(*versions: Version) -> Iterator[None]:
    """Say that a version is damaged where something breaks on what it holds; an error of our own stays what it is.

    Ids that name no text, texts that are no UTF-8, counts that do not add up: looked for when something broke, as
    looking each time would cost as much as reading.
    """
    try:
        yield
    except (DatasetError, OSError):
        raise
    except Exception as error:
        for version in versions:
            if (fault := version.content_fault()) is not None:
                raise damaged_snapshot(f"{version.path}: {fault}", version.path) from error
        raise
