"""Packed edits on columns: the arrays are those of the edited graphs, to the last byte."""

from __future__ import annotations

import numpy as np
import pytest

from sgforge.columns import GraphColumns
from sgforge.dataset.publishing.apply_packed import apply_packed
from sgforge.dataset.zarr_arrays.layout import arrays_of
from sgforge.edits import Edit, apply_edit
from sgforge.errors import DatasetError
from sgforge.graph import Mask, Region, Relation, Sample, SceneGraph
from sgforge.packed import pack_edit

WHOLE = Mask(80, 100, 3, 4, 1, 1, b"01")
"""One pixel in the frame of the image."""
OTHER = Mask(8, 9, 3, 4, 1, 1, b"01")
"""One pixel in a frame of its own, for graphs without an image."""


def sample(name: str, width: int = 100, height: int = 80) -> Sample:
    regions = [Region("cat", (0, 0, 9, 9)), Region("mat", (0, 5, 50, 50)), Region("tail", (0, 0, 2, 2), parent=0)]
    return Sample(name, SceneGraph(width, height, regions, [Relation(0, "on", 1), Relation(1, "under", 0)]))


def arrays(columns: GraphColumns) -> dict[str, bytes]:
    return {column.path: np.ascontiguousarray(data).tobytes() for column, data in arrays_of(columns.compact())}


@pytest.mark.parametrize(
    "edit",
    [
        Edit.set("region", 2, mask=WHOLE),
        Edit.add(Region("paw", mask=WHOLE, parent=0), Region("ear", (1, 1, 2, 2))),
        Edit.set("region", 0, mask=WHOLE) + Edit.set("region", 0, mask=None),
        Edit.set("region", 1, descriptions=["soft", "red"], attributes=["woven"]),
        Edit.add(Relation(2, "near", 1)) + Edit.reject(2, "far", 0.5) + Edit.keep(2, "near-enough", 0.25),
        Edit.set("relation", 1, predicate="beneath") + Edit.set("relation", 1, predicate="below"),
        Edit.drop("boring"),
    ],
)
def test_the_arrays_are_those_of_the_edited_graphs(edit):
    given = [sample("a"), sample("b"), sample("c")]
    done = apply_edit(given[1].graph, edit, "step", may_restore=True)
    found = apply_packed(GraphColumns.from_samples(given), np.array([1]), [pack_edit(done.edit)], ["step"])
    wanted = arrays(GraphColumns.from_samples([given[0], Sample("b", done.graph), given[2]]))
    if edit.dropped is not None:
        # Only columns know of a drop: the reason, and the vocabulary it stands in.
        assert [found.vocabularies.reason[i] if i >= 0 else None for i in found.image.dropped] == [None, "boring", None]
        wanted = {
            path: data for path, data in wanted.items() if path not in ("image/dropped",) and "/reason" not in path
        }
    assert {path: data for path, data in arrays(found).items() if path in wanted} == wanted


def test_a_mask_of_another_frame_keeps_it_in_a_graph_without_an_image():
    given = [sample("a", 0, 0)]
    done = apply_edit(given[0].graph, Edit.set("region", 0, mask=OTHER) + Edit.add(Region(mask=WHOLE)), "step")
    found = apply_packed(GraphColumns.from_samples(given), np.array([0]), [pack_edit(done.edit)], ["step"])
    assert found.graph(0) == done.graph
    assert arrays(found) == arrays(GraphColumns.from_samples([Sample("a", done.graph)]))


@pytest.mark.parametrize(
    "edit",
    [
        Edit.reject(2, "x"),
        Edit.reject(3, "x", target="region"),
        Edit.set("region", 3, label="dog"),
        Edit.set("relation", 2, score=0.5),
        Edit.reject(-1, "x"),
    ],
)
def test_a_row_behind_the_last_of_its_image_is_an_error(edit):
    columns = GraphColumns.from_samples([sample("a"), sample("b")])
    with pytest.raises(DatasetError, match="an edit of image 'a' names re"):
        apply_packed(columns, np.array([0]), [pack_edit(edit)], ["step"])
