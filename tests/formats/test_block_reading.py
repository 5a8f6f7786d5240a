"""Visual Genome's rows read as columns are what they are row by row: graphs, ids, bytes, faults, remarks."""

from __future__ import annotations

import copy
import json
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.extras import needs_extra

from sgforge import Roots, Sample
from sgforge.columns import GraphColumns
from sgforge.dataset import DatasetWriter
from sgforge.errors import ConfigError
from sgforge.packed import pack_sample
from sgforge_formats.visual_genome.options import VisualGenomeOptions
from sgforge_formats.visual_genome.source import VisualGenomeSource

needs_extra("formats")

Row = dict[str, Any]


def source(folder: Path, *, by_row: bool) -> VisualGenomeSource:
    """The source over what lies in a folder; a second file of annotations, without an image, has it read by row."""
    files = {name: str(folder / f"{name}.json") for name in ("scene_graphs", "image_data", "region_descriptions")}
    if not by_row:
        del files["region_descriptions"]
    return VisualGenomeSource(VisualGenomeOptions(**files))


def write(folder: Path, text: bytes, facts: list[Row] | None = None) -> None:
    (folder / "scene_graphs.json").write_bytes(text)
    (folder / "image_data.json").write_text(json.dumps(facts or []))
    (folder / "region_descriptions.json").write_text("[]")


def told(folder: Path, *, by_row: bool) -> Any:
    """Everything that a source gives, in its order, and says afterwards; or the error with which it ends."""
    component = source(folder, by_row=by_row)
    found: list[Any] = []
    try:
        for item in component.samples(Roots(), "given"):
            if isinstance(item, Sample):
                values = {name: item.values[name] for name in item.values}
                found.append((item.image_id, item.graph, item.uri, item.split, values, pack_sample(item)))
            else:
                found.append(item)
    except ConfigError as error:
        found.append(str(error))
    return found, list(component.remarks())


def same(folder: Path) -> list[Any]:
    """What both ways give, which is the same."""
    found, remarks = told(folder, by_row=False)
    assert (found, remarks) == told(folder, by_row=True)
    return found


def deferred(folder: Path) -> dict[str, bool]:
    """By image, whether it was read as columns."""
    items = source(folder, by_row=False).samples(Roots(), "given")
    return {item.image_id: item.graph.deferred is not None for item in items if isinstance(item, Sample)}


def thing(number: int, **more: Any) -> Row:
    return {"object_id": number, "x": 1, "y": 2, "w": 30, "h": 4, "names": [f"thing {number % 3}"]} | more


def link(number: int, subject: Any, other: Any, **more: Any) -> Row:
    return {"relationship_id": number, "predicate": "on", "subject_id": subject, "object_id": other} | more


def image(number: int, objects: list[Any], relationships: list[Any] | None = None, **more: Any) -> Row:
    return {"image_id": number, "objects": objects, "relationships": relationships or []} | more


def sound(number: int) -> Row:
    objects = [thing(7), thing(9, names=["a", "b"], synsets=["a.n.01"], attributes=["red", "old"])]
    objects.append(thing(8, names=[], name="c", merged_object_ids=[5, 6], x=-3, w=0.25))
    return image(number, objects, [link(1, 7, 9, synsets=["on.r.01"]), link(2, 9, 5)])


def test_an_image_without_doubt_is_read_as_columns(tmp_path: Path) -> None:
    write(tmp_path, json.dumps([sound(1), image(2, [thing(7, names=[None, "a"])]), sound(3)]).encode())
    (_, graph, *_, values, _), second, _ = same(tmp_path)
    assert [(row.label, row.box, row.attributes) for row in graph.all.regions] == [
        ("thing 1", (1, 2, 31, 6), ()),
        ("a", (1, 2, 31, 6), ("red", "old")),
        ("c", (-3, 2, -2.75, 6), ()),
    ]
    assert [row.triplet for row in graph.all.relations] == [(0, "on", 1), (1, "on", 2)]
    assert values["formats.origin"] == {
        "regions": [7, 9, 8],
        "relations": [1, 2],
        "more": {
            "regions": {"1": {"names": ["a", "b"], "synsets": ["a.n.01"]}, "2": {"merged_object_ids": [5, 6]}},
            "relations": {"0": {"synsets": ["on.r.01"]}},
        },
    }
    assert [row.label for row in second[1].all.regions] == [None]
    assert second[4]["formats.origin"]["more"]["regions"] == {"0": {"names": [None, "a"]}}
    # Behind the last row stands no other that would show where it ends.
    assert deferred(tmp_path) == {"1": True, "2": True, "3": False}


DOUBTFUL = {
    "an object twice": image(1, [thing(7), thing(7, attributes=["red"])]),
    "no id of an object": image(1, [{"x": 1, "y": 2, "w": 3, "h": 4, "name": "a"}]),
    "no box": image(1, [{"object_id": 1, "name": "a"}]),
    "no area": image(1, [thing(7, w=0)]),
    "no area in float32": image(1, [thing(7, x=2**30, w=1)]),
    "a box outside": image(1, [thing(7, x=500)]),
    "a box that leaves": image(1, [thing(7, x=90)]),
    "a number as text": image(1, [thing(7, x="3")]),
    "a number that is none": image(1, [thing(7, x=float("nan"))]),
    "a number that is infinite": image(1, [thing(7, w=float("inf"))]),
    "a number beyond exactness": image(1, [thing(7, w=2**60)]),
    "a number beyond 64 bits": image(1, [thing(2**70)]),
    "a label with a line end": image(1, [thing(7, names=["a\nb"])]),
    "a label that is a number": image(1, [thing(7, names=[3])]),
    "the lower half of a surrogate pair": image(1, [thing(7, names=["\udc00"])]),
    "half of a surrogate pair": image(1, [thing(7, names=["\ud800"])]),
    "an attribute twice": image(1, [thing(7, attributes=["red", "red"])]),
    "an empty attribute": image(1, [thing(7, attributes=["red", ""])]),
    "an attribute alone": image(1, [thing(7, attributes="red")]),
    "a null attribute": image(1, [thing(7, attributes=[None])]),
    "a merged id that is an object": image(1, [thing(7, merged_object_ids=[8]), thing(8)]),
    "a null merged id": image(1, [thing(7, merged_object_ids=[None])]),
    "a relation to nothing": image(1, [thing(7)], [link(1, 7, 8)]),
    "a relation to itself": image(1, [thing(7)], [link(1, 7, 7)]),
    "a relation over a merged id to itself": image(1, [thing(7, merged_object_ids=[8])], [link(1, 7, 8)]),
    "an id as text": image(1, [thing(7), thing(8)], [link(1, "7", 8)]),
    "no predicate": image(1, [thing(7), thing(8)], [{"subject_id": 7, "object_id": 8}]),
    "an empty predicate": image(1, [thing(7), thing(8)], [link(1, 7, 8, predicate="")]),
    "no id of a relation": image(1, [thing(7), thing(8)], [link(1, 7, 8) | {"relationship_id": None}]),
    "an object that is null": image(1, [None, thing(7)]),
    "an object that is a number": image(1, [5, thing(7)]),
    "objects that are null": image(1, []) | {"objects": None},
    "objects that are no list": image(1, []) | {"objects": {"a": 1}},
    "ids far apart": image(1, [thing(-(2**62)), thing(2**62)], [link(1, -(2**62), 2**62)]),
    "an id of an image as text": image(1, [thing(7)]) | {"image_id": "x"},
    "no id of an image": {"objects": [thing(7)], "relationships": []},
    "an id under another name": {"id": 5, "objects": [thing(7)]},
    "a name that is not known": image(1, [thing(7, odd={"a": [1]})], [], date="today"),
    "ends as objects": image(1, [], [{"predicate": "on", "subject": thing(7), "object": thing(8)}]),
    "a row that is no object": 5,
    "an image twice": image(12, [thing(7)]),
}


@pytest.mark.parametrize("what", DOUBTFUL)
def test_a_doubtful_image_is_read_by_row_and_its_neighbours_as_columns(tmp_path: Path, what: str) -> None:
    rows = [sound(number) for number in range(10, 48)]
    rows.insert(1, DOUBTFUL[what])
    write(tmp_path, json.dumps(rows).encode(), [{"image_id": 1, "width": 100, "height": 90}])
    same(tmp_path)
    found = deferred(tmp_path)
    assert not {"1", "x", "5"} & {image_id for image_id, is_deferred in found.items() if is_deferred}
    if what != "ids far apart":  # beside them no id of their block can be looked up
        assert sum(found.values()) > 20


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("separators", [None, (",", ":"), (" , ", " : ")])
def test_all_ways_to_write_json(tmp_path: Path, indent: int | None, separators: tuple[str, str] | None) -> None:
    rows = [sound(1), image(2, [thing(1, names=["caf\u00e9 \U0001f600", 'a "}, {\\"image_id\\"'])]), sound(3), sound(4)]
    for is_ascii in (True, False):
        text = json.dumps(rows, indent=indent, separators=separators, ensure_ascii=is_ascii)
        write(tmp_path, text.encode())
        assert len(same(tmp_path)) == 4


def test_rows_that_begin_otherwise_and_lists_of_rows_that_begin_alike(tmp_path: Path) -> None:
    rows = [sound(1), {"objects": [], "image_id": 2}, sound(3), sound(4)]
    rows.append(image(5, [{"image_id": 1, **thing(1)}, {"image_id": 2, **thing(2)}]))
    write(tmp_path, json.dumps([*rows, *map(sound, range(6, 30))]).encode())
    assert len(same(tmp_path)) == 29


def test_a_key_twice_costs_its_row(tmp_path: Path) -> None:
    text = json.dumps([sound(1), image(2, [thing(7, odd=1)]), sound(3)]).replace('"odd": 1', '"odd": 1, "odd": 1')
    write(tmp_path, text.encode())
    assert [getattr(item, "reason", "") for item in same(tmp_path)] == ["", "bad-row", ""]


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    write(tmp_path, json.dumps([sound(1), sound(2), sound(3)]).encode().replace(b"red", b"r\xffd", 1))
    assert [getattr(item, "reason", "") for item in same(tmp_path)] == ["bad-row", "", ""]


ids = st.sampled_from([1, 2, 3, 4, 5, "2", 2.0, None, True, 2**63, -1])
numbers = st.one_of(st.integers(-5, 120), st.sampled_from([0.5, "7", None, 1e30, 2**53, "x", []]))
texts = st.one_of(st.sampled_from(["a", "b", "on", "", "a\x00", None, 4]), st.text(max_size=3))
lists = st.one_of(st.none(), texts, st.lists(texts, max_size=3))
things = st.fixed_dictionaries(
    {"object_id": ids, "x": numbers, "y": numbers, "w": numbers, "h": numbers},
    optional={"name": texts, "names": lists, "synsets": lists, "attributes": lists}
    | {"merged_object_ids": st.lists(ids, max_size=2), "odd": numbers},
)
sound_things = st.builds(thing, st.integers(1, 5), attributes=st.lists(st.sampled_from("abc"), max_size=2))
links = st.fixed_dictionaries({"predicate": texts, "subject_id": ids, "object_id": ids}, optional={"synsets": lists})
sound_links = st.builds(link, st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))
images = st.builds(
    image,
    st.integers(1, 12),
    st.lists(st.one_of(sound_things, sound_things, sound_things, things), max_size=3),
    st.lists(st.one_of(sound_links, sound_links, sound_links, links), max_size=2),
)
documents = st.lists(st.one_of(images, images, images, st.integers(20, 90).map(sound)), max_size=8)
facts = st.lists(
    st.builds(
        lambda number, side: {"image_id": number, "width": side, "height": 90},
        st.integers(1, 12),
        st.sampled_from([20, 34, 100]),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(documents, facts)
def test_both_ways_give_the_same(rows: list[Row], known: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), json.dumps(rows).encode(), known)
        same(Path(folder))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 9).map(sound), max_size=4), st.data())
def test_both_ways_give_the_same_of_spoilt_files(rows: list[Row], data: st.DataObject) -> None:
    text = json.dumps(rows).encode()
    start = data.draw(st.integers(0, len(text)))
    stop = start + data.draw(st.integers(0, 3))
    put = data.draw(st.sampled_from([b"", b",", b"]", b"}", b"{", b'"', b"\\", b"\n", b"\x00", b"\xff", b"7", b"null"]))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), text[:start] + put + text[stop:])
        same(Path(folder))


def test_graphs_over_columns_are_values_like_any(tmp_path: Path) -> None:
    write(tmp_path, json.dumps([sound(1), sound(2), sound(3)]).encode())
    samples = [item for item in source(tmp_path, by_row=False).samples(Roots(), "given") if isinstance(item, Sample)]
    first = samples[0]
    assert first.graph.deferred is not None
    assert pickle.loads(pickle.dumps(first)) == first == copy.copy(first) == copy.deepcopy(first)
    assert pickle.loads(pickle.dumps(first.graph)).deferred is None
    assert hash(first.graph) == hash(samples[1].graph)
    assert first.graph == samples[1].graph
    assert not hasattr(first.graph, "nothing")


def test_a_dataset_of_both_kinds_is_the_same_to_the_byte(tmp_path: Path) -> None:
    rows = [sound(1), DOUBTFUL["a label that is a number"], sound(3), DOUBTFUL["an attribute twice"] | {"image_id": 4}]
    write(tmp_path, json.dumps([*rows, *map(sound, range(5, 20))]).encode())
    found = {}
    for by_row in (False, True):
        items = source(tmp_path, by_row=by_row).samples(Roots(), "given")
        samples = [item for item in items if isinstance(item, Sample)]
        keys = [bytes([number]) * 16 for number in range(len(samples))]
        with DatasetWriter.open(tmp_path / f"dataset-{by_row}") as writer:
            found[by_row] = writer.publish_source(samples, keys).id
        assert GraphColumns.from_samples(samples).faults() == []
    assert found[False] == found[True]
