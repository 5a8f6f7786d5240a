"""Generated boolean masks of many kinds, and pycocotools as the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from pycocotools import mask as coco


@st.composite
def mask_arrays(draw: st.DrawFn, min_size: int = 1, max_size: int = 5) -> np.ndarray:
    """(N, H, W) booleans: empty, full, noise, rectangles, stripes, single pixels; widths around the word size."""
    height = draw(st.sampled_from([1, 2, 7, 33]))
    width = draw(st.sampled_from([1, 2, 8, 63, 64, 65, 130]))
    number = draw(st.integers(min_size, max_size))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.stack(
        [_mask(draw(st.integers(0, 6)), height, width, rng) for _ in range(number)] or [np.zeros((height, width), bool)]
    )[:number]


def _mask(kind: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    array = np.zeros((height, width), bool)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    if kind == 1:
        array[:] = True
    elif kind == 2:
        array[:] = rng.random((height, width)) < rng.random()
    elif kind == 3:
        array[y : y + int(rng.integers(1, height + 1)), x : x + int(rng.integers(1, width + 1))] = True
    elif kind == 4:
        array[:, x:] = True
    elif kind == 5:
        array[y:] = True
    elif kind == 6:
        array[y, x] = array[-1, -1] = True
    return array


def encode(arrays: np.ndarray) -> list[dict[str, Any]]:
    """Full-frame run lengths by pycocotools."""
    encoded: list[dict[str, Any]] = coco.encode(np.asfortranarray(arrays.transpose(1, 2, 0).astype(np.uint8)))
    return encoded
