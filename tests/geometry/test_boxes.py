"""Boxes: forms, overlaps in the three pixel conventions by hand, invariants, clipping that reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from sgforge import boxes as bx
from sgforge.errors import GraphError

SIDES = st.integers(0, 50)


@st.composite
def box_arrays(draw: st.DrawFn, size: int | None = None) -> np.ndarray:
    number = size if size is not None else draw(st.integers(0, 6))
    rows = [[draw(SIDES), draw(SIDES), draw(SIDES) + 1, draw(SIDES) + 1] for _ in range(number)]
    array = np.array(rows, np.float64).reshape(-1, 4)
    array[:, 2:] += array[:, :2]
    return array


def test_forms_by_hand() -> None:
    xyxy = np.array([[1.0, 2.0, 5.0, 10.0]])
    assert bx.xyxy_to_xywh(xyxy).tolist() == [[1, 2, 4, 8]]
    assert bx.xyxy_to_cxcywh(xyxy).tolist() == [[3, 6, 4, 8]]
    assert bx.xywh_to_xyxy([[1, 2, 4, 8]]).tolist() == [[1, 2, 5, 10]]
    assert bx.cxcywh_to_xyxy([[3, 6, 4, 8]]).tolist() == [[1, 2, 5, 10]]


@given(box_arrays())
def test_forms_there_and_back(boxes: np.ndarray) -> None:
    np.testing.assert_allclose(bx.xywh_to_xyxy(bx.xyxy_to_xywh(boxes)), boxes)
    np.testing.assert_allclose(bx.cxcywh_to_xyxy(bx.xyxy_to_cxcywh(boxes)), boxes)


@pytest.mark.parametrize(
    ("convention", "area", "expected"),
    [
        ("continuous", 100.0, 25 / 175),
        ("legacy", 121.0, 36 / (121 + 121 - 36)),
        ("maelic", 100.0, 36 / (100 + 100 - 36)),
    ],
)
def test_conventions_by_hand(convention: bx.Convention, area: float, expected: float) -> None:
    first, second = [[0, 0, 10, 10]], [[5, 5, 15, 15]]
    assert bx.area(first, convention).tolist() == [area]
    assert bx.iou(first, second, convention)[0, 0] == pytest.approx(expected)
    assert bx.iou_rows(first, second, convention)[0] == pytest.approx(expected)


def test_boxes_that_only_touch_share_pixels_in_the_inclusive_conventions_alone() -> None:
    first, second = [[0, 0, 10, 10]], [[10, 0, 20, 10]]
    assert bx.intersection(first, second).tolist() == [[0]]
    assert bx.intersection(first, second, "legacy").tolist() == [[11]]
    assert bx.intersection(first, second, "maelic").tolist() == [[11]]


def test_boxes_without_area() -> None:
    flat = [[3, 3, 3, 3]]
    assert bx.iou(flat, flat).tolist() == [[0]]
    assert bx.iou(flat, flat, "legacy").tolist() == [[1]]
    assert bx.iou(flat, flat, "maelic").tolist() == [[-1]]  # 1 / (0 + 0 - 1), as that evaluator has it


def test_float32_stays_float32() -> None:
    boxes = np.array([[0, 0, 3, 3]], np.float32)
    assert bx.iou(boxes, boxes).dtype == np.float32
    assert bx.iou(boxes.astype(int), boxes.astype(int)).dtype == np.float64


@given(box_arrays(), box_arrays())
def test_iou_is_that_of_pycocotools(first: np.ndarray, second: np.ndarray) -> None:
    if not len(first) or not len(second):
        assert bx.iou(first, second).shape == (len(first), len(second))
        return
    reference = coco.iou(bx.xyxy_to_xywh(first), bx.xyxy_to_xywh(second), [0] * len(second))
    np.testing.assert_allclose(bx.iou(first, second), reference)


@given(st.integers(0, 5).flatmap(lambda size: st.tuples(box_arrays(size), box_arrays(size))))
def test_rows_are_the_diagonal_and_iou_is_symmetric(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    for convention in bx.CONVENTIONS:
        matrix = bx.iou(first, second, convention)
        np.testing.assert_array_equal(bx.iou_rows(first, second, convention), np.diagonal(matrix))
        np.testing.assert_array_equal(bx.iou(second, first, convention), matrix.T)


@given(box_arrays(3), box_arrays(3))
def test_union_boxes_hold_both_and_are_tight(first: np.ndarray, second: np.ndarray) -> None:
    union = bx.union_boxes(first, second)
    np.testing.assert_allclose(np.diagonal(bx.containment(first, union)), 1)
    np.testing.assert_allclose(np.diagonal(bx.containment(second, union)), 1)
    np.testing.assert_array_equal(union[:, 0], np.minimum(first[:, 0], second[:, 0]))


def test_containment_by_hand() -> None:
    assert bx.containment([[0, 0, 4, 4]], [[2, 0, 9, 9], [-1, -1, 5, 5]]).tolist() == [[0.5, 1.0]]
    assert bx.containment([[1, 1, 1, 1]], [[0, 0, 9, 9]]).tolist() == [[0.0]]


def test_clipping_reports_what_it_changed_and_what_is_gone() -> None:
    clipped = bx.clip([[1, 1, 5, 5], [-3, 2, 5, 30], [50, 1, 60, 5]], 20, 10)
    assert clipped.boxes.tolist() == [[1, 1, 5, 5], [0, 2, 5, 10], [20, 1, 20, 5]]
    assert clipped.changed.tolist() == [False, True, True]
    assert clipped.empty.tolist() == [False, False, True]


def test_wrong_shapes_and_names_are_refused() -> None:
    with pytest.raises(GraphError, match="shape"):
        bx.area([[1, 2, 3]])
    with pytest.raises(GraphError, match="as many boxes"):
        bx.iou_rows([[0, 0, 1, 1]], np.zeros((2, 4)))
    with pytest.raises(GraphError, match="pixel convention 'plus'"):
        bx.iou([[0, 0, 1, 1]], [[0, 0, 1, 1]], "plus")  # type: ignore[arg-type]
