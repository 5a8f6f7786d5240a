"""Synthetic columns of the size and shape of Synthetic Visual Genome, for the benchmarks.

Two parts, as in Table 1 of the SVG paper: 33,000 images of 13.2 regions and 25.5 relations, 113,000 images of 19.8 and
42.3. Texts follow Zipf's law (20,000 labels, 8,000 predicates), two in five regions have a description, masks are
smooth convex blobs of about 100 bytes as COCO run lengths. Scores are random, the worst case for compression.

    python benchmarks/synthesize.py --images 146000
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import attrs
import numpy as np

from sgforge.columns import GraphColumns, ImageColumns, Ragged, RegionColumns, RelationColumns, Vocabularies
from sgforge.columns.ragged import ends_of
from sgforge.dataset import Dataset, DatasetWriter, Snapshot
from sgforge.dataset.folder import SCHEMA
from sgforge.statekey import KEY_BYTES

FULL = 146_000
_SEED_SHARE = 33_000 / FULL
_MEANS = ((13.2, 25.5), (19.8, 42.3))
_LABELS, _PREDICATES, _WORDS = 20_000, 8_000, 5_000
_POOL = 40_000


def snapshot_of(images: int = FULL, cache: Path | None = None) -> Snapshot:
    """The synthetic dataset of this many images, made once per machine."""
    folder = (cache or Path(tempfile.gettempdir()) / "sgforge-benchmarks") / f"synthetic-{SCHEMA}-{images}"
    if not (folder / "refs/heads/main").exists():
        columns = synthesize(images)
        keys = np.random.default_rng(5).integers(0, 256, (images, KEY_BYTES), dtype=np.uint8)
        with DatasetWriter.open(folder) as writer:
            writer.move_branch("main", writer.publish_source(columns, keys))
    return Dataset.open(folder).snapshot


def synthesize(images: int) -> GraphColumns:
    """Columns of `images` images; the same for every call."""
    rng = np.random.default_rng(20_26)
    seed = np.arange(images) < round(images * _SEED_SHARE)
    region_mean, relation_mean = (np.where(seed, *pair) for pair in zip(*_MEANS, strict=True))
    region_count = np.maximum(rng.poisson(region_mean), 2).astype(np.uint32)
    relation_count = rng.poisson(relation_mean).astype(np.uint32)
    width = rng.choice([640, 500, 427], images).astype(np.int32)
    height = rng.choice([480, 375, 640], images).astype(np.int32)
    steps = ("complete", "segment", "spatial-rules")
    image = attrs.evolve(
        ImageColumns.blank(images),
        id=Ragged.of_texts([f"{index:012}" for index in range(images)]),
        uri=Ragged.of_texts([f"coco:train2017/{index:012}.jpg" for index in range(images)]),
        width=width,
        height=height,
        split=(rng.random(images) < 0.1).astype(np.int32),
        source=seed.astype(np.int32),
        sha256=rng.integers(0, 256, (images, 32), dtype=np.uint8),
        region_count=region_count,
        relation_count=relation_count,
    )
    words = Vocabularies(
        label=_names("label", _LABELS),
        predicate=_names("predicate", _PREDICATES),
        attribute=_names("attribute", 500),
        step=steps,
        reason=("iou", "left-right", "vqa-no"),
        source=("new", "sam", "seed"),
        split=("train", "val"),
    )
    regions = _regions(rng, region_count, width, height)
    return GraphColumns(image, regions, _relations(rng, region_count, relation_count), words)


def _names(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem} {index:05}" for index in range(count))


def _zipf(rng: np.random.Generator, words: int, count: int) -> np.ndarray:
    shares = 1 / np.arange(1, words + 1)
    ids = rng.permutation(words).astype(np.int32)
    return ids[np.searchsorted(np.cumsum(shares) / shares.sum(), rng.random(count)).clip(max=words - 1)]


def _regions(rng: np.random.Generator, counts: np.ndarray, width: np.ndarray, height: np.ndarray) -> RegionColumns:
    rows = int(counts.sum())
    crops, masks = _mask_pool(rng)
    picked = rng.integers(0, _POOL, rows)
    size = crops[picked]
    frame = np.repeat(np.stack([width, height], axis=1), counts, axis=0)
    corner = (rng.random((rows, 2)) * (frame - size)).astype(np.int32)
    inset = rng.random((rows, 2)).astype(np.float32) * 0.9
    box = np.concatenate([corner + inset, corner + size - inset[:, ::-1]], axis=1).astype(np.float32)
    lengths = np.where(rng.random(rows) < 0.4, rng.integers(4, 12, rows), 0)
    attribute_count = rng.poisson(0.5, rows).astype(np.uint32)
    return attrs.evolve(
        RegionColumns.blank(rows),
        label=_zipf(rng, _LABELS, rows),
        box=box,
        score=rng.random(rows).astype(np.float32),
        source=np.ones(rows, np.int32),
        made_by=np.ones(rows, np.int32),
        has_mask=np.ones(rows, np.uint8),
        mask_crop=np.concatenate([corner, size], axis=1).astype(np.int32),
        mask=masks.take(picked),
        description=_descriptions(rng, lengths),
        attribute=Ragged(attribute_count, _zipf(rng, 500, int(attribute_count.sum()))),
    )


def _mask_pool(rng: np.random.Generator) -> tuple[np.ndarray, Ragged]:
    """(width, height) and run lengths of many convex blobs, each in its tight crop."""
    from pycocotools import mask as coco

    sizes = np.exp(rng.normal(4.0, 0.75, (_POOL, 2))).clip(4, 360).astype(np.int32)
    counts = []
    for width, height in sizes.tolist():
        x = np.linspace(-1, 1, width)[None, :]
        y = np.linspace(-1, 1, height)[:, None]
        power, tilt = rng.uniform(1.6, 3.0), rng.uniform(-0.3, 0.3)
        blob = np.abs(x + tilt * y * (1 - x**2)) ** power + np.abs(y) ** power <= 1
        # The crop is tight: its border rows and columns hold something.
        blob[0, width // 2] = blob[-1, width // 2] = blob[height // 2, 0] = blob[height // 2, -1] = True
        counts.append(coco.encode(np.asfortranarray(blob.astype(np.uint8)))["counts"])
    return sizes, Ragged.of_bytes(counts)


def _descriptions(rng: np.random.Generator, lengths: np.ndarray) -> Ragged:
    words = [f"{'aeiou'[index % 5]}{np.base_repr(index * 7919, 36).lower()} ".encode() for index in range(_WORDS)]
    table = Ragged.of_bytes(words)
    picked = _zipf(rng, _WORDS, int(lengths.sum()))
    text = table.take(picked)
    described = lengths > 0
    ends = ends_of(lengths[described])
    starts = text.offsets[ends]
    return Ragged(described.astype(np.uint32), Ragged(np.diff(starts).astype(np.uint32), text.values))


def _relations(rng: np.random.Generator, region_count: np.ndarray, relation_count: np.ndarray) -> RelationColumns:
    rows = int(relation_count.sum())
    regions = np.repeat(region_count, relation_count).astype(np.int64)
    # The teacher works subject by subject, so subjects come in order within an image.
    image = np.repeat(np.arange(len(region_count)), relation_count)
    subject = (rng.random(rows) * regions).astype(np.int32)
    subject = subject[np.lexsort((subject, image))]
    other = (rng.random(rows) * (regions - 1)).astype(np.int32)
    rejected = rng.random(rows) < 0.2
    return attrs.evolve(
        RelationColumns.blank(rows),
        subject=subject,
        predicate=_zipf(rng, _PREDICATES, rows),
        object=(other + (other >= subject)).astype(np.int32),
        category=rng.integers(0, 6, rows).astype(np.uint8),
        score=rng.random(rows).astype(np.float32),
        status=rejected.astype(np.uint8),
        reason=np.where(rejected, rng.integers(0, 3, rows), -1).astype(np.int32),
        degree=np.where(rejected, rng.random(rows), np.nan).astype(np.float32),
        made_by=np.zeros(rows, np.int32),
        judged_by=np.where(rejected, 2, -1).astype(np.int32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=FULL)
    images = parser.parse_args().images
    started = time.perf_counter()
    snapshot = snapshot_of(images)
    total = sum(path.stat().st_size for path in snapshot.path.rglob("*") if path.is_file())
    figures = {**snapshot.meta.counts, "megabytes": round(total / 1e6, 1)}
    print(json.dumps({"benchmark": "synthesize", **figures, "seconds": round(time.perf_counter() - started, 1)}))


if __name__ == "__main__":
    main()
