"""Graphs to evaluate, wherever they are: a JSONL file, a dataset with @ref, or values in memory; as column chunks."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from sgforge.columns import GraphColumns
from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge_eval.intake.dropped import Dropped

__all__ = ["GraphInput", "read_chunks"]

GraphInput: TypeAlias = "str | Path | GraphColumns | Iterable[Sample]"
"""A path of graph JSONL, a dataset folder (a text may end in @ref), columns, or samples."""

_CHUNK = 1024
_FAULTS: Final = {
    "json": "line that is no JSON",
    "missing-key": "line or row without a required key",
    "unknown-key": "unknown key",
    "type": "value of a wrong type",
    "value": "value outside its range, or not finite",
    "index": "relation with a region index out of range",
    "mask": "mask that cannot be decoded",
    "duplicate-id": "image id that occurred before",
}


def read_chunks(graphs: GraphInput, dropped: Dropped, *, what: str) -> Iterator[GraphColumns]:
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
    for start in range(0, len(columns), _CHUNK):
        yield columns.gather(np.arange(start, min(start + _CHUNK, len(columns))))


def _read_path(text: str, dropped: Dropped, what: str) -> Iterator[GraphColumns]:
    folder, ref = _split_ref(text)
    if folder.is_dir():
        yield from _read_dataset(folder, ref)
        return
    path = Path(text)
    if not path.exists():
        raise ConfigError(f"{what} {text} does not exist: give a graph JSONL file or a dataset folder (with @ref)")
    from sgforge.jsonl import LineFault, read_columns

    def report(fault: LineFault) -> None:
        where = f"line {fault.line}" + (f" {fault.path}" if fault.path else "")
        dropped.add(f"{what}: {_FAULTS[fault.reason]}", 1, f"{where}: {fault.message}")

    yield from _uncollected(read_columns(path, strict=False, chunk_images=_CHUNK, report=report))


def _uncollected(chunks: Iterator[GraphColumns]) -> Iterator[GraphColumns]:
    """The chunks, each read with the garbage collector at rest.

    A chunk passes through a million small dicts that hold no cycles; walking over them again and again took 40 % of
    the time.
    """
    while True:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            chunk = next(chunks, None)
        finally:
            if was_enabled:
                gc.enable()
        if chunk is None:
            return
        yield chunk


def _split_ref(text: str) -> tuple[Path, str]:
    folder, sign, ref = text.rpartition("@")
    if sign and Path(folder).is_dir() and not Path(text).exists():
        return Path(folder), ref
    return Path(text), "main"


def _read_dataset(folder: Path, ref: str) -> Iterator[GraphColumns]:
    from sgforge.dataset import Dataset

    snapshot = Dataset.open(folder, ref=ref).snapshot
    for start in range(0, len(snapshot), _CHUNK):
        yield snapshot.between(start, min(start + _CHUNK, len(snapshot)))
