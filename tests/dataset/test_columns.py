"""GraphColumns: exact round trips, gather and concat against lists, the column-wise check against the values' own."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from dataset.given import FEW, by_id, sample_lists
from hypothesis import given
from hypothesis import strategies as st

from sgforge.columns import GraphColumns, Ragged, Vocabularies
from sgforge.errors import GraphError
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph


@FEW
@given(sample_lists())
def test_samples_come_back_exactly(given_samples):
    columns = GraphColumns.from_samples(given_samples)
    assert list(columns.samples()) == given_samples
    assert columns.faults() == []


@FEW
@given(sample_lists(min_size=3))
def test_samples_made_some_at_a_time_are_those_made_one_by_one(given_samples):
    columns = GraphColumns.from_samples(given_samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sgforge.columns.graphs._AT_ONCE", 2)
        assert list(columns.samples()) == [columns.sample(row) for row in range(len(columns))] == given_samples
    assert [columns.graph(row) for row in range(len(columns))] == [sample.graph for sample in given_samples]


@FEW
@given(sample_lists(min_size=1), st.data())
def test_gather_is_list_indexing(given_samples, data):
    rows = data.draw(st.lists(st.integers(0, len(given_samples) - 1), max_size=6))
    gathered = GraphColumns.from_samples(given_samples).gather(rows)
    assert list(gathered.samples()) == [given_samples[row] for row in rows]


@FEW
@given(sample_lists(), sample_lists(), sample_lists())
def test_concat_is_list_addition(first, second, third):
    parts = [GraphColumns.from_samples(part) for part in (first, second, third)]
    assert list(GraphColumns.concat(parts).samples()) == first + second + third


@FEW
@given(sample_lists())
def test_sorted_and_compact_keep_every_sample_and_nothing_else(given_samples):
    columns = GraphColumns.from_samples(given_samples)
    padded = columns.over(
        Vocabularies(**{name: ("unused", *columns.vocabularies.of(name)) for name in Vocabularies.names()})
    )
    canonical = padded.sorted_by_id().compact()
    assert list(canonical.samples()) == by_id(given_samples)
    for name in Vocabularies.names():
        texts = canonical.vocabularies.of(name)
        assert list(texts) == sorted(set(texts), key=str.encode)
        assert texts == GraphColumns.from_samples(by_id(given_samples)).compact().vocabularies.of(name)


def test_ids_sort_by_utf8_bytes_not_by_utf16():
    # U+FF61 sorts after U+10000 in UTF-16 code units and before it in UTF-8 bytes.
    columns = GraphColumns.from_samples([Sample("\U00010000"), Sample("｡"), Sample("b"), Sample("B")])
    assert columns.sorted_by_id().image.ids == ["B", "b", "｡", "\U00010000"]


def test_a_repeated_id_is_refused():
    with pytest.raises(GraphError, match="'a' occurs twice"):
        GraphColumns.from_samples([Sample("a"), Sample("b"), Sample("a")]).sorted_by_id()


def test_half_a_surrogate_is_refused_before_it_reaches_a_file():
    with pytest.raises(GraphError, match="valid Unicode"):
        GraphColumns.from_samples([Sample("a", SceneGraph(regions=[Region("\ud800")]))])


def _columns() -> GraphColumns:
    mask = Mask(10, 20, 2, 3, 4, 5, b"abc")
    rows = [Region("man", (1, 2, 6, 8), mask, score=0.5), Region("hat", (1, 1, 3, 3), parent=0)]
    graph = SceneGraph(20, 10, rows, [Relation(0, "wearing", 1, score=0.5), Relation(1, "on", 0)])
    return GraphColumns.from_samples([Sample("a"), Sample("b", graph)])


def _with(columns: GraphColumns, table: str, name: str, row: int, value: object) -> GraphColumns:
    part = getattr(columns, table)
    changed = getattr(part, name).copy()
    changed[row] = value
    return attrs.evolve(columns, **{table: attrs.evolve(part, **{name: changed})})


@pytest.mark.parametrize(
    ("table", "name", "row", "value", "where", "message"),
    [
        ("region", "box", 1, [3, 1, 1, 3], "regions[1].box", "x0 < x1"),
        ("region", "box", 1, [np.nan, 1, 1, 3], "regions[1].box", "finite"),
        ("region", "box", 0, [0, 0, np.inf, 3], "regions[0].box", "finite"),
        ("region", "score", 0, 1.5, "regions[0].score", "[0, 1]"),
        ("region", "depth", 1, np.inf, "regions[1].depth", "finite"),
        ("region", "parent", 1, 2, "regions[1].parent", "has 2"),
        ("region", "parent", 1, 1, "regions[1].parent", "another region"),
        ("region", "status", 0, 2, "regions[0].status", "kept or rejected"),
        ("region", "mask_crop", 0, [18, 3, 4, 5], "regions[0].mask", "leaves its frame"),
        ("region", "mask_crop", 0, [-1, 3, 4, 5], "regions[0].mask", "leaves its frame"),
        ("region", "mask_frame", 0, [11, 20], "regions[0].mask", "the image 20x10"),
        ("region", "has_mask", 0, 0, "regions[0].mask", "without a mask"),
        ("region", "label", 0, 9, "regions[0].label", "vocabulary of 2"),
        ("relation", "object", 0, 2, "relations[0].object", "out of range: the graph has 2 regions"),
        ("relation", "subject", 1, -1, "relations[1].subject", "out of range"),
        ("relation", "object", 0, 0, "relations[0].object", "itself"),
        ("relation", "predicate", 1, -1, "relations[1].predicate", "non-empty"),
        ("relation", "category", 0, 6, "relations[0].category", "one of unknown"),
        ("relation", "score", 0, -0.1, "relations[0].score", "[0, 1]"),
        ("image", "width", 1, 0, "width, height", "must be positive"),
    ],
)
def test_the_check_locates_what_the_values_refuse(table, name, row, value, where, message):
    columns = _columns()
    assert columns.faults() == []
    faults = _with(columns, table, name, row, value).faults()
    assert [(fault.image, fault.where) for fault in faults][:1] == [(1, where)]
    assert message in faults[0].message
    with pytest.raises(GraphError, match="image 'b'"):
        _with(columns, table, name, row, value).check()


def test_counts_that_do_not_add_up_are_one_fault():
    faults = _with(_columns(), "image", "region_count", 0, 1).faults()
    assert len(faults) == 1
    assert "3 regions" in faults[0].message


def test_a_long_list_of_faults_is_cut_and_counted():
    count = 30
    graph = SceneGraph(0, 0, [Region("a"), Region("b")], [Relation(0, f"p{index}", 1) for index in range(count)])
    columns = GraphColumns.from_samples([Sample("x", graph)])
    broken = attrs.evolve(columns, relation=attrs.evolve(columns.relation, object=columns.relation.subject))
    with pytest.raises(GraphError, match="and 20 more"):
        broken.check()


@FEW
@given(st.lists(st.binary(max_size=5)), st.data())
def test_ragged_take_and_slice_are_list_operations(rows, data):
    column = Ragged.of_bytes(rows)
    if rows:
        picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
        assert column.take(np.asarray(picked, np.int64)).byte_rows() == [rows[index] for index in picked]
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert column.slice(start, stop).byte_rows() == rows[start:stop]
    assert column.equals(Ragged.of_bytes(rows))
    assert not column.equals(Ragged.of_bytes([*rows, b""]))
