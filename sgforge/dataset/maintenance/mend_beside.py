"""Mending what lies beside the versions: branches and tags, the marker, modes, files of steps, SQLite files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from sgforge.dataset.folder import write_durably
from sgforge.dataset.journal import Journal
from sgforge.dataset.maintenance.findings import Finding
from sgforge.dataset.maintenance.sqlite_rebuild import rebuilt
from sgforge.dataset.maintenance.step_checks import KEPT
from sgforge.dataset.maintenance.verification import unsound_answers
from sgforge.dataset.maintenance.workbench import Workbench, how
from sgforge.digests import file_sha256, folder_sha256
from sgforge.errors import SgforgeError
from sgforge.regular_files import MAX_META_BYTES, read_json
from sgforge.seals import Digest, break_seal, read_seal, seal, seal_path
from sgforge.text.wording import counted

__all__ = ["BesideMender"]


class BesideMender:
    """Mends everything but the files of versions, or moves it aside."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._done: set[str] = set()

    def begin_round(self) -> None:
        """From here on a SQLite file may be looked through again."""
        self._done.clear()

    def mend(self, finding: Finding) -> None:
        """Do what can be done about one finding."""
        self._of_kind[finding.kind](self, finding)

    def _mend_ref(self, finding: Finding) -> None:
        """A branch goes back to what it came from, where its version is gone; a tag never moves."""
        path = self._bench.folder.path / finding.where
        named = self._named(path)
        if named is None and path.parent.name == "heads":
            named = next(self._came_from(path), None)
        if named is not None:
            self._bench.keep([path])
            self._bench.do(lambda path: write_durably(path, f"{named}\n"), path)
            self._bench.mended.append(f"{finding.where}: stands for snapshot {named[:12]}")
        elif path.exists():
            self._bench.move(path, finding.where)

    def _named(self, path: Path) -> str | None:
        """The version that a name stands for, also where a letter of it was changed."""
        text = path.read_bytes()[:256].decode("ascii", errors="replace") if path.is_file() else ""
        known = self._bench.folder.snapshot_ids()
        near = [each for each in known if len(text) in (32, 33) and _differ(text[:32], each) <= 1]
        for other in self._bench.others:
            with suppress(SgforgeError):
                if not near and (found := other.read_ref(path.parent.name, path.name)) in known:
                    near = [found]
        return near[0] if len(near) == 1 else None

    def _came_from(self, path: Path) -> Iterator[str]:
        """The versions before the one that a branch stood for, which was moved aside, as far as they are here."""
        waiting = [path.read_text(errors="replace").strip()] if path.is_file() else []
        seen: set[str] = set()
        while waiting:
            snapshot_id = waiting.pop(0)
            for root in self._bench.folder.aside.glob(f"*/snapshots/{snapshot_id}/zarr.json"):
                with suppress(OSError, ValueError, LookupError, TypeError):
                    waiting += read_json(root, MAX_META_BYTES)["attributes"]["sgforge"]["parents"]
            if snapshot_id not in seen and snapshot_id in self._bench.folder.snapshot_ids():
                yield snapshot_id
            seen.add(snapshot_id)
            waiting = [each for each in waiting if each not in seen]

    def _mend_modes(self, finding: Finding) -> None:
        for snapshot_id in self._bench.folder.snapshot_ids():
            for path in self._bench.folder.snapshot(snapshot_id).rglob("*"):
                if path.is_file() and not path.is_symlink():
                    self._bench.do(lambda path: path.chmod(0o444), path)
        self._bench.mended.append("files of snapshots: made read-only again")

    def _mend_index(self, finding: Finding) -> None:
        self._bench.move(self._bench.folder.path / finding.where, finding.where)
        self._bench.again.append(f"{finding.where}, from the versions")

    def _mend_marker(self, finding: Finding) -> None:
        self._bench.move(self._bench.folder.path / finding.where, finding.where)
        self._bench.do(lambda _: self._bench.folder.mark(), self._bench.folder.path)
        self._bench.mended.append("sgforge.json: written anew")

    def _mend_step(self, finding: Finding) -> None:
        """A file of a step, by its seal; weights by the digest in their checkpoint."""
        path = self._bench.folder.path / finding.where
        inside = Path(finding.where)
        candidates = [other.path / inside for other in self._bench.others]
        if path.is_dir():
            self._mend_weights(path, finding, candidates)
            return
        try:
            told: tuple[Digest, ...] = read_seal(path)
        except (OSError, ValueError):
            told = ()
        source = self._bench.found(path, told, candidates)
        if source is not None:
            self._bench.put(source, [path])
            self._bench.mended.append(f"{finding.where}: {how(source)}")
        elif not told and path.exists() and seal_path(path).exists() and _is_whole(path):
            self._bench.do(seal, path)
            self._bench.mended.append(f"{finding.where}: its digest is written anew")
        else:
            self._move_step(path, inside)

    def _mend_weights(self, path: Path, finding: Finding, candidates: Sequence[Path]) -> None:
        told = json.loads((path.parent / "checkpoint.json").read_bytes())["sha256"]
        for copy in candidates:
            if copy.is_dir() and folder_sha256(copy) == told:
                self._bench.move(path, finding.where)
                self._bench.do(lambda target, copy=copy: _copy_tree(copy, target, self._bench.scratch), path)  # type: ignore[misc]
                self._bench.mended.append(f"{finding.where}: a sound copy of {copy}")
                return
        self._move_step(path.parent / "checkpoint.json", Path(finding.where).parent / "checkpoint.json")
        self._bench.move(path, finding.where)

    def _move_step(self, path: Path, inside: Path) -> None:
        """Move a file of a step aside with what is read together with it."""
        together = [path]
        if path.name in KEPT:
            together += [path.with_name("report.json")] if path.name == "predictions.jsonl" else []
            self._bench.again.append(f"what steps/{inside.parent.name[:12]} kept in {path.name}")
        for each in together:
            if each.exists():
                self._bench.move(each, f"{inside.parent}/{each.name}")
            self._bench.do(break_seal, each)

    def _mend_made(self, finding: Finding) -> None:
        """A file that a step made: its name tells what is in it."""
        path = self._bench.folder.path / finding.where
        for other in self._bench.others:
            copy = other.path / finding.where
            if copy.is_file() and file_sha256(copy).hex() == path.stem:
                self._bench.put(copy.read_bytes(), [path])
                self._bench.mended.append(f"{finding.where}: a sound copy of {copy}")
                return
        self._bench.move(path, finding.where)

    def _mend_sqlite(self, finding: Finding) -> None:
        """A copy of the whole, else every row that can be read and is what was kept."""
        path = self._bench.folder.path / finding.where
        if finding.kind == "answer":
            self._bench.again.append(finding.what)
        if finding.where in self._done:
            return
        self._done.add(finding.where)  # once a round: the file has one answer to all that is wrong with it
        if self._bench.dry_run:
            self._bench.mended.append(f"{finding.where}: its rows are looked through, those that are sound are kept")
            return
        sealed = self._bench.folder.seals / path.name if path == self._bench.folder.journal else path
        try:
            told: tuple[Digest, ...] = read_seal(sealed)
        except (OSError, ValueError):
            told = ()
        source = self._bench.found(path, told, [other.path / path.name for other in self._bench.others])
        if source is not None:
            self._bench.put(source, [path])
            path.chmod(0o644)
            self._bench.mended.append(f"{finding.where}: {how(source)}")
            return
        self._rebuild(path, sealed)

    def _rebuild(self, path: Path, sealed: Path) -> None:
        where = str(path.relative_to(self._bench.folder.path))
        new = self._bench.scratch / path.name
        self._bench.scratch.mkdir(exist_ok=True)
        if not path.exists():
            break_seal(sealed)
            self._bench.mended.append(f"{where}: it is gone, and the next run begins a new one")
            return
        rows = rebuilt(path, new, unsound_answers(self._bench.folder) if path == self._bench.folder.journal else ())
        target = self._bench.folder.place_aside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        for ending in ("", "-wal"):
            if (part := path.with_name(path.name + ending)).exists():
                shutil.copyfile(part, target.with_name(part.name))
                self._bench.aside.append((f"{where}{ending}", str(target.with_name(part.name))))
        break_seal(sealed)
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        os.replace(new, path)
        if path == self._bench.folder.journal:
            Journal(path, look_through=True).close()
        else:
            seal(path)
        self._bench.mended.append(f"{where}: {counted(rows, 'row')} that could be read are kept, in a new file")

    _of_kind: Final = {
        "mode": _mend_modes,
        "ref": _mend_ref,
        "marker": _mend_marker,
        "step": _mend_step,
        "made": _mend_made,
        "sqlite": _mend_sqlite,
        "answer": _mend_sqlite,
        "index": _mend_index,
    }


def _differ(text: str, other: str) -> int:
    return sum(one != two for one, two in zip(text, other, strict=False))


def _is_whole(path: Path) -> bool:
    """Whether a file of a step can be read as what it is."""
    try:
        for line in [path.read_bytes()] if path.suffix == ".json" else path.read_bytes().splitlines():
            json.loads(line)
    except (OSError, ValueError):
        return path.suffix == ".txt"
    return True


def _copy_tree(source: Path, target: Path, scratch: Path) -> None:
    scratch.mkdir(exist_ok=True)
    work = scratch / target.name
    shutil.copytree(source, work)
    work.rename(target)
