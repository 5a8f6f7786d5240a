"""The values of a scene graph refuse what breaks their rules and show kept rows by index."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.errors import GraphError
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph, to_float32
from sgforge.graph.state import graph_state


def three_regions() -> tuple[Region, ...]:
    return (
        Region("man", (0, 0, 10, 20)),
        Region("cup", (4, 8, 6, 10)),
        Region("table", (0, 10, 30, 20)),
    )


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 5),
        (5, 0, 4, 5),
        (0, 5, 4, 5),
        (math.nan, 0, 1, 1),
        (0, 0, math.inf, 1),
        (0, 0, 1),
        ("a", 0, 1, 1),
        (0, 0, 1e39, 1),
    ],
)
def test_a_region_refuses_a_box_that_is_no_box(box: tuple[float, ...]) -> None:
    with pytest.raises(GraphError, match="box"):
        Region("x", box)  # type: ignore[arg-type]


def test_a_box_that_collapses_in_float32_is_refused() -> None:
    # 16777217 is the first integer float32 cannot hold: both ends round to 16777216.
    with pytest.raises(GraphError, match="x0 < x1"):
        Region("x", (16777216.0, 0, 16777217.0, 1))


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_float32_numbers_pass_unchanged(value: float) -> None:
    assert struct.pack("<f", to_float32(value)) == struct.pack("<f", value)


@given(st.floats(min_value=0, max_value=1))
def test_a_score_is_rounded_once_so_that_rebuilding_changes_nothing(score: float) -> None:
    region = Region(score=score)
    assert region.score == struct.unpack("<f", struct.pack("<f", score))[0]
    assert attrs.evolve(region) == region


@pytest.mark.parametrize("score", [-0.01, 1.01, math.nan, True, "0.5"])
def test_a_score_outside_the_unit_interval_is_refused(score: object) -> None:
    with pytest.raises(GraphError, match="score"):
        Relation(0, "on", 1, score=score)  # type: ignore[arg-type]


def test_a_relation_needs_two_different_regions_and_a_predicate() -> None:
    with pytest.raises(GraphError, match="itself"):
        Relation(1, "on", 1)
    with pytest.raises(GraphError, match="predicate"):
        Relation(0, "", 1)
    with pytest.raises(GraphError, match="category"):
        Relation(0, "on", 1, category="odd")  # type: ignore[arg-type]


def test_numbers_of_numpy_become_python_floats() -> None:
    region = Region("x", np.array([0, 0, 2, 2]), score=np.float32(0.1), depth=np.float64(0.1))
    assert region == Region("x", (0, 0, 2, 2), score=0.1, depth=0.1)
    assert {type(value) for value in (*(region.box or ()), region.score, region.depth)} == {float}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Region(depth="far"), "'far' is not a number"),
        (lambda: Region(degree=math.nan), "nan is not a finite float32"),
        (lambda: Region(level=1.5), "level 1.5 must be an int of 16 bits"),
        (lambda: Region(level=True), "level True must be an int of 16 bits"),
        (lambda: Region(level=2**15), "level 32768 must be an int of 16 bits"),
        (lambda: SceneGraph(9.5, 9), "image size 9.5, 9 must be two ints"),
        (lambda: SceneGraph(9, np.int64(9)), r"image size 9, np.int64\(9\) must be two ints"),
        (lambda: SceneGraph(2**31, 9), "is more than 2147483647 pixels on a side"),
        (
            lambda: SceneGraph(9, 9, three_regions(), [Relation(np.int64(0), "on", 1)]),
            r"subject of relation 0 np.int64\(0\) must be an int, not int64",
        ),
    ],
)
def test_a_value_of_another_kind_is_named_as_such(build: Callable[[], object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        build()


@pytest.mark.parametrize("index", [-1, 3])
def test_relations_and_parents_stay_in_range(index: int) -> None:
    with pytest.raises(GraphError, match=r"subject of relation 0 .* 3 regions"):
        SceneGraph(30, 20, three_regions(), [Relation(index, "on", 2)])
    with pytest.raises(GraphError, match="parent of region 3"):
        SceneGraph(30, 20, [*three_regions(), Region("hand", parent=index if index != 3 else 4)])


def test_kept_rows_keep_their_index_and_hide_relations_of_rejected_regions() -> None:
    man, cup, table = three_regions()
    graph = SceneGraph(
        30,
        20,
        [man, attrs.evolve(cup, status="rejected", reason="tiny"), table],
        [Relation(0, "holding", 1), Relation(1, "on", 2), Relation(0, "behind", 2), Relation(2, "near", 0)],
    )
    assert list(graph.regions) == [0, 2]
    assert list(graph.relations) == [2, 3]
    assert len(graph.all.relations) == 4
    assert list(graph.triplets()) == [("man", "behind", "table"), ("table", "near", "man")]


def test_geometry_refuses_a_region_without_one_by_name() -> None:
    graph = SceneGraph(0, 0, [Region("idea")])
    with pytest.raises(GraphError, match=r"region 0 \(idea\)"):
        graph.box_of(0)


def test_the_box_of_a_mask_stands_in_for_a_missing_box() -> None:
    mask = Mask(20, 30, 4, 5, 2, 3, b"06")
    graph = SceneGraph(30, 20, [Region("cup", mask=mask)])
    assert graph.box_of(0) == (4, 5, 6, 8)


def test_a_mask_must_fit_its_frame_and_its_image() -> None:
    with pytest.raises(GraphError, match="leaves its frame"):
        Mask(20, 30, 29, 0, 2, 1, b"02")
    with pytest.raises(GraphError, match="mask of region 0 is 30x20, the image 31x20"):
        SceneGraph(31, 20, [Region(mask=Mask(20, 30, 0, 0, 1, 1, b"01"))])


def test_texts_are_lists_of_texts() -> None:
    with pytest.raises(GraphError, match="single text"):
        Region(descriptions="a red cup")
    with pytest.raises(GraphError, match="expected texts"):
        Region(attributes=["red", 3])  # type: ignore[list-item]


def test_size_is_both_or_neither_and_ids_are_texts() -> None:
    with pytest.raises(GraphError, match="image size"):
        SceneGraph(10, 0)
    with pytest.raises(GraphError, match="image id"):
        Sample("")


def test_a_graph_is_shown_in_one_line() -> None:
    regions = [Region("a"), Region("b", status="rejected"), Region("c")]
    relations = [Relation(0, "near", 1), Relation(0, "near", 2)]
    assert repr(SceneGraph(8, 6, regions, relations)) == "<SceneGraph 8x6: 2 regions, 1 relation, 2 rows not kept>"
    assert repr(SceneGraph()) == "<SceneGraph no image: 0 regions, 0 relations>"


def test_the_state_of_a_sample_is_of_its_rows_and_not_of_its_lineage() -> None:
    cup = Region("cup", (1, 1, 5, 5))
    sample = Sample("a", SceneGraph(9, 9, [cup]))
    renamed = Sample("b", SceneGraph(9, 9, [attrs.evolve(cup, made_by="sam", score=0.5)]), split="val")
    assert sample.state == renamed.state == graph_state(sample.graph)
    assert len(sample.state) == 32
    assert sample.state != Sample("a", SceneGraph(9, 9, [attrs.evolve(cup, status="rejected")])).state
