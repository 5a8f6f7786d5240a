"""Dataset: reading one version of a dataset; never writes, works on a read-only folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgforge.columns import Ragged
from sgforge.dataset.folder import DatasetFolder
from sgforge.dataset.snapshot import Snapshot
from sgforge.graph import Sample

if TYPE_CHECKING:
    from sgforge.images import Roots

__all__ = ["Dataset"]


class Dataset:
    """One version of a dataset: a sequence of samples in id order, random access by id, columns as arrays."""

    def __init__(self, folder: DatasetFolder, snapshot: Snapshot, roots: Roots | None = None) -> None:
        self._folder = folder
        self._roots = roots
        self.snapshot = snapshot

    @classmethod
    def open(cls, path: Path | str, ref: str = "main", roots: Roots | None = None) -> Dataset:
        """The version of the dataset at `path` that a branch, a tag or (the start of) a snapshot id names.

        With `roots` the samples' images can be opened. No such dataset or ref is a `DatasetError`.
        """
        folder = DatasetFolder.open(path)
        return cls(folder, Snapshot.open(folder.snapshot(folder.resolve(ref))), roots)

    @property
    def path(self) -> Path:
        """The dataset's folder."""
        return self._folder.path

    def __len__(self) -> int:
        return len(self.snapshot)

    def __iter__(self) -> Iterator[Sample]:
        return (self.snapshot.sample(row, self._roots) for row in range(len(self)))

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.snapshot.image_ids

    def __getitem__(self, image_id: str) -> Sample:
        return self.snapshot.sample(self.snapshot.row_of(image_id), self._roots)

    def column(self, path: str) -> np.ndarray | Ragged:
        """One whole column, such as "relation/predicate" (ids into the vocabulary "predicate")."""
        return self.snapshot.column(path)

    def vocabulary(self, name: str) -> tuple[str, ...]:
        """The texts that ids point into, such as "predicate"."""
        return self.snapshot.vocabulary(name)
