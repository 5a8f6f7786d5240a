"""Dataset: reading one version of a dataset; never writes, works on a read-only folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

import numpy as np

from sgforge.columns import Ragged
from sgforge.columns.declared import ColumnValues
from sgforge.dataset.damage import damage_told, damaged_snapshot
from sgforge.dataset.folder import DatasetFolder, split_ref
from sgforge.dataset.in_use import Hold
from sgforge.dataset.queries.diff import Diff, diff_snapshots
from sgforge.dataset.queries.filter import Filter, matching_rows
from sgforge.dataset.queries.statistics import Stats, statistics_of
from sgforge.dataset.snapshot import Snapshot, SnapshotMeta, read_meta
from sgforge.errors import DatasetError
from sgforge.file_refs import FileRef, is_made
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.text.wording import counted

__all__ = ["Dataset"]


def _version(path: Path | str, ref: str | None) -> tuple[Path, str]:
    """The folder and the version; an @ in the name of a folder that is there belongs to the name."""
    if not isinstance(path, (str, PurePath)):
        raise DatasetError(f"the path of a dataset must be a text or a Path, not {path!r}")
    if ref is not None and not isinstance(ref, str):
        raise DatasetError(f"the version of a dataset is named by a text such as 'main', not by {ref!r}")
    folder, version = (str(path), ref) if ref is not None or Path(path).expanduser().exists() else split_ref(str(path))
    return Path(folder).expanduser(), "main" if version is None else version


class Dataset:
    """One version of a dataset: a sequence of samples in id order, random access by id, columns as arrays."""

    def __init__(self, folder: DatasetFolder, snapshot: Snapshot | None = None, roots: Roots | None = None) -> None:
        """For `open`, which finds the version; a path alone is a `DatasetError` that says so."""
        if snapshot is None:
            raise DatasetError(f"a dataset is opened with Dataset.open({str(folder)!r})")
        self._folder = folder
        self._roots = Roots() if roots is None else roots
        self.snapshot = snapshot
        # As long as somebody has this, `sgforge gc` leaves the version alone.
        self._hold: Hold | None = None

    @classmethod
    def open(
        cls, path: Path | str, ref: str | None = None, roots: Roots | Mapping[str, Path | str] | None = None
    ) -> Dataset:
        """The version of the dataset at `path` that a branch, a tag or (the start of) a snapshot id names.

        The version may also stand behind the path, as on the command line: `Dataset.open("runs/svg@v1")`; without any
        it is branch main. With `roots`, folders by the name that uris have for them, the samples' images can be opened.
        No such dataset or ref is a `DatasetError`.
        """
        path, ref = _version(path, ref)
        folder = DatasetFolder.open(path)
        snapshot_id = folder.resolve(ref)
        try:
            hold = Hold.shared(folder.snapshot(snapshot_id))
        except (FileNotFoundError, NotADirectoryError):
            raise DatasetError(
                f"{folder.path}: {ref!r} names snapshot {snapshot_id[:12]}, which is not here: run again, which makes "
                f"it anew, or use another version (sgforge tag {folder.path} lists them)"
            ) from None
        named = roots if isinstance(roots, Roots) else Roots(roots)
        found = cls(folder, Snapshot.open(folder.snapshot(snapshot_id)), named.with_files(folder.files.folder))
        found._hold = hold
        return found

    @property
    def path(self) -> Path:
        """The dataset's folder."""
        return self._folder.path

    def __repr__(self) -> str:
        made = f"snapshot {self.snapshot.id[:12]} of step {self.snapshot.meta.step.name}"
        return f"<Dataset {str(self.path)!r}: {made}, {counted(len(self), 'image')}>"

    def __len__(self) -> int:
        return len(self.snapshot)

    def __iter__(self) -> Iterator[Sample]:
        return (self.snapshot.sample(row, self._roots) for row in range(len(self)))

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.snapshot

    def __getitem__(self, image_id: str) -> Sample:
        if not isinstance(image_id, str):
            raise DatasetError(self._how_to_take(image_id))
        return self.snapshot.sample(self.snapshot.row_of(image_id), self._roots)

    def _how_to_take(self, key: object) -> str:
        ids = self.snapshot.image_ids
        known = f"such as dataset[{ids[0]!r}]" if ids else "and it has none"
        return f"images go by their ids, texts {known}, not by {key!r}; in order: for sample in dataset"

    def column(self, path: str) -> np.ndarray | Ragged | ColumnValues:
        """One whole column, such as "relation/predicate" (ids into the vocabulary "predicate").

        Of a further one, such as "image/caption" or "region/clip.embedding", the rows that have a value, and these.
        """
        target, _, name = path.partition("/") if isinstance(path, str) else ("", "", "")
        further = self.snapshot.value_column(target, name)
        return self.snapshot.column(path) if further is None else further.whole()

    def vocabulary(self, name: str) -> tuple[str, ...]:
        """The texts that ids point into, such as "predicate"."""
        return self.snapshot.vocabulary(name)

    def filter(
        self,
        *,
        predicate: str | None = None,
        label: str | None = None,
        category: str | None = None,
        step: str | None = None,
        model: str | None = None,
        reason: str | None = None,
    ) -> list[str]:
        """Ids of the images that have a row (kept or rejected) with all of what is given, in id order.

        `step`: made or judged by that step ("source": given by the source); `model`: by a step that used that model;
        `reason`: of the last verdict, of a failure or a drop. With `predicate` or `category` they must hold for one and
        the same relation, with `label` for the same region.
        """
        wanted = Filter(predicate=predicate, label=label, category=category, step=step, model=model, reason=reason)
        ids = self.snapshot.image_ids
        steps = (meta.step for meta in self.history())
        with damage_told(self.snapshot):
            return [ids[row] for row in matching_rows(self.snapshot, wanted, steps).tolist()]

    def log(self) -> list[SnapshotMeta]:
        """This snapshot and those it came from, the newest first; a `DatasetError` if one of them is damaged."""
        return list(self.history())

    def history(self) -> Iterator[SnapshotMeta]:
        """What `log` gives, one by one, however long; it ends at a parent that is not here any more."""
        meta, folder = self.snapshot.meta, self.snapshot.path
        yield meta
        seen = {folder}
        while meta.parents and (parent := self._folder.snapshot(meta.parents[0])).is_dir():
            if parent in seen:
                raise damaged_snapshot(f"{folder / 'zarr.json'} names a parent that came from it", folder)
            seen.add(parent)
            meta, folder = read_meta(parent), parent
            yield meta

    def diff(self, other: Dataset) -> Diff:
        """What is different in `other`, another version or dataset."""
        if not isinstance(other, Dataset):
            raise DatasetError(
                f"a dataset is compared with a Dataset, such as Dataset.open({str(self.path)!r}, {str(other)!r}), "
                f"not with {other!r}"
            )
        with damage_told(self.snapshot, other.snapshot):
            return diff_snapshots(self.snapshot, other.snapshot)

    def stats(self) -> Stats:
        """Counts of everything in this version."""
        with damage_told(self.snapshot):
            return statistics_of(self.snapshot, [meta.step.name for meta in self.history()][::-1])

    def export_images(self, folder: Path) -> dict[str, int]:
        """Copy the pictures that steps made to `folder`, by the paths of their uris; counts of copied and gone ones.

        Those of dropped images stay behind, as exporters leave these images out.
        """
        uris, dropped = self.snapshot.column("image/uri"), np.asarray(self.snapshot.column("image/dropped"))
        assert isinstance(uris, Ragged)
        made = {uri for uri, why in zip(uris.texts(), dropped.tolist(), strict=True) if why < 0 and is_made(uri)}
        return self._folder.files.copy_to(folder, sorted(made))

    def read_file(self, ref: FileRef) -> bytes:
        """The bytes of a file that a value names; one that is not there is a `DatasetError`."""
        return self._folder.files.read(ref)

    def branches(self) -> dict[str, str]:
        """Snapshot id by branch name."""
        return self._folder.refs("heads")

    def tags(self) -> dict[str, str]:
        """Snapshot id by tag name."""
        return self._folder.refs("tags")
