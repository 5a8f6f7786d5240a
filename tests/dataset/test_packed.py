"""Packed edits and samples: exact round trips, and joined columns equal to the objects."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from dataset.given import FEW, edits, graphs, samples
from hypothesis import given
from hypothesis import strategies as st

from sgforge.columns import GraphColumns, Vocabularies
from sgforge.columns.rows import regions_from, relations_from
from sgforge.edits import Edit, apply_edit
from sgforge.errors import GraphError
from sgforge.graph import Caption, Region, Relation, Sample, SceneGraph, Span
from sgforge.graph.values import HeldValues
from sgforge.packed import (
    REGION_FIELD_NAMES,
    RELATION_FIELD_NAMES,
    ValuePacker,
    edit_columns,
    pack_edit,
    pack_sample,
    unpack_edit,
    unpack_sample,
)


@FEW
@given(samples())
def test_samples_come_back_exactly(sample):
    assert unpack_sample(pack_sample(sample)) == sample


@FEW
@given(graphs().flatmap(edits))
def test_edits_come_back_exactly(edit):
    packed = pack_edit(edit)
    assert unpack_edit(packed) == edit
    # Journals of before may tell of an edit's calls in its last field.
    fields = msgpack.unpackb(packed)
    assert unpack_edit(msgpack.packb([*fields[:10], *(["complete", ["call-1"]] for _ in fields[10:])])) == edit


def test_a_sum_is_packed_as_it_took_effect():
    graph = SceneGraph(9, 9, [Region("a"), Region("b")])
    total = Edit.add(Region("cup"), Relation(0, "holds", 2)) + Edit.add(Region("hat"), Relation(1, "wears", 2))
    with pytest.raises(GraphError, match="apply it first"):
        pack_edit(total)
    packed = pack_edit(apply_edit(graph, total, "edit").edit)
    assert [row.triplet for row in unpack_edit(packed).relations] == [(0, "holds", 2), (1, "wears", 3)]


@FEW
@given(st.lists(graphs().flatmap(edits), max_size=4))
def test_joined_columns_hold_the_rows_of_every_edit(given_edits):
    columns = edit_columns([pack_edit(edit) for edit in given_edits])
    assert columns.regions_added.tolist() == [len(edit.regions) for edit in given_edits]
    assert columns.relations_added.tolist() == [len(edit.relations) for edit in given_edits]
    assert list(regions_from(columns.region, columns.vocabularies)) == [
        region for edit in given_edits for region in edit.regions
    ]
    assert list(relations_from(columns.relation, columns.vocabularies)) == [
        relation for edit in given_edits for relation in edit.relations
    ]
    verdicts = [(number, verdict) for number, edit in enumerate(given_edits) for verdict in edit.verdicts]
    assert columns.verdict_edit.tolist() == [number for number, _ in verdicts]
    assert columns.verdict_row.tolist() == [verdict.index for _, verdict in verdicts]
    reasons = [columns.vocabularies.reason[index] if index >= 0 else None for index in columns.verdict_reason]
    assert reasons == [verdict.reason for _, verdict in verdicts]


@FEW
@given(graphs().flatmap(edits))
def test_columns_over_a_larger_vocabulary_mean_the_same(edit):
    columns = edit_columns([pack_edit(edit)])
    words = Vocabularies(**{name: ("", *columns.vocabularies.of(name)) for name in Vocabularies.names()})
    if "" in columns.vocabularies.label:
        words = columns.vocabularies
    moved = columns.over(words)
    assert regions_from(moved.region, words) == regions_from(columns.region, columns.vocabularies)
    assert regions_from(moved.region_values, words) == regions_from(columns.region_values, columns.vocabularies)


def test_equal_samples_pack_alike_whatever_the_order_of_their_attributes():
    from sgforge.graph import Sample, SceneGraph

    one = Sample("a", SceneGraph(attributes={"style": "photo", "light": "dim"}))
    two = Sample("a", SceneGraph(attributes={"light": "dim", "style": "photo"}))
    assert pack_sample(one) == pack_sample(two)


def test_an_empty_edit_is_a_few_bytes():
    assert len(pack_edit(Edit())) <= 4
    assert unpack_edit(pack_edit(Edit())) == Edit()


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x00", msgpack.packb([99]), msgpack.packb({}), b"\x91"])
def test_other_bytes_are_refused(data):
    with pytest.raises(GraphError, match="packed edit"):
        unpack_edit(data)


def test_a_value_that_breaks_the_rules_is_refused_when_packed():
    with pytest.raises(GraphError, match="x0 < x1"):
        pack_edit(Edit.set("region", 0, box=(3, 0, 1, 1)))
    with pytest.raises(GraphError, match="finite"):
        pack_edit(Edit.reject(0, "iou", float("nan")))


def test_no_edits_make_empty_columns():
    columns = edit_columns([])
    assert len(columns.region.label) == 0
    assert isinstance(columns.dropped, np.ndarray)
    assert GraphColumns.empty().faults() == []


def test_the_codes_of_fields_stay():
    """A code is a place here: a new field comes at the end, and none goes."""
    given = ("attributes", "box", "depth", "descriptions", "label", "mask", "score", "parent", "level")
    assert REGION_FIELD_NAMES[: len(given)] == given
    assert RELATION_FIELD_NAMES[:3] == ("category", "predicate", "score")


def test_samples_that_share_values_pack_as_each_alone():
    shared, other = HeldValues({"toy.text": "a", "toy.json": {"b": 1}}), HeldValues({"toy.text": "c"})
    graph = SceneGraph(0, 0, [Region("cat")])
    given = [
        Sample("1", graph, values=shared),
        Sample("2", graph, values=shared),
        Sample("3", graph, values=shared, region_values={"toy.text": {0: "of a row"}}),
        Sample("4", graph, values=other),
        Sample("5", graph),
        Sample("6", graph, values=shared),
    ]
    packer = ValuePacker()
    assert [unpack_sample(pack_sample(sample, packer)) for sample in given] == given
    assert [pack_sample(sample, packer) for sample in given] == [pack_sample(sample) for sample in given]


def test_an_edit_that_only_fills_columns_of_the_image_keeps_graph_and_edit():
    graph = SceneGraph(0, 0, [Region("cat")])
    edit = Edit.value("image", None, "caption", Caption("a cat", [Span(2, 5, 0)]))
    applied = apply_edit(graph, edit, "caption")
    assert applied.graph is graph
    assert applied.edit == edit
    with pytest.raises(GraphError, match="region 1 does not exist"):
        apply_edit(graph, Edit.value("region", 1, "toy.text", "x"), "caption")
