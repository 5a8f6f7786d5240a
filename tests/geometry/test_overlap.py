"""Mask overlap on run lengths against boolean arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sgforge.masks import MaskTable, from_arrays
from sgforge.masks.overlap import RunMasks
from sgforge.matching import MaskLocalizer


def _shapes(seed: int, count: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    arrays = np.zeros((count, height, width), bool)
    for array in arrays:
        if rng.random() < 0.1:
            continue  # an empty mask
        top, left = rng.integers(0, height), rng.integers(0, width)
        array[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = True
        np.logical_and(array, rng.random((height, width)) < rng.choice([0.5, 0.9, 1.0]), out=array)
    return arrays


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 24), width=st.integers(1, 24), strict=st.booleans())
def test_shared_pixels_matches_and_unions(seed, height, width, strict) -> None:
    first, second = _shapes(seed, 6, height, width), _shapes(seed + 1, 6, height, width)
    second[:3] = first[:3] ^ (np.random.default_rng(seed).random(first[:3].shape) < 0.2)
    one, two = (RunMasks.of(MaskTable.of(from_arrays(arrays))) for arrays in (first, second))
    i, j = np.repeat(np.arange(6), 6), np.tile(np.arange(6), 6)
    shared = (first[i] & second[j]).sum(axis=(1, 2))
    union = (first[i] | second[j]).sum(axis=(1, 2))
    assert one.shared(i, two, j).tolist() == shared.tolist()
    enough = shared * 2 > union if strict else shared * 2 >= union
    assert one.match(i, two, j, strict=strict).tolist() == ((shared > 0) & enough).tolist()
    own = np.arange(36)
    both = one.unions(i, j), two.unions(j, i)
    true = first[i] | first[j], second[j] | second[i]
    assert both[0].areas.tolist() == true[0].sum(axis=(1, 2)).tolist()
    assert both[0].shared(own, both[1], own).tolist() == (true[0] & true[1]).sum(axis=(1, 2)).tolist()


def test_masks_of_other_frames_never_match() -> None:
    small, large = np.ones((1, 4, 4), bool), np.ones((1, 4, 5), bool)
    localizer = MaskLocalizer(MaskTable.of(from_arrays(small)), MaskTable.of(from_arrays(large)))
    zero = np.zeros(1, np.int64)
    assert not localizer.regions(zero, zero).any()
    same = MaskLocalizer(MaskTable.of(from_arrays(small)), MaskTable.of(from_arrays(small)))
    assert same.regions(zero, zero).all()


def test_two_empty_masks_do_not_match() -> None:
    nothing = MaskTable.of(from_arrays(np.zeros((1, 4, 4), bool)))
    zero = np.zeros(1, np.int64)
    assert not MaskLocalizer(nothing, nothing).regions(zero, zero).any()
