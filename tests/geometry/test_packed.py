"""Packed masks: overlaps of many masks, against plain numpy and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from geometry.arrays import encode, mask_arrays
from hypothesis import given, settings
from pycocotools import mask as coco

from sgforge import masks
from sgforge.errors import GraphError
from sgforge.masks import PackedMasks

MANY = settings(max_examples=150, deadline=None)


def shared_pixels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("ahw,bhw->ab", first.astype(np.int64), second.astype(np.int64))


@MANY
@given(mask_arrays(min_size=0))
def test_both_ways_in_give_the_same_and_the_pixels_come_back(arrays: np.ndarray) -> None:
    packed = PackedMasks.from_arrays(arrays)
    assert np.array_equal(packed.arrays(), arrays)
    assert packed.areas.tolist() == arrays.sum(axis=(1, 2)).tolist()
    if not len(arrays):
        return
    again = PackedMasks.from_masks(masks.from_arrays(arrays))
    assert np.array_equal(again.words, packed.words)
    assert np.array_equal(again.boxes, packed.boxes)
    assert np.array_equal(again.areas, packed.areas)
    assert np.array_equal(packed.boxes, masks.boxes(masks.from_arrays(arrays)))


@MANY
@given(mask_arrays(min_size=0, max_size=7))
def test_overlaps_of_all_pairs(arrays: np.ndarray) -> None:
    packed = PackedMasks.from_arrays(arrays)
    shared = shared_pixels(arrays, arrays)
    areas = arrays.sum(axis=(1, 2))
    assert np.array_equal(packed.intersections(), shared)
    assert np.array_equal(packed.intersections(packed), shared)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(packed.containment(), np.nan_to_num(shared / areas[:, None]))
        np.testing.assert_allclose(packed.iou(), np.nan_to_num(shared / (areas[:, None] + areas - shared)))


@MANY
@given(mask_arrays(min_size=2, max_size=7))
def test_overlaps_of_two_sets(arrays: np.ndarray) -> None:
    first, second = arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]
    one, two = PackedMasks.from_arrays(first), PackedMasks.from_arrays(second)
    assert np.array_equal(one.intersections(two), shared_pixels(first, second))
    assert np.array_equal(one.iou(two), two.iou(one).T)


@MANY
@given(mask_arrays(min_size=1))
def test_iou_is_that_of_pycocotools(arrays: np.ndarray) -> None:
    arrays = arrays[arrays.any(axis=(1, 2))]
    if not len(arrays):
        return
    rles = encode(arrays)
    reference = coco.iou(rles, rles, [0] * len(rles))
    np.testing.assert_allclose(PackedMasks.from_arrays(arrays).iou(), reference)


def test_masks_larger_than_one_step_of_work() -> None:
    rng = np.random.default_rng(0)
    arrays = np.zeros((40, 700, 900), bool)
    for array in arrays:
        y, x = int(rng.integers(0, 500)), int(rng.integers(0, 700))
        array[y : y + int(rng.integers(1, 600)), x : x + int(rng.integers(1, 800))] = rng.random() < 0.9
    packed = PackedMasks.from_arrays(arrays)
    flat = arrays.reshape(40, -1).astype(np.float32)
    assert np.array_equal(packed.intersections(), (flat @ flat.T).astype(np.int64))
    assert np.array_equal(masks.to_arrays(masks.from_arrays(arrays)), arrays)


def test_masks_of_other_frames_are_not_compared() -> None:
    with pytest.raises(GraphError, match="frames 3x4 and 4x3"):
        PackedMasks.from_arrays(np.ones((1, 4, 3), bool)).iou(PackedMasks.from_arrays(np.ones((1, 3, 4), bool)))
