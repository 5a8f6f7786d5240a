"""Graphs that are views of columns: equal to those of objects, in memory, packed, and as columns again."""

from __future__ import annotations

import pickle

import attrs
import numpy as np
import pytest
from dataset.given import FEW, sample_lists
from hypothesis import given
from hypothesis import strategies as st

from sgforge.columns import GraphColumns
from sgforge.columns.schema import specs_of
from sgforge.errors import GraphError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.masks import from_polygons
from sgforge.packed import pack_sample


def viewed(samples: list[Sample]) -> list[Sample]:
    """The same samples with graphs that are views of their columns."""
    views = GraphColumns.from_samples(samples).sound_views()
    assert list(views) == list(range(len(samples)))
    assert all(graph.deferred is not None for graph in views.values())
    return [attrs.evolve(sample, graph=views[row]) for row, sample in enumerate(samples)]


def same_columns(first: GraphColumns, second: GraphColumns) -> None:
    first, second = first.compact(), second.compact()
    assert first.vocabularies == second.vocabularies
    for one, other in zip(
        (first.image, first.region, first.relation), (second.image, second.region, second.relation), strict=True
    ):
        for spec in specs_of(type(one)):
            pair = getattr(one, spec.name), getattr(other, spec.name)
            assert pair[0].equals(pair[1]) if spec.ragged else np.array_equal(*pair, equal_nan=spec.dtype == "f4")


@FEW
@given(sample_lists())
def test_views_are_the_graphs(given_samples):
    assert viewed(given_samples) == given_samples
    assert [pickle.loads(pickle.dumps(sample)) for sample in viewed(given_samples)] == given_samples


@FEW
@given(sample_lists())
def test_views_pack_to_the_bytes_of_objects(given_samples):
    assert [pack_sample(sample) for sample in viewed(given_samples)] == list(map(pack_sample, given_samples))


@FEW
@given(sample_lists(min_size=1), sample_lists(), st.data())
def test_views_and_objects_become_the_same_columns(first, second, data):
    views = viewed(first) + viewed(second)
    order = data.draw(st.permutations(range(len(views))))
    mixed = [views[row] if data.draw(st.booleans()) else (first + second)[row] for row in order]
    objects = [(first + second)[row] for row in order]
    same_columns(GraphColumns.from_samples(mixed), GraphColumns.from_samples(objects))


def test_an_image_that_breaks_a_rule_has_no_view():
    graph = SceneGraph(regions=[Region("a", (0, 0, 2, 2)), Region("b")], relations=[Relation(0, "on", 1)])
    columns = GraphColumns.from_samples([Sample(name, graph) for name in "abc"])
    box = columns.region.box.copy()
    box[2] = (5, 0, 5, 2)
    broken = attrs.evolve(columns, region=attrs.evolve(columns.region, box=box))
    assert {row: view.all == graph.all for row, view in broken.sound_views().items()} == {0: True, 2: True}


def test_another_size_of_the_image():
    box, mask = (0, 0, 2, 2), from_polygons([[0, 0, 4, 0, 4, 4]], 10, 20)
    for rows in ([Region("a", box)], [Region("a", box, mask=mask)]):
        sample = Sample("a", SceneGraph(regions=rows))
        (view,) = GraphColumns.from_samples([sample]).sound_views().values()
        sized = view.sized(20, 10)
        assert sized == sample.graph.sized(20, 10) == SceneGraph(20, 10, rows)
        assert pack_sample(Sample("a", sized)) == pack_sample(Sample("a", SceneGraph(20, 10, rows)))
        with pytest.raises(GraphError, match="must be positive"):
            view.sized(20, 0)
    with pytest.raises(GraphError, match="mask of region 0 is 20x10, the image 30x10"):
        view.sized(30, 10)
