"""Masks refine containment, overlap and contact; expected values drawn and counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from sgforge import Mask, Region
from sgforge.masks import from_array
from sgforge.spatial import VOCABULARY, Geometry, degrees


def draw(rows: str) -> NDArray[np.bool_]:
    return np.array([[cell == "#" for cell in row] for row in rows.split()])


def degree(predicate: str, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return measure(predicate, from_array(a), from_array(b))


def measure(predicate: str, a: Mask | None, b: Mask | None) -> float:
    geometry = Geometry.of_regions([Region(mask=a), Region(mask=b)])
    return float(degrees(geometry, np.array([[0, 1]]), [predicate])[0, 0])


RING = draw(
    """
    ########
    #......#
    #......#
    #......#
    #......#
    ########
    """
)
CORE = draw(
    """
    ........
    ........
    ..####..
    ..####..
    ........
    ........
    """
)


def test_a_thing_in_the_hole_of_another_is_inside_it_though_they_share_no_pixel() -> None:
    assert not (RING & CORE).any()
    assert degree("inside", CORE, RING) == 1.0
    assert degree("contains", RING, CORE) == 1.0
    assert degree("inside", RING, CORE) == 0.0


L_SHAPE = draw(
    """
    ##......
    ##......
    ##......
    ##......
    ########
    ########
    """
)
CORNER = draw(
    """
    ....####
    ....####
    ....####
    ........
    ........
    ........
    """
)


def test_a_box_contains_what_its_mask_does_not() -> None:
    # CORNER lies within L_SHAPE's box but in no row that L_SHAPE spans there.
    assert degree("inside", CORNER, L_SHAPE) == 0.0
    assert degree("overlapping", CORNER, L_SHAPE) == 0.0
    boxes = Geometry.from_boxes([(4, 0, 8, 3), (0, 0, 8, 6)])
    assert degrees(boxes, np.array([[0, 1]]), ["inside"])[0, 0] == 1.0


def test_touching_needs_masks_within_reach() -> None:
    # Frame 8x6: the reach is one pixel. CORNER's lowest row is 2, the bar of L_SHAPE begins at row 4, its post ends
    # at column 1: two empty pixels or one between them.
    assert degree("touching", CORNER, L_SHAPE) == 0.0
    lower = np.roll(CORNER, 1, axis=0)
    assert degree("touching", lower, L_SHAPE) == 1.0
    assert degree("touching", L_SHAPE, lower) == 1.0


def test_on_needs_contact_along_the_lower_outline() -> None:
    table = draw(
        """
        ........
        ........
        ........
        ........
        ########
        #......#
        """
    )
    cup = draw(
        """
        ........
        ........
        ..####..
        ..####..
        ........
        ........
        """
    )
    assert degree("on", cup, table) == 1.0
    assert degree("supporting", table, cup) == 1.0
    # One column in four rests: 2 * 0.25.
    legged = cup.copy()
    legged[3, 3:] = False
    legged[2, 2:6] = True
    assert degree("on", legged, np.roll(table, 0)) == 0.5
    # The same boxes, with the table's top away from under the cup: only the lowest row of the cup is beside the frame.
    frame = draw(
        """
        ........
        ........
        ........
        #......#
        #......#
        ########
        """
    )
    assert degree("on", np.roll(cup, -1, axis=0) | cup, frame) == 0.0


TABLE = draw(
    """
    ........
    ########
    #......#
    #......#
    #......#
    ........
    """
)
BALL = draw(
    """
    ........
    ........
    ........
    ..##....
    ..##....
    ........
    """
)


def test_under_a_table_is_what_its_top_spans_with_room_beneath() -> None:
    assert degree("under", BALL, TABLE) == 1.0
    assert degree("above", TABLE, BALL) == 1.0
    assert degree("over", BALL, TABLE) == 0.0
    # One of three columns is that of a leg, which reaches below the ball.
    aside = np.zeros_like(BALL)
    aside[2:4, 5:] = True
    assert degree("under", aside, TABLE) == pytest.approx(2 / 3)
    # A ring reaches below its core: the core is inside, not under.
    assert degree("under", CORE, RING) == 0.0


def test_what_hangs_below_may_be_on_it_where_the_masks_meet() -> None:
    # A wheel on a car and a ball that touches a table's top from below look alike.
    assert degree("on", BALL, TABLE) == 0.0
    high = np.roll(BALL, -1, axis=0)
    assert degree("touching", high, TABLE) == 1.0
    assert degree("on", high, TABLE) == pytest.approx(0.3)


CAR = draw(
    """
    ..####..
    ########
    ########
    ##..##..
    ........
    """
)
WHEEL = draw(
    """
    ........
    ........
    ........
    ..##....
    ........
    """
)


def test_masks_without_common_pixels_do_not_contradict_a_part_at_the_edge() -> None:
    # The car's mask leaves the wheel out, and nothing of the car is below it.
    assert degree("inside", WHEEL, CAR) < 0.1
    assert degree("part of", WHEEL, CAR) == pytest.approx(0.3)
    assert degree("has part", CAR, WHEEL) == pytest.approx(0.3)
    # Overlapping boxes of masks that meet.
    assert degree("overlapping", WHEEL, CAR) == pytest.approx(0.3)
    assert degree("overlapping", CORNER, L_SHAPE) == 0.0


def test_one_region_without_a_mask_leaves_the_boxes() -> None:
    geometry = Geometry.of_regions([Region(mask=from_array(CORNER)), Region(box=(0, 0, 8, 6))])
    assert degrees(geometry, np.array([[0, 1]]), ["inside"])[0, 0] == 1.0


def test_an_empty_mask_is_no_geometry() -> None:
    assert np.isnan(measure("left of", from_array(np.zeros((4, 4), bool)), from_array(np.ones((4, 4), bool))))


_shapes = arrays.arrays(np.bool_, (9, 12)).filter(lambda array: array.any())


@given(_shapes, _shapes)
@settings(max_examples=60)
def test_inverses_and_mirrors_hold_with_masks(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> None:
    names = list(VOCABULARY)
    geometry = Geometry.of_regions([Region(mask=from_array(a), depth=1), Region(mask=from_array(b), depth=1.1)])
    mirror = Geometry.of_regions(
        [Region(mask=from_array(a[:, ::-1]), depth=1), Region(mask=from_array(b[:, ::-1]), depth=1.1)]
    )
    rows = degrees(geometry, np.array([[0, 1], [1, 0]]), names)
    mirrored = degrees(mirror, np.array([[0, 1]]), names)[0]
    swap = {"left of": "right of", "right of": "left of"}
    for column, name in enumerate(names):
        assert 0.0 <= rows[0, column] <= 1.0
        assert rows[0, column] == rows[1, names.index(VOCABULARY[name].inverse)]
        assert mirrored[names.index(swap.get(name, name))] == pytest.approx(rows[0, column], abs=1e-12)


@given(_shapes, _shapes, st.sampled_from([1, 2, 3]))
@settings(max_examples=60)
def test_contact_against_counting_pixels(a: NDArray[np.bool_], b: NDArray[np.bool_], pad: int) -> None:
    """Frames here are far below 150 pixels, so the reach is one pixel; counted with loops as an oracle."""
    a, b = np.pad(a, pad), np.pad(b, pad)
    near = any(b[y0 - 1 : y0 + 2, x0 - 1 : x0 + 2].any() for y0, x0 in zip(*np.nonzero(a), strict=True))
    touching = degree("touching", a, b)
    assert (touching == 1.0) == near
    spans = np.zeros_like(b)
    for y in range(b.shape[0]):
        for x in range(b.shape[1]):
            row, column = b[y], b[:, x]
            spans[y, x] = row[: x + 1].any() and row[x:].any() and column[: y + 1].any() and column[y:].any()
    cover = (a & spans).sum() / a.sum()
    ratio = a.sum() / spans.sum()
    within = cover * min(1.0, max(0.0, 2 * (1 - ratio)))
    columns = [x for x in range(b.shape[1]) if b[:, x].any()]
    roofs = [
        a[:, x].any() and a[:, x].argmax() < b[:, x].argmax() and a[::-1, x].argmax() >= b[::-1, x].argmax()
        for x in columns
    ]
    roof = sum(roofs) / len(columns) if near else None
    if roof is not None:
        assert degree("above", a, b) >= roof - 1e-12
    assert degree("inside", a, b) == pytest.approx(max(within, 0.3 * degree("on", a, b)))
