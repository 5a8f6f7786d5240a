"""Structures: all of them, counted, drawn as the prior says, within bounds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from gas import brute
from hypothesis import assume, given
from hypothesis import strategies as st

from sgforge.cli.main import main
from sgforge.errors import ConfigError
from sgforge_gas.structures import Constraints, Drawer, Prior, Span, Structure, table
from sgforge_gas.structures.cores import Kind
from sgforge_gas.structures.dice import dice_of

FIXTURE = json.loads((Path(__file__).parents[1] / "data/gas/structures.json").read_text())
TRUE_COUNTS = {3: 4, 4: 8, 5: 17, 6: 37, 7: 83, 8: 193, 9: 469, 10: 1171, 11: 3047, 12: 8182, 13: 22760}
CONNECTED = {3: 2, 4: 3, 5: 7, 6: 13, 7: 31, 8: 70, 9: 179, 10: 454, 11: 1243, 12: 3461, 13: 10083}


@pytest.mark.parametrize("complexity", TRUE_COUNTS)
def test_counts_are_the_known_ones(complexity: int) -> None:
    block = table().block(complexity)
    assert len(block) == TRUE_COUNTS[complexity]
    assert (block.components == 1).sum() == CONNECTED[complexity]


@pytest.mark.parametrize("row", FIXTURE["rows"], ids=lambda row: "{complexity}-{objects}-{relations}".format(**row))
def test_each_size_is_split_as_the_fixture_says(row: dict) -> None:
    size = row["objects"], row["relations"], row["attributes"]
    found = [one for one in table().structures(row["complexity"]) if one.size == size]
    assert len(found) == row["noniso"]
    assert Counter(str(one.components) for one in found) == row["noniso_by_components"]
    assert Counter(str(one.max_degree) for one in found) == row["noniso_by_max_degree"]


@pytest.mark.parametrize(
    ("complexity", "cycles", "parallel"),
    [(6, False, False), (7, False, False), (6, True, False), (6, False, True), (6, True, True)],
)
def test_they_are_those_of_brute_force(complexity: int, cycles: bool, parallel: bool) -> None:
    found = [
        brute.canonical((one.attributes, one.edges)) for one in table(Kind(cycles, parallel)).structures(complexity)
    ]
    assert len(found) == len(set(found))
    assert set(found) == brute.structures(complexity, cycles=cycles, parallel=parallel)


def test_a_row_is_the_structure_of_the_listing_and_is_measured_right() -> None:
    for complexity in range(1, 9):
        block = table().block(complexity)
        for row, one in enumerate(table().structures(complexity)):
            assert one == table().structure(complexity, row)
            assert one.size == tuple(block.sizes[row])
            assert (one.components, one.max_degree) == (block.components[row], block.max_degree[row])
            assert one.is_acyclic
            assert not one.has_parallel


def test_draws_are_uniform_over_structures() -> None:
    drawer = Drawer(Constraints(complexity=Span(6, 6)), prior=Prior("structures"))
    found = Counter(drawer.draw(dice) for dice in dice_of(1, range(37_000)))
    assert len(found) == 37
    # Chi squared of 36 degrees of freedom: above 80 in less than one of 30,000 cases, and the seed is fixed.
    assert sum((count - 1000) ** 2 / 1000 for count in found.values()) < 80


@pytest.mark.parametrize(
    ("prior", "share"),
    [
        # Complexity 3 has 4 structures, complexity 4 has 8; sizes with one object have 1 structure each.
        (Prior("structures"), 4 / 12),
        (Prior("complexity"), 1 / 2),
        (Prior("histogram", {(1, 0, 2): 1.0, (2, 1, 1): 3.0, (99, 0, 0): 5.0}), 1 / 4),
    ],
)
def test_the_prior_says_what_is_equally_likely(prior: Prior, share: float) -> None:
    drawer = Drawer(Constraints(complexity=Span(3, 4)), prior=prior)
    found = Counter(drawer.draw(dice).complexity for dice in dice_of(0, range(20_000)))
    assert abs(found[3] / 20_000 - share) < 0.02


def test_the_prior_over_sizes_gives_each_size_the_same() -> None:
    drawer = Drawer(Constraints(complexity=Span(5, 5)), prior=Prior("sizes"))
    found = Counter(drawer.draw(dice).size for dice in dice_of(0, range(20_000)))
    expected = {tuple(row[name] for name in ("objects", "relations", "attributes")) for row in FIXTURE["rows"]
                if row["complexity"] == 5}  # fmt: skip
    assert set(found) == expected
    assert all(abs(count * len(expected) / 20_000 - 1) < 0.1 for count in found.values())


def test_an_item_is_the_same_in_any_range() -> None:
    whole = [[dice.unit() for _ in range(70)] for dice in dice_of(5, range(100))]
    parts = [[dice.unit() for _ in range(70)] for part in (range(40), range(40, 100)) for dice in dice_of(5, part)]
    assert whole == parts
    assert len({tuple(row) for row in whole}) == 100
    assert whole[0] != [dice.unit() for dice in dice_of(6, range(1))]


def test_random_numbers_fill_the_unit_evenly() -> None:
    found = Counter(dice.below(16) for dice in dice_of(9, range(2000)) for _ in range(64))
    expected = 2000 * 64 / 16
    assert sum((count - expected) ** 2 / expected for count in found.values()) < 45  # 15 degrees of freedom


spans = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda ends: Span(min(ends), max(ends)))


@given(
    complexity=st.integers(1, 8),
    components=st.none() | spans,
    relations=st.none() | spans,
    max_degree=st.none() | st.integers(0, 4),
    cycles=st.booleans(),
)
def test_bounds_are_kept_or_refused_as_the_listing_says(complexity, components, relations, max_degree, cycles) -> None:
    assume(complexity < 7 or not cycles)
    kind = Kind(cycles)
    bounds = Constraints(
        complexity=Span(complexity, complexity), components=components, relations=relations, max_degree=max_degree
    )
    fitting = {
        one
        for one in table(kind).structures(complexity)
        if (components is None or one.components in components)
        and (relations is None or one.size[1] in relations)
        and (max_degree is None or one.max_degree <= max_degree)
    }
    if not fitting:
        with pytest.raises(ConfigError):
            Drawer(bounds, kind)
        return
    drawer = Drawer(bounds, kind, Prior("structures"))
    assert {drawer.draw(dice) for dice in dice_of(0, range(30))} <= fitting


@given(
    objects=st.integers(2, 40),
    density=st.floats(0, 1),
    attributes=st.integers(0, 60),
    parts=st.none() | st.integers(1, 6),
    cycles=st.booleans(),
    seed=st.integers(0, 99),
)
def test_large_structures_keep_all_bounds(objects, density, attributes, parts, cycles, seed) -> None:
    assume(parts is None or parts <= objects)
    left = objects - (parts or 1) + 1
    least = 0 if parts is None else objects - parts
    most = left * (left - 1) // (1 if cycles else 2)
    relations = least + int(density * (most - least))
    assume(objects + relations + attributes > 16)
    bounds = Constraints(
        objects=Span(objects, objects),
        relations=Span(relations, relations),
        attributes=Span(attributes, attributes),
        components=None if parts is None else Span(parts, parts),
    )
    one = Drawer(bounds, Kind(cycles), Prior("sizes")).draw(next(iter(dice_of(seed, range(1)))))
    assert one.size == (objects, relations, attributes)
    assert parts is None or one.components == parts
    assert cycles or one.is_acyclic
    assert not one.has_parallel


def test_a_hundred_objects_with_a_cap_on_degree() -> None:
    bounds = Constraints(
        objects=Span(100, 100),
        relations=Span(120, 150),
        attributes=Span(0, 40),
        components=Span(3, 5),
        max_degree=4,
        average_degree=Span(2.5, 3.0),
    )
    drawer = Drawer(bounds, prior=Prior("sizes"))
    for dice in dice_of(0, range(20)):
        one = drawer.draw(dice)
        assert len(one.attributes) == 100
        assert one.max_degree <= 4
        assert 3 <= one.components <= 5
        assert 2.5 <= one.average_degree <= 3.0


@pytest.mark.parametrize(
    ("bounds", "names"),
    [
        ({"complexity": Span(3, 3), "components": Span(5, 5)}, "components 5"),
        ({"complexity": Span(7, 7), "relations": Span(2, 3), "max_degree": 0}, "max_degree 0"),
        ({"objects": Span(4, 4), "relations": Span(7, 7), "attributes": Span(0, 0)}, "relations 7"),
        ({"complexity": Span(7, 7), "average_degree": Span(9, 9)}, "average_degree 9"),
        ({"objects": Span(5, 5), "relations": Span(0, 0)}, "attributes have no bound"),
    ],
)
def test_what_cannot_be_is_named_before_anything_is_drawn(bounds: dict, names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        Drawer(Constraints(**bounds))


def test_the_prior_over_structures_needs_a_table() -> None:
    with pytest.raises(ConfigError, match="bound complexity to 16"):
        Drawer(Constraints(complexity=Span(20, 20)), prior=Prior("structures"))


def test_measures_by_hand() -> None:
    one = Structure((2, 0, 1, 0), ((0, 1), (1, 2)))
    assert one.size == (4, 2, 3)
    assert (one.components, one.max_degree, one.average_degree, one.is_acyclic) == (2, 2, 1.0, True)
    loop = Structure((0, 0), ((0, 1), (1, 0), (1, 0)))
    assert (loop.is_acyclic, loop.has_parallel, loop.components) == (False, True, 1)


def test_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gas", "structures", "--complexity", "12", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["structures"] == 8182 == sum(row["structures"] for row in found["counts"])
    assert main(["gas", "structures", "--complexity", "7", "--components", "1", "--max-degree", "2"]) == 0
    expected = sum(one.components == 1 and one.max_degree <= 2 for one in table().structures(7))
    assert capsys.readouterr().out.startswith(f"{expected} structures of complexity 7")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--complexity", "30"], "from complexity 1 to 18"),
        (["--complexity", "4", "--components", "5"], "components 5"),
        (["--complexity", "x"], "no whole number"),
        (["--complexity", "5", "--objects", "4-2"], "lesser number"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(arguments, says, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gas", "structures", *arguments]) == 2
    assert says in capsys.readouterr().err
