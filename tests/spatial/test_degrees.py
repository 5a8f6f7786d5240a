from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge import Region, Relation, SceneGraph
from sgforge.spatial import VOCABULARY, Geometry, are_contradictory, degree_of, degrees

NAMES = list(VOCABULARY)
Box = tuple[float, float, float, float]


def degree(predicate: str, a: Box, b: Box, depth: tuple[float, float] | None = None) -> float:
    return float(degrees(Geometry.from_boxes([a, b], depth), np.array([[0, 1]]), [predicate])[0, 0])


@pytest.mark.parametrize(
    ("predicate", "a", "b", "expected"),
    [
        # Apart along x at one height: fully left of.
        ("left of", (0, 0, 10, 10), (20, 0, 30, 10), 1.0),
        ("right of", (0, 0, 10, 10), (20, 0, 30, 10), 0.0),
        # Half of the width shifted.
        ("left of", (0, 0, 10, 10), (5, 0, 15, 10), 0.5),
        ("left of", (0, 0, 10, 10), (2, 0, 30, 10), 0.2),
        # One spans the other and holds it: neither side.
        ("left of", (5, 0, 15, 10), (0, 0, 30, 10), 0.0),
        ("left of", (0, 0, 30, 10), (2, 0, 12, 10), 0.0),
        # A chair below the left end of a table's box: the middles are 15 apart, half of the width is 20, the vertical
        # gap is 0: 0.3 * 0.75.
        ("left of", (0, 20, 10, 40), (0, 0, 40, 20), 0.225),
        ("right of", (0, 20, 10, 40), (0, 0, 40, 20), 0.0),
        # dx = 30, vertical gap = 30: half by direction.
        ("left of", (0, 0, 10, 10), (30, 40, 40, 50), 0.5),
        ("above", (0, 0, 10, 10), (0, 20, 10, 30), 1.0),
        ("below", (0, 20, 10, 30), (0, 0, 10, 10), 1.0),
        # dy = 40, horizontal gap = 20: 1600 / (1600 + 400).
        ("above", (0, 0, 10, 10), (30, 40, 40, 50), 0.8),
        ("over", (0, 0, 10, 10), (5, 20, 15, 30), 0.5),
        ("over", (0, 0, 10, 10), (10, 20, 15, 30), 0.0),
        ("under", (5, 20, 15, 30), (0, 0, 10, 10), 0.5),
        # A ball in the lower part of a table's box, its foot 15 of 60 above the table's: 0.3 * (1 - 2 * 0.25).
        ("under", (10, 25, 20, 45), (0, 0, 40, 60), 0.15),
        ("above", (0, 0, 40, 60), (10, 25, 20, 45), 0.15),
        ("over", (10, 35, 20, 55), (0, 0, 40, 60), 0.3),  # as a spot on a wall would be
        ("above", (10, 35, 20, 55), (0, 0, 40, 60), 0.0),
        # In the upper part: nothing spans it from above.
        ("under", (10, 5, 20, 25), (0, 0, 40, 60), 0.0),
        # A cup whose lower edge is within the table's height.
        ("on", (40, 0, 50, 20), (0, 15, 100, 60), 1.0),
        # The cup hangs 2 above the table, the lower of the two is 20 high: sink 0.1 of at most 0.25.
        ("on", (40, 0, 50, 20), (0, 22, 100, 62), 0.6),
        ("on", (40, 0, 50, 20), (0, 25, 100, 65), 0.0),
        ("on", (95, 0, 105, 20), (0, 15, 100, 60), 0.5),
        ("on", (0, 15, 100, 60), (40, 0, 50, 20), 0.0),
        ("supporting", (0, 15, 100, 60), (40, 0, 50, 20), 1.0),
        # A spot in the middle of a wall is on it; a rider (taller) is on the skateboard at his feet, not the reverse.
        ("on", (40, 40, 50, 50), (0, 0, 100, 100), 1.0),
        ("on", (0, 0, 30, 100), (0, 90, 30, 110), 1.0),
        ("on", (0, 90, 30, 110), (0, 0, 30, 100), 0.0),
        # A small thing whose foot is at the foot of a tall one: a ball before a crate, or a shoe on a man.
        ("on", (70, 80, 90, 140), (60, 50, 100, 140), 0.3),
        # Feet 4 below skis 5 high, sizes 2000 and 500: half of the size is 15.8, 4 / 15.8 of at most a quarter.
        ("on", (40, 0, 60, 100), (0, 91, 100, 96), 0.0),
        ("on", (40, 0, 60, 100), (0, 93, 100, 98), 1 - 4 * 2 / (0.5 * 1_000_000**0.25)),
        ("on", (0, 0, 10, 10), (0, 0, 10, 10), 0.0),
        ("inside", (10, 10, 20, 20), (0, 0, 30, 30), 1.0),
        ("inside", (10, 10, 20, 20), (15, 0, 45, 30), 0.5),
        ("inside", (0, 0, 30, 30), (0, 0, 30, 30), 0.0),
        # Three quarters of the area: 2 * (1 - 0.75).
        ("inside", (0, 0, 30, 10), (0, 0, 40, 10), 0.5),
        # An apple that shows above the rim of its bowl stands on it, by boxes: 0.3.
        ("inside", (10, 0, 20, 11), (0, 10, 30, 30), 0.3),
        ("contains", (0, 0, 30, 30), (10, 10, 20, 20), 1.0),
        ("part of", (10, 10, 20, 20), (0, 0, 30, 30), 1.0),
        # Both 10 x 10: size 10; the gap is 4.
        ("near", (0, 0, 10, 10), (14, 0, 24, 10), 0.6),
        ("next to", (0, 0, 10, 10), (14, 5, 24, 15), 0.6),
        # A little farther on one ground: apart in both directions. Gap hypot(3, 4) over size 10; 13² / (13² + 4²).
        ("next to", (0, 14, 10, 24), (13, 0, 23, 10), 0.5 * 169 / 185),
        # Half aside of a thing above it: overlap_x 0.5, dx 5, gap 4.
        ("next to", (0, 0, 10, 10), (5, 14, 15, 24), 0.6 * 0.5 * 25 / 41),
        ("next to", (0, 0, 10, 10), (0, 14, 10, 24), 0.0),
        ("next to", (0, 0, 10, 10), (5, 0, 15, 10), 0.5),
        ("near", (0, 0, 10, 10), (13, 14, 23, 24), 0.5),
        ("far from", (0, 0, 10, 10), (30, 0, 40, 10), 0.5),
        ("far from", (0, 0, 10, 10), (20, 0, 30, 10), 0.0),
        ("far from", (0, 0, 10, 10), (40, 0, 50, 10), 1.0),
        ("touching", (0, 0, 10, 10), (10, 0, 20, 10), 1.0),
        ("touching", (0, 0, 10, 10), (10.5, 0, 20.5, 10), 0.5),
        ("touching", (0, 0, 10, 10), (11, 0, 21, 10), 0.0),
        ("overlapping", (0, 0, 10, 10), (5, 0, 25, 10), 0.5),
        ("overlapping", (0, 0, 10, 10), (10, 0, 20, 10), 0.0),
    ],
)
def test_degrees_by_hand(predicate: str, a: Box, b: Box, expected: float) -> None:
    assert degree(predicate, a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("predicate", "depth", "expected"),
    [
        ("in front of", (1.0, 2.0), 1.0),
        ("in front of", (2.0, 1.0), 0.0),
        ("in front of", (9.0, 10.0), 0.13 / 0.23),
        ("behind", (10.0, 9.0), 0.13 / 0.23),
        # Level: neither is told, neither is contradicted; 3 % the other way round contradicts.
        ("behind", (0.0, 0.0), 0.03 / 0.23),
        ("in front of", (100.0, 97.0), 0.0),
        # Depths below 0, as some models give them: larger is farther all the same.
        ("in front of", (-5.0, -3.0), 1.0),
        ("in front of", (-3.0, -5.0), 0.0),
    ],
)
def test_depth_tells_front_from_behind(predicate: str, depth: tuple[float, float], expected: float) -> None:
    assert degree(predicate, (0, 0, 10, 10), (5, 0, 15, 10), depth) == pytest.approx(expected, abs=1e-12)


def test_what_surrounds_a_nearer_thing_may_be_behind_it() -> None:
    inner, outer = (10, 10, 20, 20), (0, 0, 30, 30)
    assert degree("inside", inner, outer, (2.0, 2.0)) == 1.0
    assert degree("inside", inner, outer, (3.0, 2.0)) == 1.0
    # 10 % nearer of 20 %: half of the way from 1 to 0.3. On is 1 here: never less than 0.3.
    assert degree("inside", inner, outer, (1.8, 2.0)) == pytest.approx(0.65)
    assert degree("inside", inner, outer, (1.0, 2.0)) == pytest.approx(0.3)
    assert degree("part of", inner, outer, (1.0, 2.0)) == 1.0


def test_front_needs_nearness_in_the_picture() -> None:
    # Gap 4 over size 10.
    assert degree("in front of", (0, 0, 10, 10), (14, 0, 24, 10), (1.0, 2.0)) == pytest.approx(0.6)


@pytest.mark.parametrize("depth", [None, (1.0, float("nan")), (float("nan"), 1.0)])
def test_without_both_depths_front_and_behind_cannot_be_told(depth: tuple[float, float] | None) -> None:
    assert np.isnan(degree("in front of", (0, 0, 10, 10), (5, 0, 15, 10), depth))
    assert not np.isnan(degree("left of", (0, 0, 10, 10), (5, 0, 15, 10), depth))


def test_without_a_box_nothing_can_be_told() -> None:
    geometry = Geometry.of_regions([Region(label="a", box=(0, 0, 1, 1), depth=1.0), Region(label="b", depth=2.0)])
    assert np.isnan(degrees(geometry, np.array([[0, 1], [1, 0]]), NAMES)).all()


def test_a_parent_makes_its_descendants_parts() -> None:
    boxes = [(0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (40.0, 0.0, 50.0, 10.0), (60.0, 0.0, 70.0, 10.0)]
    parents = [None, 0, 1, None]
    geometry = Geometry.of_regions(Region(box=box, parent=p) for box, p in zip(boxes, parents, strict=True))
    pairs = np.array([[2, 0], [2, 1], [0, 2], [3, 0]])
    assert degrees(geometry, pairs, ["part of"])[:, 0].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert degrees(geometry, pairs, ["has part"])[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_a_loop_of_parents_ends() -> None:
    geometry = Geometry.of_regions([Region(box=(0, 0, 1, 1), parent=1), Region(box=(5, 5, 6, 6), parent=0)])
    assert degrees(geometry, np.array([[0, 1]]), ["part of"])[0, 0] == 1.0


def test_degree_of_a_relation() -> None:
    graph = SceneGraph(100, 100, [Region(box=(0, 0, 10, 10)), Region(box=(20, 0, 30, 10)), Region(label="no box")])
    assert degree_of(graph, Relation(0, "is to the left of", 1)) == 1.0
    assert degree_of(graph, Relation(0, "holding", 1)) is None
    assert degree_of(graph, Relation(0, "behind", 1)) is None
    assert degree_of(graph, Relation(0, "left of", 2)) is None


def test_shapes_of_empty_questions() -> None:
    geometry = Geometry.from_boxes([])
    assert degrees(geometry, np.empty((0, 2), int), NAMES).shape == (0, len(NAMES))
    assert degrees(Geometry.from_boxes([(0, 0, 1, 1)]), np.empty((0, 2), int), []).shape == (0, 0)


def test_an_unknown_predicate_is_an_error() -> None:
    with pytest.raises(ValueError, match="'holding' is no spatial predicate"):
        degrees(Geometry.from_boxes([]), np.empty((0, 2), int), ["holding"])


# Coordinates on a grid of quarters, so that shifting and scaling by powers of two are exact in floating point.
_corner = st.integers(-400, 400).map(lambda n: n / 4)
_side = st.integers(1, 400).map(lambda n: n / 4)
_boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), _corner, _corner, _side, _side)
_depths = st.tuples(st.floats(0, 100), st.floats(0, 100))


def table(a: Box, b: Box, depth: tuple[float, float] = (1.0, 2.0)) -> dict[str, float]:
    row = degrees(Geometry.from_boxes([a, b], depth), np.array([[0, 1]]), NAMES)[0]
    return dict(zip(NAMES, row.tolist(), strict=True))


@given(_boxes, _boxes, _depths)
def test_degrees_lie_in_the_unit_interval_and_obey_inverses(a: Box, b: Box, depth: tuple[float, float]) -> None:
    forward, backward = table(a, b, depth), table(b, a, depth[::-1])
    for name, predicate in VOCABULARY.items():
        assert 0.0 <= forward[name] <= 1.0
        assert forward[name] == backward[predicate.inverse]


@given(_boxes, _boxes, _corner, _corner, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_shifting_and_scaling_change_nothing(a: Box, b: Box, x: float, y: float, scale: float) -> None:
    def moved(box: Box) -> Box:
        return ((box[0] + x) * scale, (box[1] + y) * scale, (box[2] + x) * scale, (box[3] + y) * scale)

    before, after = table(a, b, (1.0, 1.1)), table(moved(a), moved(b), (scale, scale * 1.1))
    for name in NAMES:
        assert after[name] == pytest.approx(before[name], abs=1e-9)


@given(_boxes, _boxes, _depths)
def test_a_synonym_has_the_degree_of_its_name(a: Box, b: Box, depth: tuple[float, float]) -> None:
    held = table(a, b, depth)
    texts = [text for predicate in VOCABULARY.values() for text in predicate.synonyms]
    row = degrees(Geometry.from_boxes([a, b], depth), np.array([[0, 1]]), texts)[0]
    names = [predicate.name for predicate in VOCABULARY.values() for _ in predicate.synonyms]
    assert row.tolist() == [held[name] for name in names]


@given(_boxes, _boxes, _side)
def test_raising_a_thing_never_makes_it_more_under_another(a: Box, b: Box, by: float) -> None:
    raised = (a[0], a[1] - by, a[2], a[3] - by)
    for name in ("below", "under"):
        assert degree(name, raised, b) <= degree(name, a, b) + 1e-12


@given(_boxes, _boxes)
def test_a_mirror_swaps_left_and_right_and_nothing_else(a: Box, b: Box) -> None:
    def mirrored(box: Box) -> Box:
        return (-box[2], box[1], -box[0], box[3])

    before, after = table(a, b), table(mirrored(a), mirrored(b))
    swap = {"left of": "right of", "right of": "left of"}
    for name in NAMES:
        assert after[swap.get(name, name)] == pytest.approx(before[name], abs=1e-12)


@given(_boxes, _boxes, _side)
def test_moving_the_object_away_never_lowers_a_direction_nor_raises_nearness(a: Box, b: Box, by: float) -> None:
    right = (b[0] + by, b[1], b[2] + by, b[3])
    assert degree("left of", a, right) >= degree("left of", a, b) - 1e-12
    down = (b[0], b[1] + by, b[2], b[3] + by)
    assert degree("above", a, down) >= degree("above", a, b) - 1e-12
    assert degree("over", a, down) >= degree("over", a, b) - 1e-12
    if b[0] >= a[2]:
        assert degree("near", a, right) <= degree("near", a, b) + 1e-12
        assert degree("touching", a, right) <= degree("touching", a, b) + 1e-12
        assert degree("far from", a, right) >= degree("far from", a, b) - 1e-12


@given(_boxes, _boxes, _depths)
def test_predicates_that_exclude_each_other_never_both_hold_firmly(a: Box, b: Box, depth: tuple[float, float]) -> None:
    held = [name for name, value in table(a, b, depth).items() if value > 0.9]
    assert not [(one, other) for one in held for other in held if are_contradictory(one, other)]


@given(st.lists(_boxes, min_size=2, max_size=6))
def test_many_pairs_at_once_equal_one_at_a_time(boxes: list[Box]) -> None:
    geometry = Geometry.from_boxes(boxes, [float(i) for i in range(len(boxes))])
    pairs = np.array([(i, j) for i in range(len(boxes)) for j in range(len(boxes)) if i != j])
    together = degrees(geometry, pairs, NAMES)
    for row, pair in enumerate(pairs):
        assert np.array_equal(together[row], degrees(geometry, pair[None], NAMES)[0])
