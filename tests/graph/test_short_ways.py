"""Ways that are shorter for what almost every row is: each knows every field, one that is added later too."""

from __future__ import annotations

import copy
from typing import Any

import attrs
import pytest

from sgforge.columns import rows
from sgforge.edits import Edit
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.graph.values import to_values
from sgforge.images import ImageSource, Roots

BESIDE = {"faults", "values"}
"""What an edit of values alone may have."""


def names(kind: Any) -> set[str]:
    return {field.name for field in attrs.fields(kind)}


@pytest.mark.parametrize("field", sorted(names(Edit)))
def test_an_edit_with_anything_else_is_none_of_values_alone(field: str) -> None:
    edit = copy.copy(Edit())
    assert edit.is_of_values
    object.__setattr__(edit, field, ("anything",))
    assert edit.is_of_values == (field in BESIDE)


def test_a_sample_with_other_values_keeps_all_else() -> None:
    sample = Sample(
        image_id="a",
        graph=SceneGraph(4, 4, [Region("cup"), Region("table")], [Relation(0, "on", 1)]),
        uri="photos:a.png",
        split="train",
        source="photos",
        sha256="0" * 64,
        image=ImageSource(Roots(), "photos:a.png"),
        values={"score": 1.0},
        region_values={"size": {0: 2.0}},
        relation_values={"length": {0: 3.0}},
    )
    given = {field.name for field in attrs.fields(Sample) if getattr(sample, field.name) != field.default}
    assert given == names(Sample)  # a field that is added is given here as well
    values = to_values({"score": 3.0})
    found, expected = sample.with_image_values(values), attrs.evolve(sample, values=values)
    assert all(getattr(found, name) is getattr(expected, name) for name in names(Sample) - {"values"})
    assert found.values == expected.values == {"score": 3.0}


def test_a_region_in_short_has_none_of_the_other_fields() -> None:
    (_, told) = rows._FIELDS_OF_PICTURES.__reduce__()
    assert {*told, "label", "attributes"} == names(Region)
