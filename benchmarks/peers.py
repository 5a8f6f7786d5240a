"""The same columns written by the peers of the dataset's benchmarks: Parquet and Lance tables, gzipped JSON."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sgforge.columns import GraphColumns, Ragged
from sgforge.columns.schema import Table
from sgforge.jsonl import dump_sample

CACHE = Path(tempfile.gettempdir()) / "sgforge-benchmarks"
ROW_GROUP = 131_072


def table_of(table: Table, words: object, image_counts: np.ndarray | None = None) -> pa.Table:
    """One of our tables as an Arrow table of the same columns; texts as dictionaries, as Parquet stores them best."""
    columns: dict[str, pa.Array] = {}
    if image_counts is not None:
        columns["image"] = pa.array(np.repeat(np.arange(len(image_counts), dtype=np.int32), image_counts))
    for spec, column in table.items():
        columns[spec.name] = array_of(column, spec.vocabulary and getattr(words, spec.vocabulary))
    return pa.table(columns)


def array_of(column: np.ndarray | Ragged, words: tuple[str, ...] | None) -> pa.Array:
    if isinstance(column, Ragged):
        offsets = pa.array(column.offsets.astype(np.int64))
        if isinstance(column.values, np.ndarray) and column.values.dtype == np.uint8:
            buffers = [None, pa.py_buffer(column.offsets.astype(np.int64)), pa.py_buffer(column.values)]
            return pa.Array.from_buffers(pa.large_binary(), len(column), buffers)
        return pa.LargeListArray.from_arrays(offsets, array_of(column.values, words))
    if words is not None:
        ids = pa.array(column, mask=column < 0)
        return pa.DictionaryArray.from_arrays(ids, pa.array(words, pa.string()))
    if column.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])
    if column.dtype.kind == "f":
        return pa.array(column, from_pandas=True)
    return pa.array(column)


def tables_of(columns: GraphColumns) -> dict[str, pa.Table]:
    """The three tables, regions and relations with the number of their image."""
    image, words = columns.image, columns.vocabularies
    return {
        "image": table_of(image, words),
        "region": table_of(columns.region, words, image.region_count),
        "relation": table_of(columns.relation, words, image.relation_count),
    }


def parquet(columns: GraphColumns, images: int) -> Path:
    """A folder with one Parquet file (zstd 3) per table."""
    folder = CACHE / f"parquet-{images}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in tables_of(columns).items():
            pq.write_table(
                table, folder / f"{name}.parquet", compression="zstd", compression_level=3, row_group_size=ROW_GROUP
            )
        (folder / "done").touch()
    return folder


def gzipped_json(columns: GraphColumns) -> int:
    """Bytes of these images as gzipped graph JSONL (level 6): what people publish today."""
    return len(gzip.compress(b"\n".join(dump_sample(sample).rstrip() for sample in columns.samples()), 6))
