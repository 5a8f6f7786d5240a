"""The columnar reader against the object reader: the same lines, the same words."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonl.graphs import ODD_VALUES, samples, spoiled

from sgforge.columns import GraphColumns
from sgforge.errors import GraphError
from sgforge.graph import Sample
from sgforge.jsonl import LineFault, dump_sample, parse_line, read_columns, read_jsonl, write_jsonl

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(read: Any) -> list[Sample] | str:
    """What a reader gives: the samples, or the words of its refusal."""
    try:
        return list(read())
    except GraphError as error:
        return str(error)


def by_columns(path: Path, chunk_images: int) -> list[Sample]:
    return [sample for columns in read_columns(path, chunk_images=chunk_images) for sample in columns.samples()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines")


@QUICK
@given(st.data())
def test_columns_accept_and_refuse_what_objects_do_and_say_the_same(folder: Path, data: st.DataObject) -> None:
    lines = []
    for number in range(data.draw(st.integers(1, 4))):
        sample = data.draw(samples(image_id=str(data.draw(st.integers(0, 20)) * 10 + number)))
        value = orjson.loads(dump_sample(sample))
        if data.draw(st.integers(0, 2)) == 0:
            value = data.draw(spoiled(value))
        # Not orjson: it reads whole numbers past 64 bits but does not write them.
        lines.append(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    if data.draw(st.integers(0, 9)) == 0:
        lines.insert(
            data.draw(st.integers(0, len(lines))), data.draw(st.sampled_from([b"{", b"[]", b"1", b" ", b"\xff"]))
        )
    path = folder / "predictions.jsonl"
    path.write_bytes(b"\n".join(lines))
    chunk_images = data.draw(st.integers(1, 5))
    assert outcome(lambda: by_columns(path, chunk_images)) == outcome(lambda: read_jsonl(path))


FULL_REGION = {
    "label": "cup", "box": [0, 0, 1, 1], "mask": {"size": [7, 9], "counts": "o1"}, "score": 0.5, "descriptions": ["a"],
    "attributes": ["b"], "depth": 1.5, "parent": 1, "level": 3, "source": "s", "status": "kept", "reason": "r",
    "degree": 0.25, "made_by": "m", "judged_by": "j",
}  # fmt: skip
FULL_RELATION = {
    "subject": 0, "predicate": "on", "object": 1, "category": "spatial", "score": 0.5, "status": "rejected",
    "reason": "r", "degree": -2, "made_by": "m", "judged_by": "j",
}  # fmt: skip
FULL_IMAGE = {"uri": "a:b", "split": "val", "source": "s", "sha256": "0a" * 32, "attributes": {"k": "v"}}
BORDERS: list[Any] = [32767, -32767, 1.0000000001, 1.0000001, -1e-9, 3.4028234663852886e38, 3.4028235e38, 2**31 - 1]


def full_line() -> dict[str, Any]:
    head = {"image_id": "a", "width": 9, "height": 7, **FULL_IMAGE}
    return deepcopy({**head, "regions": [FULL_REGION, {}], "relations": [FULL_RELATION]})


FIELDS = [
    *((name,) for name in full_line()),
    *(("regions", 0, name) for name in FULL_REGION),
    *(("regions", 1, name) for name in FULL_REGION),
    *(("relations", 0, name) for name in FULL_RELATION),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: ".".join(map(str, field)))
def test_every_field_with_every_odd_value(tmp_path: Path, field: tuple[Any, ...]) -> None:
    path = tmp_path / "predictions.jsonl"
    refused = 0
    for value in [*ODD_VALUES, *BORDERS, ...]:
        line = full_line()
        holder: Any = line
        for key in field[:-1]:
            holder = holder[key]
        holder[field[-1]] = value
        if value is ...:
            del holder[field[-1]]
        path.write_text(json.dumps(line))
        expected = outcome(lambda: read_jsonl(path))
        assert outcome(lambda: by_columns(path, 1)) == expected, value
        refused += isinstance(expected, str)
    assert refused
    path.write_text(json.dumps(full_line()))
    assert outcome(lambda: by_columns(path, 1)) == [parse_line(path.read_bytes(), "")]


@pytest.mark.parametrize("table", ["regions", "relations"])
@pytest.mark.parametrize("row", [1, "x", [], {"labl": 1}, {"predicate": "on"}, None])
def test_rows_that_are_no_rows(tmp_path: Path, table: str, row: Any) -> None:
    path = tmp_path / "predictions.jsonl"
    line = full_line()
    line[table].append(row)
    path.write_text(json.dumps(line))
    expected = outcome(lambda: read_jsonl(path))
    assert isinstance(expected, str)
    assert outcome(lambda: by_columns(path, 1)) == expected


@QUICK
@given(st.lists(samples(), max_size=4, unique_by=lambda sample: sample.image_id), st.integers(1, 3))
def test_columns_of_good_lines_are_those_of_the_samples(folder: Path, given_samples: list[Sample], chunk: int) -> None:
    path = folder / "good.jsonl"
    write_jsonl(given_samples, path)
    parts = list(read_columns(path, chunk_images=chunk))
    assert [sample for part in parts for sample in part.samples()] == given_samples
    assert all(part.faults() == [] for part in parts)
    joined = GraphColumns.concat(parts).compact()
    expected = GraphColumns.from_samples(given_samples).compact()
    assert joined.vocabularies == expected.vocabularies
    for name in ("subject", "object", "predicate", "category", "score", "status", "degree"):
        np.testing.assert_array_equal(getattr(joined.relation, name), getattr(expected.relation, name))
    for name in ("label", "box", "score", "depth", "parent", "level", "has_mask", "mask_crop", "mask_frame"):
        np.testing.assert_array_equal(getattr(joined.region, name), getattr(expected.region, name))


def test_ids_of_a_text_stay_the_same_from_chunk_to_chunk(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [{"image_id": str(i), "width": 9, "height": 7, "regions": [{"label": f"l{i % 2}"}]} for i in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second = read_columns(path, chunk_images=2)
    assert first.vocabularies == second.vocabularies
    assert first.region.label.tolist() == second.region.label.tolist() == [0, 1]


def test_a_failed_prediction_keeps_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "failed.jsonl"
    path.write_text('{"image_id": "a", "width": 1, "height": 1, "regions": [], "failed": "refused"}')
    (columns,) = read_columns(path)
    assert columns.vocabularies.reason[columns.image.failed_reason[0]] == "refused"


def lenient(path: Path, chunk_images: int = 2) -> tuple[list[GraphColumns], list[LineFault]]:
    faults: list[LineFault] = []
    return list(read_columns(path, strict=False, chunk_images=chunk_images, report=faults.append)), faults


def test_an_evaluator_keeps_flat_boxes_self_relations_and_repeated_rows(tmp_path: Path) -> None:
    relation = {"subject": 1, "predicate": "on", "object": 1}
    path = tmp_path / "flat.jsonl"
    regions = [{"box": [1, 1, 1, 1]}, {"box": [0, 0, 2, 2]}]
    row = {"image_id": "a", "width": 9, "height": 7, "regions": regions, "relations": [relation, relation]}
    path.write_text(json.dumps(row))
    (columns,), faults = lenient(path)
    assert faults == []
    assert columns.region.box.tolist() == [[1, 1, 1, 1], [0, 0, 2, 2]]
    assert columns.relation.subject.tolist() == columns.relation.object.tolist() == [1, 1]
    with pytest.raises(GraphError, match=r"regions\[0\]\.box"):
        list(read_columns(path))


def test_an_evaluator_leaves_out_what_is_wrong_and_says_so(tmp_path: Path) -> None:
    good = {"subject": 0, "predicate": "on", "object": 1}
    image = {"width": 9, "height": 7}
    rows: list[Any] = [
        {
            "image_id": "a",
            **image,
            "regions": [{"label": 3, "box": [0, 0, 1, 1]}, {"box": [5, 0, 1, 1], "label": "cup"}, "x"],
            "relations": [{**good, "object": 9}, good, {**good, "score": 2}, {"subject": 0}],
        },
        {"image_id": "b", **image, "regions": [{"mask": {"size": [7, 9], "counts": "11"}, "label": "cup"}], "uri": 3},
        {"image_id": "c", "width": 9, "regions": []},
        {"image_id": "a", **image, "regions": []},
        {"image_id": "d", **image, "regions": [{}, {}], "relations": [good]},
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{"]))
    parts, faults = lenient(path)
    columns = GraphColumns.concat(parts)
    assert columns.image.ids == ["a", "b", "d"]
    assert columns.image.region_count.tolist() == [3, 1, 2]
    assert columns.image.relation_count.tolist() == [1, 0, 1]
    assert [columns.sample(0).graph.all.regions[row].label for row in range(3)] == [None, "cup", None]
    assert columns.region.box[0].tolist() == [0, 0, 1, 1]
    assert np.isnan(columns.region.box[1]).all()
    assert columns.region.has_mask.tolist() == [0] * 6
    assert [(fault.line, fault.image_id, fault.path, fault.reason) for fault in faults] == [
        (1, "a", "regions[0].label", "type"),
        (1, "a", "regions[1].box", "value"),
        (1, "a", "regions[2]", "type"),
        (1, "a", "relations[0].object", "index"),
        (1, "a", "relations[2].score", "value"),
        (1, "a", "relations[3].predicate", "missing-key"),
        (1, "a", "relations[3].object", "missing-key"),
        (2, "b", "uri", "type"),
        (2, "b", "regions[0].mask.counts", "mask"),
        (3, "c", "height", "missing-key"),
        (4, "a", "image_id", "duplicate-id"),
        (6, None, "", "json"),
    ]


@QUICK
@given(st.data())
def test_the_lenient_reader_takes_any_line_and_reports_every_spoiled_one(folder: Path, data: st.DataObject) -> None:
    sample = data.draw(samples(image_id="a"))
    value = data.draw(spoiled(orjson.loads(dump_sample(sample))))
    path = folder / "spoiled.jsonl"
    path.write_bytes(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    parts, faults = lenient(path)
    refused = isinstance(outcome(lambda: read_jsonl(path)), str)
    flat = any(not (part.region.box[:, :2] < part.region.box[:, 2:]).all() for part in parts)
    own = any((part.relation.subject == part.relation.object).any() for part in parts)
    assert bool(faults) <= refused
    assert refused <= (bool(faults) or flat or own)
    assert sum(len(part) for part in parts) == 1 or faults


def test_reading_leniently_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="needs `report`"):
        next(read_columns(tmp_path / "x.jsonl", strict=False))
