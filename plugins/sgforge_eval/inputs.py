"""Graphs to evaluate, wherever they are: a JSONL file, a dataset with @ref, or values in memory; as column chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from sgforge.columns import GraphColumns
from sgforge.errors import ConfigError
from sgforge.graph import Sample

__all__ = ["GraphInput", "read_chunks"]

GraphInput: TypeAlias = "str | Path | GraphColumns | Iterable[Sample]"
"""A path of graph JSONL, a dataset folder (a text may end in @ref), columns, or samples."""

_CHUNK = 512


def read_chunks(graphs: GraphInput, dropped: Counter[str], *, what: str) -> Iterator[GraphColumns]:
    """The images of `graphs`, a chunk at a time; what a file holds that cannot be read is counted in `dropped`."""
    if isinstance(graphs, GraphColumns):
        yield from _slices(graphs)
    elif isinstance(graphs, (str, Path)):
        yield from _read_path(str(graphs), dropped, what)
    else:
        samples = iter(graphs)
        while part := list(islice(samples, _CHUNK)):
            yield GraphColumns.from_samples(part)


def _slices(columns: GraphColumns) -> Iterator[GraphColumns]:
    import numpy as np

    for start in range(0, len(columns), _CHUNK):
        yield columns.gather(np.arange(start, min(start + _CHUNK, len(columns))))


def _read_path(text: str, dropped: Counter[str], what: str) -> Iterator[GraphColumns]:
    folder, ref = _split_ref(text)
    if folder.is_dir():
        yield from _read_dataset(folder, ref)
        return
    path = Path(text)
    if not path.is_file():
        raise ConfigError(f"{what} {text} does not exist: give a graph JSONL file or a dataset folder (with @ref)")
    from sgforge.jsonl import read_columns

    for chunk in read_columns(path, strict=False):
        for reason, count in chunk.dropped.items():
            dropped[f"{what}: {reason}"] += count
        yield chunk.columns


def _split_ref(text: str) -> tuple[Path, str]:
    folder, sign, ref = text.rpartition("@")
    if sign and Path(folder).is_dir() and not Path(text).exists():
        return Path(folder), ref
    return Path(text), "main"


def _read_dataset(folder: Path, ref: str) -> Iterator[GraphColumns]:
    from sgforge.dataset import Dataset

    yield from Dataset.open(folder, ref=ref).chunks(_CHUNK)
