"""Mending a dataset: sound copies take the place of damaged files, the rest is moved aside, and nothing is deleted.

Of a version that is moved aside the images that can still be read stay in one of their own, so that the next run finds
their states and computes only what was lost.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from sgforge.dataset.folder import DatasetFolder, Lock, write_durably
from sgforge.dataset.journal import Journal
from sgforge.dataset.maintenance.findings import Finding
from sgforge.dataset.maintenance.mending import place, put_right, sound_copy
from sgforge.dataset.maintenance.salvage import salvage
from sgforge.dataset.maintenance.sqlite_rebuild import rebuilt
from sgforge.dataset.maintenance.step_checks import KEPT
from sgforge.dataset.maintenance.verification import unsound_answers, verify_dataset
from sgforge.dataset.snapshot import Snapshot, read_meta
from sgforge.dataset.zarr_arrays.writing import group_metadata
from sgforge.digests import file_sha256, folder_sha256
from sgforge.errors import DatasetError, SgforgeError
from sgforge.seals import Digest, break_seal, digest_of, read_seal, seal, seal_path
from sgforge.text.wording import counted

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
    work = _Work(folder, [DatasetFolder.open(other) for other in others], dry_run=dry_run)
    if is_marked:
        work.tell("sgforge.json: written anew")
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
        shutil.rmtree(work.scratch, ignore_errors=True)
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

    def __init__(self, folder: DatasetFolder, others: Sequence[DatasetFolder], *, dry_run: bool) -> None:
        self._folder = folder
        self._others = others
        self._dry_run = dry_run
        self._mended: list[str] = []
        self._aside: list[tuple[str, str]] = []
        self._again: list[str] = []
        self._done: set[str] = set()
        self.scratch = folder.snapshots / f".tmp-repair-{os.getpid()}"

    def tell(self, mended: str) -> None:
        """Something was mended already."""
        self._mended.append(mended)

    def done(self, left: Sequence[str]) -> Repair:
        """All that was done."""
        return Repair(tuple(self._mended), tuple(self._aside), tuple(dict.fromkeys(self._again)), tuple(left))

    def mend(self, findings: Sequence[Finding]) -> bool:
        """Do what can be done about each; whether anything was."""
        before = len(self._mended) + len(self._aside)
        lost: dict[str, list[str]] = {}
        self._done.clear()
        for finding in findings:
            if finding.kind in ("root", "seal", "version", "array", "group", "content"):
                if not self._mend_in_versions(finding):
                    for snapshot_id in finding.versions:
                        lost.setdefault(snapshot_id, []).append(finding.what)
            else:
                self._of_kind[finding.kind](self, finding)
        self._give_up(lost)
        return len(self._mended) + len(self._aside) > before

    # -- files of versions

    def _mend_in_versions(self, finding: Finding) -> bool:
        """Mend one file in all versions that have it; False where that cannot be."""
        if finding.kind == "content":
            return self._takes_leave(finding)
        if finding.kind == "seal":
            return self._seal_again(finding)
        if finding.kind in ("root", "version"):
            return self._mend_root(finding, finding.versions[0])  # each version has a root of its own
        return self._mend_shared(finding)

    def _told(self, finding: Finding, how: str) -> bool:
        where = f"snapshot {finding.versions[0][:12]}: " if len(finding.versions) == 1 else ""
        where = f"{len(finding.versions)} versions: " if len(finding.versions) > 1 else where
        self._mended.append(f"{where}{finding.where or finding.what}: {how}")
        return True

    def _do(self, action: Callable[[Path], object], path: Path) -> None:
        if not self._dry_run:
            action(path)

    def _seal_again(self, finding: Finding) -> bool:
        """The root itself is read by all that it names: what it says fits them."""
        (snapshot_id,) = finding.versions
        root, sealed = self._folder.snapshot(snapshot_id) / "zarr.json", self._folder.sealed(snapshot_id)
        copy = self._other_root(snapshot_id)
        if copy is not None and digest_of(copy) != digest_of(root):
            return False
        self._do(lambda path: seal(path, sealed=sealed), root)
        return self._told(finding, "its digest is written anew")

    def _other_root(self, snapshot_id: str) -> Path | None:
        """The root of this version in another dataset, as far as its seal fits it."""
        for other in self._others:
            with suppress(OSError, ValueError):
                path = other.snapshot(snapshot_id) / "zarr.json"
                if digest_of(path) in read_seal(other.sealed(snapshot_id)):
                    return path
        return None

    def _mend_root(self, finding: Finding, snapshot_id: str) -> bool:
        path, sealed = self._folder.snapshot(snapshot_id) / "zarr.json", self._folder.sealed(snapshot_id)
        try:
            told: tuple[Digest, ...] = read_seal(sealed)
        except (OSError, ValueError):
            told = ()
        if path.exists() and not path.is_symlink() and digest_of(path) in told:
            return False  # as it was written: it is something else that is wrong
        source = self._found(path, told, [other.snapshot(snapshot_id) / "zarr.json" for other in self._others])
        if source is None:
            return False
        self._put(source, [path])
        return self._told(finding, _how(source))

    def _mend_shared(self, finding: Finding) -> bool:
        """A file of an array or a group, by the digest that its versions state."""
        told = self._stated(finding)
        if told is None:
            return False
        paths = [self._folder.snapshot(snapshot_id) / finding.where for snapshot_id in finding.versions]
        if finding.kind == "group" and Digest.of(group_metadata()) == told:
            source: Path | bytes | None = group_metadata()
        else:
            elsewhere = [self._folder.snapshot(each) / finding.where for each in self._folder.snapshot_ids()]
            others = [other.snapshot(each) / finding.where for other in self._others for each in other.snapshot_ids()]
            source = self._found(paths[0], (told,), [*(path for path in elsewhere if path not in paths), *others])
        if source is None:
            return False
        self._put(source, paths)
        return self._told(finding, _how(source))

    def _stated(self, finding: Finding) -> Digest | None:
        for snapshot_id in finding.versions:
            with suppress(SgforgeError, ValueError):
                return (read_meta(self._folder.snapshot(snapshot_id)).digests() or {}).get(finding.where)
        return None

    def _found(self, path: Path, told: Sequence[Digest], candidates: Sequence[Path]) -> Path | bytes | None:
        """A sound copy of a file, or its bytes where one of them was changed."""
        for digest in told:
            copy = sound_copy(candidates, digest)
            if copy is not None:
                return copy if copy.is_relative_to(self._folder.path) else copy.read_bytes()
            with suppress(OSError):
                mended = put_right(path.read_bytes(), digest) if path.stat().st_size == digest.size else None
                if mended is not None:
                    return mended
        return None

    def _put(self, source: Path | bytes, paths: Sequence[Path]) -> None:
        """Let a sound file stand at all of these places; what is there is kept aside, once."""
        if self._dry_run:
            return
        kept: set[tuple[int, int]] = set()
        for path in paths:
            if path.exists() and (stamp := (path.stat().st_dev, path.stat().st_ino)) not in kept:
                kept.add(stamp)
                target = self._folder.place_aside(path)
                place(path, target, self.scratch)
                self._aside.append((str(path.relative_to(self._folder.path)), str(target)))
            place(source, path, self.scratch)
            source = path

    def _takes_leave(self, finding: Finding) -> bool:
        """A parent that is gone is mended by a copy, or no longer waited for."""
        parent = finding.where
        if not parent:
            return False
        for other in self._others:
            with suppress(SgforgeError):
                snapshot = Snapshot.open(other.snapshot(parent))
                if snapshot.fault(other.sealed(parent)) is None:
                    self._do(lambda _, other=other: self._bring(other, parent), other.path)  # type: ignore[misc]
                    return self._told(finding, f"brought from {other.path}")
        if not self._dry_run:
            target = self._folder.place_aside(self._folder.snapshot(parent))
            target.mkdir(parents=True)
            self._aside.append((f"snapshots/{parent}", f"{target} (it was gone; nothing of it is left)"))
        return True

    def _bring(self, other: DatasetFolder, snapshot_id: str) -> None:
        work = self.scratch / snapshot_id
        shutil.copytree(other.snapshot(snapshot_id), work)
        seal(work / "zarr.json", sealed=self._folder.sealed(snapshot_id))
        work.rename(self._folder.snapshot(snapshot_id))

    # -- versions that cannot be mended

    def _give_up(self, lost: dict[str, list[str]]) -> None:
        """Move versions aside; the images of them that can be read stay, in versions of their own."""
        if not lost:
            return
        known = self._keys_beside(lost)
        for snapshot_id in lost:
            path = self._folder.snapshot(snapshot_id)
            if not path.exists():
                continue
            total, name, left = self._salvage(path, known)
            images = f"{left} of {counted(total, 'image')}" if total else "all images"
            if left or not total:
                self._again.append(f"step {name}: {images}" if name else f"snapshot {snapshot_id[:12]}: {images}")
            if self._dry_run:
                self._aside.append((f"snapshots/{snapshot_id}", str(self._folder.aside)))
                continue
            target = self._folder.set_aside(path)
            self._aside.append((f"snapshots/{snapshot_id}", str(target)))
            break_seal(self._folder.sealed(snapshot_id))

    def _salvage(self, path: Path, known: set[bytes]) -> tuple[int, str, int]:
        """How many images a version has, its step, and how many of its states stand nowhere any more."""
        try:
            snapshot = Snapshot.open(path)
            total, name = len(snapshot), snapshot.meta.step.name
        except SgforgeError:
            return 0, "", 0
        try:
            keys = [key.tobytes() for key in snapshot.keys]
        except SgforgeError:
            return total, name, total
        if not self._dry_run:
            made = salvage(self._folder, snapshot, known)
            known |= set() if made is None else {key.tobytes() for key in made.keys}
        return total, name, sum(key not in known for key in keys)

    def _keys_beside(self, lost: Collection[str]) -> set[bytes]:
        """The keys of the states that stand in other versions."""
        known: set[bytes] = set()
        for snapshot_id in self._folder.snapshot_ids():
            if snapshot_id not in lost:
                with suppress(SgforgeError):
                    known |= {key.tobytes() for key in Snapshot.open(self._folder.snapshot(snapshot_id)).keys}
        return known

    # -- everything else

    def _mend_ref(self, finding: Finding) -> None:
        """A branch goes back to what it came from, where its version is gone; a tag never moves."""
        path = self._folder.path / finding.where
        named = self._named(path)
        if named is None and path.parent.name == "heads":
            named = next(self._came_from(path), None)
        if named is not None:
            self._do(lambda path: write_durably(path, f"{named}\n"), path)
            self._mended.append(f"{finding.where}: stands for snapshot {named[:12]}")
        elif path.exists():
            self._move(path, finding.where)

    def _named(self, path: Path) -> str | None:
        """The version that a name stands for, also where a letter of it was changed."""
        text = path.read_bytes()[:256].decode("ascii", errors="replace") if path.is_file() else ""
        known = self._folder.snapshot_ids()
        near = [each for each in known if len(text) in (32, 33) and _differ(text[:32], each) <= 1]
        for other in self._others:
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
            for root in self._folder.aside.glob(f"*/snapshots/{snapshot_id}/zarr.json"):
                with suppress(OSError, ValueError, LookupError, TypeError):
                    waiting += json.loads(root.read_bytes())["attributes"]["sgforge"]["parents"]
            if snapshot_id not in seen and snapshot_id in self._folder.snapshot_ids():
                yield snapshot_id
            seen.add(snapshot_id)
            waiting = [each for each in waiting if each not in seen]

    def _mend_modes(self, finding: Finding) -> None:
        for snapshot_id in self._folder.snapshot_ids():
            for path in self._folder.snapshot(snapshot_id).rglob("*"):
                if path.is_file() and not path.is_symlink():
                    self._do(lambda path: path.chmod(0o444), path)
        self._mended.append("files of snapshots: made read-only again")

    def _mend_index(self, finding: Finding) -> None:
        self._do(lambda path: path.unlink(), self._folder.path / finding.where)
        self._mended.append(f"{finding.where}: removed, the next run writes it anew")

    def _mend_marker(self, finding: Finding) -> None:
        self._do(lambda path: path.unlink(), self._folder.path / finding.where)
        self._do(lambda _: self._folder.mark(), self._folder.path)
        self._mended.append("sgforge.json: written anew")

    def _mend_step(self, finding: Finding) -> None:
        """A file of a step, by its seal; weights by the digest in their checkpoint."""
        path = self._folder.path / finding.where
        inside = Path(finding.where)
        candidates = [other.path / inside for other in self._others]
        if path.is_dir():
            self._mend_weights(path, finding, candidates)
            return
        try:
            told: tuple[Digest, ...] = read_seal(path)
        except (OSError, ValueError):
            told = ()
        source = self._found(path, told, candidates)
        if source is not None:
            self._put(source, [path])
            self._mended.append(f"{finding.where}: {_how(source)}")
        elif not told and path.exists() and seal_path(path).exists() and _is_whole(path):
            self._do(seal, path)
            self._mended.append(f"{finding.where}: its digest is written anew")
        else:
            self._move_step(path, inside)

    def _mend_weights(self, path: Path, finding: Finding, candidates: Sequence[Path]) -> None:
        told = json.loads((path.parent / "checkpoint.json").read_bytes())["sha256"]
        for copy in candidates:
            if copy.is_dir() and folder_sha256(copy) == told:
                self._move(path, finding.where)
                self._do(lambda target, copy=copy: _copy_tree(copy, target, self.scratch), path)  # type: ignore[misc]
                self._mended.append(f"{finding.where}: a sound copy of {copy}")
                return
        self._move_step(path.parent / "checkpoint.json", Path(finding.where).parent / "checkpoint.json")
        self._move(path, finding.where)

    def _move_step(self, path: Path, inside: Path) -> None:
        """Move a file of a step aside with what is read together with it."""
        together = [path]
        if path.name in KEPT:
            together += [path.with_name("report.json")] if path.name == "predictions.jsonl" else []
            self._again.append(f"what steps/{inside.parent.name[:12]} kept in {path.name}")
        for each in together:
            if each.exists():
                self._move(each, f"{inside.parent}/{each.name}")
            self._do(break_seal, each)

    def _mend_made(self, finding: Finding) -> None:
        """A file that a step made: its name tells what is in it."""
        path = self._folder.path / finding.where
        for other in self._others:
            copy = other.path / finding.where
            if copy.is_file() and file_sha256(copy).hex() == path.stem:
                self._put(copy.read_bytes(), [path])
                self._mended.append(f"{finding.where}: a sound copy of {copy}")
                return
        self._move(path, finding.where)

    def _mend_sqlite(self, finding: Finding) -> None:
        """A copy of the whole, else every row that can be read and is what was kept."""
        path = self._folder.path / finding.where
        if finding.kind == "answer":
            self._again.append(finding.what)
        if finding.where in self._done:
            return
        self._done.add(finding.where)  # once a round: the file has one answer to all that is wrong with it
        if self._dry_run:
            self._mended.append(f"{finding.where}: its rows are looked through, those that are sound are kept")
            return
        sealed = self._folder.seals / path.name if path == self._folder.journal else path
        try:
            told: tuple[Digest, ...] = read_seal(sealed)
        except (OSError, ValueError):
            told = ()
        source = self._found(path, told, [other.path / path.name for other in self._others])
        if source is not None:
            self._put(source, [path])
            path.chmod(0o644)
            self._mended.append(f"{finding.where}: {_how(source)}")
            return
        self._rebuild(path, sealed)

    def _rebuild(self, path: Path, sealed: Path) -> None:
        where = str(path.relative_to(self._folder.path))
        new = self.scratch / path.name
        self.scratch.mkdir(exist_ok=True)
        if not path.exists():
            break_seal(sealed)
            self._mended.append(f"{where}: it is gone, and the next run begins a new one")
            return
        rows = rebuilt(path, new, unsound_answers(self._folder) if path == self._folder.journal else ())
        target = self._folder.place_aside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        for ending in ("", "-wal"):
            if (part := path.with_name(path.name + ending)).exists():
                shutil.copyfile(part, target.with_name(part.name))
                self._aside.append((f"{where}{ending}", str(target.with_name(part.name))))
        break_seal(sealed)
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        os.replace(new, path)
        if path == self._folder.journal:
            Journal(path, look_through=True).close()
        else:
            seal(path)
        self._mended.append(f"{where}: {counted(rows, 'row')} that could be read are kept, in a new file")

    def _move(self, path: Path, where: str) -> None:
        if self._dry_run:
            self._aside.append((where, str(self._folder.aside)))
            return
        self._aside.append((where, str(self._folder.set_aside(path))))

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


def _how(source: Path | bytes) -> str:
    return f"a sound copy of {source}" if isinstance(source, Path) else "put right by its digest"


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
