"""Polygons to masks: pixel for pixel what pycocotools makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from sgforge import masks
from sgforge.errors import GraphError


def reference(polygons: list[list[float]], height: int, width: int) -> bytes:
    counts: bytes = coco.merge(coco.frPyObjects(polygons, height, width))["counts"]
    return counts


@st.composite
def polygon(draw: st.DrawFn) -> list[float]:
    """3 to 9 points around a frame of 40 pixels: on pixel borders, halves, tenths, or anywhere; also far outside."""
    step = draw(st.sampled_from([1.0, 0.5, 0.2, 0.1, 0.01]))
    reach = draw(st.sampled_from([(0, 40), (-20, 60), (-3000, 3000), (10, 12)]))
    points = st.integers(int(reach[0] / step), int(reach[1] / step)).map(lambda value: value * step)
    return draw(
        st.lists(st.tuples(points, points), min_size=3, max_size=9).map(lambda pairs: [v for p in pairs for v in p])
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(polygon(), min_size=1, max_size=4), st.integers(1, 45), st.integers(1, 45))
def test_polygons_are_rasterised_as_pycocotools_does(polygons: list[list[float]], height: int, width: int) -> None:
    assert masks.to_coco(masks.from_polygons(polygons, height, width)) == reference(polygons, height, width)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.lists(polygon(), min_size=1, max_size=4), st.integers(1, 45), st.integers(1, 45))
def test_more_polygons_are_rasterised_as_pycocotools_does(polygons: list[list[float]], height: int, width: int) -> None:
    assert masks.to_coco(masks.from_polygons(polygons, height, width)) == reference(polygons, height, width)


@pytest.mark.parametrize("seed", range(6))
def test_smooth_outlines_in_bulk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, sizes = [], []
    for _ in range(30):
        height, width = (int(side) for side in rng.integers(20, 200, 2))
        item = []
        for _ in range(int(rng.integers(1, 4))):
            angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 60))))
            radius = rng.uniform(0.3, 90) * rng.uniform(0.6, 1.0, len(angle))
            center = rng.uniform(0, 1, 2) * (width, height)
            item.append((np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None] + center).ravel().tolist())
        items.append(item)
        sizes.append((height, width))
    expected = [reference(item, *size) for item, size in zip(items, sizes, strict=True)]
    assert masks.to_coco_batch(masks.from_polygons_batch(items, sizes)) == expected


@pytest.mark.parametrize(
    "polygons",
    [
        [[1, 1, 1, 1, 1, 1]],  # one point
        [[0, 0, 5, 5, 0, 0]],  # a line there and back
        [[2.5, 2.5, 2.6, 2.5, 2.6, 2.6]],  # less than a pixel
        [[0, 0, 10, 0, 10, 10, 0, 10]],  # the whole frame
        [[-5, -5, 20, -5, 20, 20, -5, 20]],  # more than the frame
        [[30, 30, 40, 30, 40, 40]],  # outside
        [[-30, -30, -20, -30, -20, -20]],  # outside, negative
        [[0, 0, 10, 10, 10, 0, 0, 10]],  # crosses itself
        [[1, 1, 4, 1, 4, 4, 1, 4], [3, 3, 8, 3, 8, 8, 3, 8], [1, 1, 4, 1, 4, 4, 1, 4]],  # overlapping, repeated
        [[0, 0, 4, 0, 4, 10, 0, 10], [4, 0, 10, 0, 10, 10, 4, 10]],  # touching
        [[0, -1e7, 10, 5, 0, 1e7]],  # very far outside
        [[9.5, 9.5, 10, 9.5, 10, 10]],  # the last pixel
    ],
)
def test_odd_polygons(polygons: list[list[float]]) -> None:
    assert masks.to_coco(masks.from_polygons(polygons, 10, 10)) == reference(polygons, 10, 10)


def test_no_polygons_make_an_empty_mask() -> None:
    assert masks.from_polygons([], 4, 4) == masks.from_array(np.zeros((4, 4), bool))
    assert masks.from_polygons_batch([], []) == []


def test_a_coordinate_beyond_reason_costs_nothing_and_is_refused_past_the_limit() -> None:
    masks.from_polygons([[0, 0, 9e7, 1, 5, 9e7]], 100, 100)
    with pytest.raises(GraphError, match="beyond 1e\\+08"):
        masks.from_polygons([[0, 0, 1e9, 1, 5, 5]], 100, 100)


def test_frames_too_large_for_one_sort_key() -> None:
    """Item, column and row of two such frames need more than 63 bits; the pixels are those of a small frame."""
    shapes = [[[2, 3, 7, 3, 7, 8]], [[1, 1, 4, 1, 4, 4, 1, 4], [3, 3, 8, 3, 8, 8, 3, 8]]]
    largest = 2**31 - 1
    small = masks.from_polygons_batch(shapes, [(20, 20)] * 2)
    large = masks.from_polygons_batch(shapes, [(largest, largest)] * 2)
    assert [(m.x, m.y, m.crop_width, m.crop_height, m.counts) for m in large] == [
        (m.x, m.y, m.crop_width, m.crop_height, m.counts) for m in small
    ]


@pytest.mark.parametrize(
    "polygon_values",
    [[], [1, 2, 3, 4], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7], [0, 0, np.nan, 1, 1, 1], [0, 0, np.inf, 1, 1, 1],
     [[0, 0], [1, 1], [2, 2]], ["a", 0, 1, 1, 2, 2]],
)  # fmt: skip
def test_malformed_polygons_name_the_mask(polygon_values: list[float]) -> None:
    good = [[0, 0, 3, 0, 3, 3]]
    with pytest.raises(GraphError, match="mask 1: a polygon"):
        masks.from_polygons_batch([good, [good[0], polygon_values]], [(5, 5), (5, 5)])
