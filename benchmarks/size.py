"""Bytes on disk against gzipped JSON and against Parquet with zstd, same columns.

Bars: at most 0.65 of gzipped JSON, at most 0.95 of Parquet. JSON is measured on every k-th image and scaled up.

    python benchmarks/size.py            python benchmarks/size.py --small
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import peers
from synthesize import FULL, snapshot_of


def bytes_of(folder: Path) -> int:
    """All files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="10,000 images")
    images = 10_000 if parser.parse_args().small else FULL
    snapshot = snapshot_of(images)
    columns = snapshot.columns()
    ours, parquet = bytes_of(snapshot.path), bytes_of(peers.parquet(columns, images))
    sample = columns.gather(np.arange(0, images, max(1, images // 5000)))
    gz = peers.gzipped_json(sample) * images / len(sample)
    found = {
        "megabytes": round(ours / 1e6, 1),
        "parquet_megabytes": round(parquet / 1e6, 1),
        "gz_json_megabytes": round(gz / 1e6, 1),
    }
    ratios = {
        "ratio_parquet": round(ours / parquet, 3),
        "bar_parquet": 0.95,
        "ratio_gz_json": round(ours / gz, 3),
        "bar_gz_json": 0.65,
    }
    print(json.dumps({"benchmark": "size", "images": images, **ratios, **found}))


if __name__ == "__main__":
    main()
