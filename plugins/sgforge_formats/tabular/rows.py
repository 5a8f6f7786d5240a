"""The rows of tables, one by one: of Parquet, JSON lines, a JSON list, CSV, a folder of these."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from sgforge.errors import ConfigError
from sgforge.stages import SourceFailure
from sgforge_formats.reading.json_lines import json_lines
from sgforge_formats.reading.json_rows import json_rows, opened

__all__ = ["TableFile", "TableRow", "table_files", "table_rows"]

_SPLITS: Final[Mapping[str, str]] = {
    "train": "train",
    "validation": "val",
    "valid": "val",
    "val": "val",
    "dev": "val",
} | {"test": "test"}
_METADATA: Final = ("metadata.jsonl", "metadata.csv")
_AT_ONCE: Final = 64
_PARQUET: Final = ".parquet"


@attrs.frozen
class TableFile:
    """One file of a table; `prefix`: the folder of its pictures below it; `split`: what its name says."""

    path: Path
    prefix: str = ""
    split: str | None = None


@attrs.frozen
class TableRow:
    """One row: where it stands, its number in the file, its cells, names of classes by column if any."""

    where: str
    number: int
    cells: Mapping[str, Any]
    classes: Mapping[str, Sequence[str]] = attrs.field(factory=dict)


def table_files(path: Path) -> list[TableFile]:
    """The files of a table, in the order of their names; a folder that holds none is a `ConfigError`."""
    if path.is_file():
        return [TableFile(path, split=_split_of(path.name))]
    found = sorted(path.rglob(f"*{_PARQUET}"))
    if found:
        return [TableFile(file, split=_split_of(str(file.relative_to(path)))) for file in found]
    metadata = sorted(file for name in _METADATA for file in path.rglob(name))
    if not metadata:
        raise ConfigError(f"{path} holds no table: no {_PARQUET} file, and no {' or '.join(_METADATA)}")
    files = []
    for file in metadata:
        below = file.parent.relative_to(path).as_posix()
        files.append(TableFile(file, "" if below == "." else f"{below}/", _split_of(f"{below}/")))
    return files


def _split_of(name: str) -> str | None:
    """The split that the name of a file, or of a folder above it, begins with."""
    for part in reversed(name.split("/")):
        word = part.split(".")[0].split("-")[0].split("_")[0].lower()
        if word in _SPLITS:
            return _SPLITS[word]
    return None


def table_rows(file: TableFile) -> Iterator[TableRow | SourceFailure]:
    """Every row of one file; a row that is none is a failure (bad-row), a file of another form a `ConfigError`."""
    path = file.path
    plain = path.name.removesuffix(".gz")
    if plain.endswith(_PARQUET):
        yield from _parquet(path)
        return
    with opened(path) as stream:
        if plain.endswith(".csv"):
            reader = csv.DictReader(io.TextIOWrapper(stream, "utf-8", "replace", newline=""))
            for number, cells in enumerate(reader):
                yield TableRow(f"{path.name}:{reader.line_num}", number, cells)
            return
        is_lines = plain.endswith((".jsonl", ".ndjson"))
        rows = json_lines(stream, path.name) if is_lines else json_rows(stream, path.name, "rows")
        for number, row in enumerate(rows):
            if isinstance(row, SourceFailure):
                yield row
            elif not isinstance(row.value, dict):
                yield SourceFailure(f"{path.name}: row {number}", "bad-row", "a row must be an object")
            else:
                yield TableRow(f"{path.name}: row {number}", number, row.value)


def _parquet(path: Path) -> Iterator[TableRow]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'sgforge[formats]'") from None
    with _refused(path, pa.ArrowException):
        file = pq.ParquetFile(path)
    with file:
        classes = _classes(file.schema_arrow.metadata or {})
        number = 0
        batches = file.iter_batches(batch_size=_AT_ONCE)
        while True:
            with _refused(path, pa.ArrowException):
                batch = next(batches, None)
            if batch is None:
                return
            for cells in batch.to_pylist():
                yield TableRow(f"{path.name}: row {number}", number, cells, classes)
                number += 1


@contextmanager
def _refused(path: Path, kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (kind, OSError) as error:
        raise ConfigError(f"{path.name} is no Parquet file that can be read: {error}") from None


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """Names of classes by column, "objects.category" for one inside of another, where the file says them."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    found: dict[str, Sequence[str]] = {}
    _collect(features, "", found)
    return found


def _collect(feature: Any, name: str, found: dict[str, Sequence[str]]) -> None:
    if isinstance(feature, list):
        for inner in feature:
            _collect(inner, name, found)
    elif isinstance(feature, dict):
        if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
            found[name] = feature["names"]
            return
        for key, inner in feature.items():
            is_wrapper = key in ("feature", "_type")
            _collect(inner, name if is_wrapper else f"{name}.{key}".lstrip("."), found)
