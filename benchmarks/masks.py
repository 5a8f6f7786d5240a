"""Masks against pycocotools in the same run: pairwise IoU from boolean masks, encode, decode. Prints one JSON line.

    python benchmarks/masks.py [--small]

The bar is `worst_iou_ratio` >= 5: pycocotools' time (encode and iou) over ours (packing and iou), best of `REPEATS`.
Both start from (N, H, W) booleans; the results are compared before a time counts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from sgforge import masks

CASES = ((480, 640, 100), (480, 640, 300), (1024, 1024, 300))
SMALL = ((240, 320, 50), (480, 640, 100))
REPEATS = 3

T = TypeVar("T")


def blobs(height: int, width: int, number: int, seed: int = 0) -> NDArray[np.bool_]:
    """Wavy blobs with log-uniform radii; they cover 6 to 10 % of the frame in the mean, as proposals of SAM do."""
    rng = np.random.default_rng(seed)
    arrays = np.zeros((number, height, width), np.bool_)
    y, x = np.mgrid[:height, :width]
    for array in arrays:
        radius = np.exp(rng.uniform(np.log(8), np.log(0.4 * height)))
        across, down = (
            (x - rng.uniform(0, width)) / radius,
            (y - rng.uniform(0, height)) * rng.uniform(0.6, 1.6) / radius,
        )
        angle = np.arctan2(down, across)
        wave = 1 + 0.2 * np.sin(rng.integers(2, 7) * angle + rng.uniform(0, 6)) + 0.1 * np.sin(11 * angle)
        array[:] = across**2 + down**2 < wave**2
    return arrays


def best(work: Callable[[], T]) -> tuple[float, T]:
    """The shortest of some runs in seconds, and the result."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def encode_coco(arrays: NDArray[np.bool_]) -> list[Any]:
    """pycocotools' own way in: Fortran-ordered uint8 (H, W, N)."""
    encoded: list[Any] = coco.encode(np.asfortranarray(arrays.transpose(1, 2, 0).view(np.uint8)))
    return encoded


def decode_coco(rles: list[Any]) -> NDArray[np.bool_]:
    """Full-frame run lengths to (N, H, W) booleans."""
    return np.ascontiguousarray(coco.decode(rles).transpose(2, 0, 1)).view(np.bool_)


def iou_coco(arrays: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Encode, then IoU on run lengths."""
    rles = encode_coco(arrays)
    return np.asarray(coco.iou(rles, rles, [0] * len(rles)))


def measure(height: int, width: int, number: int) -> dict[str, Any]:
    """Times in milliseconds and ratios of one size."""
    arrays = blobs(height, width, number)
    sizes = [(height, width)] * number
    iou_time, iou = best(lambda: masks.PackedMasks.from_arrays(arrays).iou())
    iou_peer, iou_reference = best(lambda: iou_coco(arrays))
    np.testing.assert_allclose(iou, iou_reference, atol=1e-9)
    encode_time, strings = best(lambda: masks.to_coco_batch(masks.from_arrays(arrays)))
    encode_peer, rles = best(lambda: encode_coco(arrays))
    if strings != [rle["counts"] for rle in rles]:
        raise AssertionError("encoded strings differ from pycocotools")
    decode_time, decoded = best(lambda: masks.to_arrays(masks.from_coco_batch(strings, sizes)))
    decode_peer, _ = best(lambda: decode_coco(rles))
    np.testing.assert_array_equal(decoded, arrays)
    return {
        "size": f"{height}x{width}",
        "masks": number,
        "mean_area": round(float(arrays.mean()), 3),
        "iou_ms": round(1e3 * iou_time, 1),
        "iou_ratio": round(iou_peer / iou_time, 2),
        "encode_ms": round(1e3 * encode_time, 1),
        "encode_ratio": round(encode_peer / encode_time, 2),
        "decode_ms": round(1e3 * decode_time, 1),
        "decode_ratio": round(decode_peer / decode_time, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="two small sizes, a few seconds")
    cases = [measure(*case) for case in (SMALL if parser.parse_args().small else CASES)]
    print(json.dumps({"benchmark": "masks", "worst_iou_ratio": min(c["iou_ratio"] for c in cases), "cases": cases}))


if __name__ == "__main__":
    main()
