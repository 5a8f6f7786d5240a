"""Mending versions: their files, their roots, and what is left of those that cannot be mended."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from sgforge.dataset.maintenance.findings import Finding
from sgforge.dataset.maintenance.salvage import salvage
from sgforge.dataset.maintenance.workbench import Workbench, how
from sgforge.dataset.snapshot import Snapshot, read_meta
from sgforge.dataset.zarr_arrays.writing import group_metadata
from sgforge.errors import SgforgeError
from sgforge.seals import Digest, break_seal, digest_of, read_seal, seal
from sgforge.text.wording import counted

__all__ = ["VersionMender"]


class VersionMender:
    """Mends the files of versions, in all that have them."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def mend(self, finding: Finding) -> bool:
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
        self._bench.mended.append(f"{where}{finding.where or finding.what}: {how}")
        return True

    def _seal_again(self, finding: Finding) -> bool:
        """The root itself is read by all that it names: what it says fits them."""
        (snapshot_id,) = finding.versions
        folder = self._bench.folder
        root, sealed = folder.snapshot(snapshot_id) / "zarr.json", folder.sealed(snapshot_id)
        copy = self._other_root(snapshot_id)
        if copy is not None and digest_of(copy) != digest_of(root):
            return False
        self._bench.do(lambda path: seal(path, sealed=sealed), root)
        return self._told(finding, "its digest is written anew")

    def _other_root(self, snapshot_id: str) -> Path | None:
        """The root of this version in another dataset, as far as its seal fits it."""
        for other in self._bench.others:
            with suppress(OSError, ValueError):
                path = other.snapshot(snapshot_id) / "zarr.json"
                if digest_of(path) in read_seal(other.sealed(snapshot_id)):
                    return path
        return None

    def _mend_root(self, finding: Finding, snapshot_id: str) -> bool:
        folder = self._bench.folder
        path, sealed = folder.snapshot(snapshot_id) / "zarr.json", folder.sealed(snapshot_id)
        try:
            told: tuple[Digest, ...] = read_seal(sealed)
        except (OSError, ValueError):
            told = ()
        if path.exists() and not path.is_symlink() and digest_of(path) in told:
            return False  # as it was written: it is something else that is wrong
        source = self._bench.found(
            path, told, [other.snapshot(snapshot_id) / "zarr.json" for other in self._bench.others]
        )
        if source is None:
            return False
        self._bench.put(source, [path])
        return self._told(finding, how(source))

    def _mend_shared(self, finding: Finding) -> bool:
        """A file of an array or a group, by the digest that its versions state."""
        told = self._stated(finding)
        if told is None:
            return False
        paths = [self._bench.folder.snapshot(snapshot_id) / finding.where for snapshot_id in finding.versions]
        if finding.kind == "group" and Digest.of(group_metadata()) == told:
            source: Path | bytes | None = group_metadata()
        else:
            elsewhere = [
                self._bench.folder.snapshot(each) / finding.where for each in self._bench.folder.snapshot_ids()
            ]
            others = [
                other.snapshot(each) / finding.where for other in self._bench.others for each in other.snapshot_ids()
            ]
            source = self._bench.found(paths[0], (told,), [*(path for path in elsewhere if path not in paths), *others])
        if source is None:
            return False
        self._bench.put(source, paths)
        return self._told(finding, how(source))

    def _stated(self, finding: Finding) -> Digest | None:
        for snapshot_id in finding.versions:
            with suppress(SgforgeError, ValueError):
                return (read_meta(self._bench.folder.snapshot(snapshot_id)).digests() or {}).get(finding.where)
        return None

    def _takes_leave(self, finding: Finding) -> bool:
        """A parent that is gone, and that no copy has, is no longer waited for."""
        parent, bench = finding.needs, self._bench
        if not parent:
            return False
        if not bench.dry_run:
            target = bench.folder.place_aside(bench.folder.snapshot(parent))
            target.mkdir(parents=True)
            bench.aside.append((f"snapshots/{parent}", f"{target} (it was gone; nothing of it is left)"))
        return True

    def comes_from_another(self, snapshot_id: str) -> bool:
        """A whole version in place of what is there, from a dataset that has a sound one by this id."""
        bench = self._bench
        for other in bench.others:
            with suppress(SgforgeError):
                source = Snapshot.open(other.snapshot(snapshot_id))
                if source.id == snapshot_id and source.fault(other.sealed(snapshot_id)) is None:
                    self._bring(source)
                    bench.mended.append(f"snapshots/{snapshot_id}: a sound copy of {source.path}")
                    return True
        return False

    def _bring(self, source: Snapshot) -> None:
        bench, target = self._bench, self._bench.folder.snapshot(source.id)
        if bench.dry_run:
            return
        work = bench.scratch / source.id
        shutil.copytree(source.path, work)
        if target.exists():
            bench.move(target, f"snapshots/{source.id}")
        if source.meta.files is not None:
            seal(work / "zarr.json", sealed=bench.folder.sealed(source.id))
        work.rename(target)

    def give_up(self, lost: Collection[str]) -> None:
        """Move versions aside; the images of them that can be read stay, in versions of their own."""
        lost = [snapshot_id for snapshot_id in lost if not self.comes_from_another(snapshot_id)]
        if not lost:
            return
        known = self._keys_beside(lost)
        for snapshot_id in lost:
            path = self._bench.folder.snapshot(snapshot_id)
            if not path.exists():
                continue
            total, name, left = self._salvage(path, known)
            images = f"{left} of {counted(total, 'image')}" if total else "all images"
            if left or not total:
                self._bench.again.append(f"step {name}: {images}" if name else f"snapshot {snapshot_id[:12]}: {images}")
            if self._bench.dry_run:
                self._bench.aside.append((f"snapshots/{snapshot_id}", str(self._bench.folder.aside)))
                continue
            target = self._bench.folder.set_aside(path)
            self._bench.aside.append((f"snapshots/{snapshot_id}", str(target)))
            break_seal(self._bench.folder.sealed(snapshot_id))

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
        if not self._bench.dry_run:
            made = salvage(self._bench.folder, snapshot, known)
            known |= set() if made is None else {key.tobytes() for key in made.keys}
        return total, name, sum(key not in known for key in keys)

    def _keys_beside(self, lost: Collection[str]) -> set[bytes]:
        """The keys of the states that stand in other versions."""
        known: set[bytes] = set()
        for snapshot_id in self._bench.folder.snapshot_ids():
            if snapshot_id not in lost:
                with suppress(SgforgeError):
                    known |= {key.tobytes() for key in Snapshot.open(self._bench.folder.snapshot(snapshot_id)).keys}
        return known
