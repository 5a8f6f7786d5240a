"""Selection of masks against rules written anew on plain sets of pixels, scipy's components, and cases by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from geometry.arrays import mask_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sgforge.errors import GraphError
from sgforge.masks import PackedMasks, selection

MANY = settings(max_examples=150, deadline=None)
MODES = [mode.value for mode in selection.MergeMode]
Pixels = frozenset[tuple[int, int]]


def rectangles(*boxes: tuple[int, int, int, int], height: int = 20, width: int = 70) -> np.ndarray:
    """(N, H, W) booleans of boxes x0, y0, x1, y1."""
    arrays = np.zeros((len(boxes), height, width), bool)
    for array, (x0, y0, x1, y1) in zip(arrays, boxes, strict=True):
        array[y0:y1, x0:x1] = True
    return arrays


def pixels(arrays: np.ndarray) -> list[Pixels]:
    return [frozenset(zip(*(axis.tolist() for axis in np.nonzero(array)), strict=True)) for array in arrays]


def plain_iou(first: Pixels, second: Pixels) -> float:
    return len(first & second) / len(first | second) if first | second else 0.0


def share(inner: Pixels, outer: Pixels) -> float:
    return len(inner & outer) / len(inner) if inner else 0.0


@st.composite
def proposals(draw: st.DrawFn) -> np.ndarray:
    """Rectangles on a coarse grid, so that copies, parts and unions are common."""
    spans = st.tuples(st.integers(0, 4), st.integers(1, 4))
    number = draw(st.integers(0, 7))
    boxes = []
    for _ in range(number):
        (x, width), (y, height) = draw(spans), draw(spans)
        boxes.append((9 * x, 3 * y, 9 * (x + width) + draw(st.integers(0, 1)), 3 * (y + height)))
    return rectangles(*boxes, height=24, width=73)


def plain_merge(first: list[Pixels], second: list[Pixels], mode: str) -> list[int]:
    if not first:
        return list(range(len(second)))
    areas = sorted(len(one) for one in second)
    kept = []
    for index, mask in enumerate(second):
        same = any(plain_iou(mask, other) > 0.7 for other in first)
        apart = all(share(mask, other) < 0.6 for other in first)
        large = len(mask) > statistics.median(len(one) for one in first)
        place = 0.75 * (len(areas) - 1)
        low = areas[math.floor(place)]
        quartile = low + (areas[math.ceil(place)] - low) * (place - math.floor(place))
        wanted = {
            "non-overlap-or-area": not same and (apart or large or len(mask) > quartile),
            "non-overlap-only": not same and apart,
            "area-only": not same and large,
            "non-overlap-and-area": not same and apart and large,
            "overlap-only": same,
            "not-same": not same,
        }
        if wanted[mode]:
            kept.append(index)
    return kept


@MANY
@given(proposals(), proposals(), st.sampled_from(MODES))
def test_merging_follows_the_six_rules(first: np.ndarray, second: np.ndarray, mode: str) -> None:
    wanted = plain_merge(pixels(first), pixels(second), mode)
    assert selection.merge(first, second, mode).tolist() == wanted
    packed = PackedMasks.from_arrays(first), PackedMasks.from_arrays(second)
    assert selection.merge(*packed, selection.MergeMode(mode)).tolist() == wanted
    assert selection.merge(first, second, MODES.index(mode)).tolist() == wanted


def test_merging_by_hand() -> None:
    whole = rectangles((0, 0, 20, 10), (40, 0, 60, 10))
    part = rectangles((0, 0, 20, 9), (0, 0, 10, 10), (10, 0, 60, 20), (25, 0, 30, 5))
    # The first is the first whole again (180 of 200 pixels), the second lies in it; the third is larger than both, the
    # fourth lies apart from them.
    assert {mode: selection.merge(whole, part, mode).tolist() for mode in MODES} == {
        "non-overlap-or-area": [2, 3],
        "non-overlap-only": [2, 3],
        "area-only": [2],
        "non-overlap-and-area": [2],
        "overlap-only": [0],
        "not-same": [1, 2, 3],
    }
    nothing = np.zeros((0, 20, 70), bool)
    for mode in MODES:
        assert selection.merge(nothing, part, mode).tolist() == [0, 1, 2, 3]
        assert selection.merge(whole, nothing, mode).tolist() == []


@pytest.mark.parametrize("mode", ["larger", "", 6, -1])
def test_an_unknown_mode_is_refused(mode: str | int) -> None:
    with pytest.raises(GraphError, match="non-overlap-or-area, non-overlap-only"):
        selection.merge(rectangles((0, 0, 1, 1)), rectangles((0, 0, 1, 1)), mode)


def plain_unions(masks: list[Pixels], *, copies: bool) -> list[int]:
    """The masks that stand: all judged at once with copies as parts, or from the smallest on without."""
    standing = list(range(len(masks)))
    before = standing.copy()
    for index in sorted(before, key=lambda index: (len(masks[index]), index)):
        parts = [
            other
            for other in (before if copies else standing)
            if other != index
            and share(masks[other], masks[index]) > 0.9
            and (copies or share(masks[index], masks[other]) <= 0.9)
        ]
        together = frozenset().union(*(masks[part] for part in parts))
        if len(parts) >= 2 and share(masks[index], together) > 0.9:
            standing.remove(index)
    return standing


@MANY
@given(proposals(), st.booleans())
def test_unions_are_found_as_the_rule_says(arrays: np.ndarray, parity: bool) -> None:
    wanted = plain_unions(pixels(arrays), copies=parity)
    assert selection.without_unions(arrays, parity).tolist() == wanted
    assert selection.without_unions(PackedMasks.from_arrays(arrays), parity=parity).tolist() == wanted


@MANY
@given(proposals())
def test_what_is_removed_as_a_union_stays_covered(arrays: np.ndarray) -> None:
    masks = pixels(arrays)
    kept = selection.without_unions(arrays).tolist()
    together = frozenset().union(*(masks[index] for index in kept))
    for index in set(range(len(masks))) - set(kept):
        assert share(masks[index], together) > 0.9


def test_copies_remove_one_another_only_as_upstream_has_it() -> None:
    copies = rectangles((0, 0, 20, 10), (0, 0, 20, 10), (0, 0, 21, 10))
    assert selection.without_unions(copies).tolist() == [0, 1, 2]
    assert selection.without_unions(copies, parity=True).tolist() == []
    halves = rectangles((0, 0, 20, 10), (0, 0, 10, 10), (10, 0, 20, 10), (30, 0, 40, 10))
    assert selection.without_unions(halves).tolist() == [1, 2, 3]
    assert selection.without_unions(halves, parity=True).tolist() == [1, 2, 3]


@MANY
@given(proposals(), st.sampled_from([0.0, 0.3, 0.7, 0.95]))
def test_of_duplicates_the_first_stays(arrays: np.ndarray, iou: float) -> None:
    masks = pixels(arrays)
    kept: list[int] = []
    for index, mask in enumerate(masks):
        if all(plain_iou(mask, masks[other]) <= iou for other in kept):
            kept.append(index)
    assert selection.without_duplicates(arrays, iou).tolist() == kept


@MANY
@given(proposals(), proposals())
def test_annotations_are_confirmed_by_their_best_overlap(annotated: np.ndarray, generated: np.ndarray) -> None:
    best = [max((plain_iou(one, other) for other in pixels(generated)), default=0.0) for one in pixels(annotated)]
    found = selection.confirm(annotated, generated)
    np.testing.assert_allclose(found.degree, best, atol=1e-12)
    assert found.kept.tolist() == [index for index, value in enumerate(best) if value > 0.5]


def test_boxes_are_confirmed_by_tight_boxes() -> None:
    generated = np.zeros((1, 20, 70), bool)
    generated[0, 0, 0] = generated[0, 9, 19] = True  # two pixels, whose tight box has 200
    boxes = [[0, 0, 20, 10], [0, 0, 10, 10], [0, 0, 11, 10], [50, 0, 60, 10]]
    found = selection.confirm(boxes, generated)
    assert found.degree.tolist() == [1.0, 0.5, 0.55, 0.0]
    assert found.kept.tolist() == [0, 2]  # exactly one half is not more than one half
    assert selection.confirm(boxes, generated[:0]).kept.tolist() == []
    assert selection.confirm([], generated).kept.tolist() == []
    assert selection.confirm(boxes, [[0, 0, 20, 10], [50, 0, 60, 11]]).kept.tolist() == [0, 2, 3]
    with pytest.raises(GraphError, match=r"masks \(N, H, W\) or boxes \(N, 4\)"):
        selection.confirm([1.0, 2.0], generated)


def test_uncovered_proposals_and_the_pairs_nearby() -> None:
    # Boxes by the index of their last pixel: 10 x 10 pixels each, shifted by 0, 5, 30 and 35 against the annotation.
    annotations = [[0, 0, 9, 9]]
    proposals = [[0, 0, 9, 9], [5, 0, 14, 9], [30, 0, 39, 9], [35, 0, 44, 9]]
    found = selection.uncovered(proposals, annotations)
    assert found.proposals.tolist() == [1, 2, 3]
    assert found.among.tolist() == [[2, 3]]  # 50 shared pixels of 150
    assert found.with_annotations.tolist() == [[1, 0]]
    assert selection.uncovered(proposals, []).proposals.tolist() == [0, 1, 2, 3]
    assert selection.uncovered([], annotations).proposals.tolist() == []


@MANY
@given(st.lists(st.tuples(*[st.integers(0, 8)] * 4, st.integers(0, 3)), max_size=9), st.sampled_from([0.0, 0.3, 0.7]))
def test_suppression_by_boxes(rows: list[tuple[int, ...]], iou: float) -> None:
    boxes = [(x, y, x + width, y + height) for x, y, width, height, _ in rows]
    scores = [float(row[4]) for row in rows]
    kept: list[int] = []
    for index in sorted(range(len(rows)), key=lambda index: (-scores[index], index)):
        x0, y0, x1, y1 = boxes[index]
        overlaps = []
        for other in kept:
            u0, v0, u1, v1 = boxes[other]
            shared = max(min(x1, u1) - max(x0, u0), 0) * max(min(y1, v1) - max(y0, v0), 0)
            union = (x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - shared
            overlaps.append(shared / union if union else 0.0)
        if all(value <= iou for value in overlaps):
            kept.append(index)
    assert selection.nms(boxes, scores, iou).tolist() == kept


@MANY
@given(mask_arrays(), st.integers(0, 12))
def test_clean_up_against_the_components_of_scipy(arrays: np.ndarray, min_area: int) -> None:
    wanted = arrays.copy()
    eight = np.ones((3, 3), int)
    for array in wanted:
        for value in (False, True):
            label, number = ndimage.label(array == value, eight)
            sizes = np.bincount(label.ravel(), minlength=number + 1)[1:]
            small = sizes < min_area
            if value and number and small.all():
                small[sizes.argmax()] = False
                if (sizes == sizes.max()).sum() > 1:
                    small[:] = False  # which of equal islands stays is not this test's question
            array[np.isin(label, 1 + np.flatnonzero(small))] = not value
    found = selection.clean(arrays, min_area)
    cleaned = found.masks.arrays()
    for index in range(len(arrays)):
        ties = not np.array_equal(cleaned[index], wanted[index])
        if ties:
            _, number = ndimage.label(wanted[index], eight)
            assert number > 1
            assert ndimage.label(cleaned[index], eight)[1] == 1
            assert (wanted[index] | ~cleaned[index]).all()
        assert found.changed[index] == (cleaned[index] != arrays[index]).any()


def test_clean_up_by_hand() -> None:
    array = np.zeros((1, 8, 12), bool)
    array[0, 1:7, 1:7] = True
    array[0, 3:5, 3:5] = False  # a hole of 4 pixels
    array[0, 0, 11] = array[0, 1, 10] = True  # an island of 2 pixels, joined at a corner
    assert selection.clean(array, 2).changed.tolist() == [False]
    three = selection.clean(array, 3).masks.arrays()[0]
    assert not three[:, 9:].any()
    assert not three[3:5, 3:5].any()
    assert selection.clean(array, 5).masks.arrays()[0].sum() == 36
    only_islands = np.zeros((1, 8, 12), bool)
    only_islands[0, 0, 0] = only_islands[0, 5, 5:8] = True
    assert np.argwhere(selection.clean(only_islands, 50).masks.arrays()[0]).tolist() == [[5, 5], [5, 6], [5, 7]]
    assert not selection.clean(np.zeros((2, 8, 12), bool), 5).masks.areas.any()


@MANY
@given(proposals(), st.sampled_from(["small", "large"]))
def test_disjoint_masks_share_no_pixel_and_lose_none(arrays: np.ndarray, on_top: str) -> None:
    found = selection.disjoint(arrays, on_top).arrays()  # type: ignore[arg-type]
    assert found.sum(axis=0).max(initial=0) <= 1
    assert np.array_equal(found.any(axis=0), arrays.any(axis=0))
    areas = arrays.sum(axis=(1, 2))
    for y, x in np.argwhere(arrays.any(axis=0)).tolist():
        owner = int(found[:, y, x].argmax())
        claims = areas[arrays[:, y, x]]
        assert areas[owner] == (claims.min() if on_top == "small" else claims.max())


@MANY
@given(proposals())
def test_parents_are_the_smallest_that_hold_a_mask(arrays: np.ndarray) -> None:
    masks = pixels(arrays)
    for index, parent in enumerate(selection.parents(arrays).tolist()):
        holders = [
            (len(other), place)
            for place, other in enumerate(masks)
            if place != index and share(masks[index], other) > 0.9 and share(other, masks[index]) <= 0.9
        ]
        assert parent == (min(holders)[1] if holders else -1)


def test_sizes_and_salience() -> None:
    arrays = rectangles((0, 0, 70, 20), (30, 8, 40, 12), (0, 0, 10, 4), (0, 0, 0, 0), (25, 5, 45, 15))
    assert selection.at_least(arrays, 40).tolist() == [0, 1, 2, 4]
    assert selection.at_least(arrays, 41).tolist() == [0, 4]
    # All of the frame tells nothing; of the others the larger and the more central one stands out.
    assert [selection.most_salient(arrays, number).tolist() for number in range(6)] == [
        [],
        [4],
        [1, 4],
        [1, 2, 4],
        [0, 1, 2, 4],
        [0, 1, 2, 3, 4],
    ]
    assert selection.most_salient(arrays, 1, scores=[1, 1, 1, 1, 0.1]).tolist() == [1]
    with pytest.raises(GraphError, match="as many scores"):
        selection.most_salient(arrays, 1, scores=[1, 2])
    with pytest.raises(GraphError, match="must be 0 or more"):
        selection.most_salient(arrays, -1)


@given(mask_arrays(min_size=1))
def test_packed_masks_become_values_and_parts_of_themselves(arrays: np.ndarray) -> None:
    packed = PackedMasks.from_arrays(arrays)
    assert np.array_equal(PackedMasks.from_masks(packed.masks()).arrays(), arrays)
    chosen = packed.take([len(arrays) - 1, 0])
    assert np.array_equal(chosen.arrays(), arrays[[-1, 0]])
    assert chosen.areas.tolist() == [arrays[-1].sum(), arrays[0].sum()]


def test_masks_of_another_shape_are_refused() -> None:
    with pytest.raises(GraphError, match="cannot be compared"):
        selection.merge(rectangles((0, 0, 1, 1)), rectangles((0, 0, 1, 1), width=71))
    with pytest.raises(GraphError, match="shape"):
        selection.without_unions(np.zeros((4, 4), bool))
    with pytest.raises(GraphError, match="'small' or the 'large'"):
        selection.disjoint(rectangles((0, 0, 1, 1)), "red")  # type: ignore[arg-type]
