"""Options of the sources and exporters of tables."""

from __future__ import annotations

import attrs

from sgforge_formats.config import Orientation

__all__ = ["HfExportOptions", "HfOptions"]


@attrs.frozen
class HfOptions:
    """Rows as Hugging Face data sets have them: Parquet, JSON lines, a JSON list, CSV, or a folder of these.

    `data`: the file, or the folder (its Parquet files, else metadata.jsonl or metadata.csv beside pictures). `images`:
    the folder of pictures that rows name; pictures inside of Parquet are written there. `split`: instead of what the
    names of files say (train, validation, test). `orientation`: as for `coco`.
    """

    data: str
    images: str | None = None
    split: str | None = None
    orientation: Orientation = "stored"


@attrs.frozen
class HfExportOptions:
    """A folder of Parquet files that `datasets.load_dataset` reads, one a split.

    `images`: the folder of pictures, which then lie inside; without it the rows name them. `rows_a_file`: at most so
    many rows in one file.
    """

    images: str | None = None
    rows_a_file: int = 5000
