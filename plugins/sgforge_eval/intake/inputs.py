"""Graphs to evaluate, wherever they are: a JSONL file, a dataset with @ref, or values in memory; as column chunks."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import numpy as np

from sgforge.columns import GraphColumns
from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.stages import Ranking
from sgforge_eval.intake.dense import DenseGraphs, DenseImage
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.public_files import read_public_files

if TYPE_CHECKING:
    from sgforge.jsonl import PairTable

__all__ = ["Chunk", "GraphInput", "Tabled", "read_chunks"]

GraphInput: TypeAlias = (
    "str | Path | GraphColumns | Iterable[Sample] | DenseGraphs | Iterable[DenseImage] | Mapping[str, Ranking]"
)
"""A path of graph JSONL, a dataset folder (a text may end in @ref), an .npz or .zarr of arrays, files of a source
("psg:psg.json@test"); columns; samples; arrays of all images or image by image; rankings by image id.
"""


@attrs.frozen(eq=False)
class Tabled:
    """Columns of some images, and by row the relations of those whose relations are a table."""

    columns: GraphColumns
    tables: Mapping[int, PairTable]


Chunk: TypeAlias = "GraphColumns | Tabled | DenseGraphs"

_CHUNK = 1024
_CHUNK_BYTES: Final = (
    1 << 22
)  # of long lines, full distributions, fewer are read at once: their rows must stay in cache
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


def read_chunks(graphs: GraphInput, dropped: Dropped, *, what: str) -> Iterator[Chunk]:
    """The images of `graphs`, a chunk at a time; what a file holds that cannot be read is counted in `dropped`.

    Truth is always columns.
    """
    if isinstance(graphs, GraphColumns):
        yield from _slices(graphs)
    elif isinstance(graphs, (str, Path)):
        yield from _read_path(str(graphs), dropped, what)
    elif isinstance(graphs, DenseGraphs):
        yield graphs
    else:
        yield from _read_values(graphs)


def _read_values(graphs: Iterable[Sample] | Iterable[DenseImage] | Mapping[str, Ranking]) -> Iterator[Chunk]:
    """Chunks of samples, of per-image arrays, or of rankings; the first tells which they are."""
    values: Iterator[Sample | DenseImage]
    if isinstance(graphs, Mapping):
        values = (DenseImage.of_ranking(image_id, ranking) for image_id, ranking in graphs.items())
    else:
        values = iter(graphs)
    while part := list(islice(values, _CHUNK)):
        if isinstance(part[0], DenseImage):
            yield from _alike([value for value in part if isinstance(value, DenseImage)])
        else:
            yield GraphColumns.from_samples([value for value in part if isinstance(value, Sample)])


def _alike(images: Sequence[DenseImage]) -> Iterator[DenseGraphs]:
    """Runs of images over one list of predicates."""
    for _, run in groupby(images, key=lambda image: tuple(image.predicates)):
        yield DenseGraphs.of(run)


def _slices(columns: GraphColumns) -> Iterator[GraphColumns]:
    for start in range(0, len(columns), _CHUNK):
        yield columns.gather(np.arange(start, min(start + _CHUNK, len(columns))))


def _read_path(text: str, dropped: Dropped, what: str) -> Iterator[GraphColumns]:
    if text.endswith((".npz", ".zarr")) and Path(text).exists():
        if what != "prediction":
            raise ConfigError(f"{what} {text}: arrays hold predictions; the truth is a graph JSONL file or a dataset")
        yield DenseGraphs.read(Path(text))
        return
    folder, ref = _split_ref(text)
    if folder.is_dir():
        yield from _read_dataset(folder, ref)
        return
    path = Path(text)
    if not path.exists() and ":" in text:
        yield from read_public_files(text, dropped, what, _CHUNK)
        return
    if not path.exists():
        raise ConfigError(
            f"{what} {text} does not exist: give a graph JSONL file, a dataset folder (with @ref), or SOURCE:FILE,FILE"
        )
    from sgforge.jsonl import LineFault, read_columns

    def report(fault: LineFault) -> None:
        where = f"line {fault.line}" + (f" {fault.path}" if fault.path else "")
        dropped.add(f"{what}: {_FAULTS[fault.reason]}", 1, f"{where}: {fault.message}")

    tables: dict[int, PairTable] = {}
    take = tables.__setitem__ if what == "prediction" else None
    count = _lines_at_once(path)
    chunks = read_columns(path, strict=False, chunk_images=count, report=report, tables=take)
    before = 0
    for columns in _uncollected(chunks):
        yield Tabled(columns, {row - before: table for row, table in tables.items()}) if tables else columns
        tables.clear()
        before += len(columns)


def _lines_at_once(path: Path) -> int:
    """How many lines are read together, by the length of the first; a pipe cannot be looked at beforehand."""
    if not path.is_file():
        return _CHUNK
    with path.open("rb") as stream:
        longest = len(stream.readline(_CHUNK_BYTES))
    return max(1, min(_CHUNK, _CHUNK_BYTES // max(longest, 1)))


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
