"""One line and one sample: exact round trips, and every refusal with its place."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonl.graphs import samples
from pycocotools import mask as coco

from sgforge.errors import GraphError
from sgforge.graph import Region, Relation, Sample, SceneGraph
from sgforge.jsonl import (
    GraphLine,
    dump_sample,
    parse_graph_line,
    parse_line,
    read_jsonl,
    read_lines,
    write_jsonl,
)
from sgforge.masks import from_array

WHERE = "predictions.jsonl:12"
SMALL = {"image_id": "a", "width": 9, "height": 7, "regions": [{}, {}]}


def line(**changes: Any) -> bytes:
    return json.dumps({key: value for key, value in {**SMALL, **changes}.items() if value is not ...}).encode()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(samples(), st.none() | st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_a_sample_comes_back_as_it_was(sample: Sample, failed: str | None) -> None:
    dumped = dump_sample(sample, failed)
    assert dumped.count(b"\n") == 1
    assert parse_graph_line(dumped, WHERE) == GraphLine(sample, failed)
    assert parse_line(dumped, WHERE) == sample


def test_a_line_by_hand() -> None:
    array = np.zeros((7, 9), bool)
    array[2:4, 3:6] = True
    graph = SceneGraph(
        9,
        7,
        [
            Region("cup", (1, 2, 3.5, 4), from_array(array), ("red",), ("small",), 0.7, depth=0.1, parent=1, level=2),
            Region(source="sam", status="rejected", reason="tiny", degree=0.2, made_by="segment", judged_by="rules"),
        ],
        [Relation(0, "on", 1, category="spatial", score=0.9, made_by="complete")],
        {"style": "photo"},
    )
    counts = coco.encode(np.asfortranarray(array.astype(np.uint8)))["counts"].decode()
    assert json.loads(dump_sample(Sample("142238", graph, "coco:a/b.jpg", "train", "seed", "ab" * 32))) == {
        "image_id": "142238",
        "width": 9,
        "height": 7,
        "uri": "coco:a/b.jpg",
        "split": "train",
        "source": "seed",
        "sha256": "ab" * 32,
        "attributes": {"style": "photo"},
        "regions": [
            {
                "label": "cup",
                "box": [1.0, 2.0, 3.5, 4.0],
                "mask": {"size": [7, 9], "counts": counts},
                "descriptions": ["red"],
                "attributes": ["small"],
                "status": "kept",
                "score": 0.7,
                "depth": 0.1,
                "parent": 1,
                "level": 2,
            },
            {
                "label": None,
                "box": None,
                "status": "rejected",
                "degree": 0.2,
                "source": "sam",
                "reason": "tiny",
                "made_by": "segment",
                "judged_by": "rules",
            },
        ],
        "relations": [
            {
                "subject": 0,
                "predicate": "on",
                "object": 1,
                "category": "spatial",
                "status": "kept",
                "score": 0.9,
                "made_by": "complete",
            }
        ],
    }


def test_only_four_keys_are_required_and_null_stands_for_none() -> None:
    assert parse_line(line(), WHERE) == Sample("a", SceneGraph(9, 7, [Region(), Region()]))
    nulls = dict.fromkeys(["label", "box", "mask", "score", "descriptions", "parent", "status", "reason"])
    parsed = parse_line(line(regions=[nulls, {}], relations=None, uri=None, attributes=None, split=None), WHERE)
    assert parsed == Sample("a", SceneGraph(9, 7, [Region(), Region()]))


RELATION = {"subject": 0, "predicate": "on", "object": 1}
COUNTS = coco.encode(np.asfortranarray(np.eye(7, 9, dtype=np.uint8)))["counts"].decode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "not valid JSON"),
        (b'{"image_id": NaN}', "not valid JSON"),
        (b'{"image_id": "\\ud800"}', "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", r"\[\] must be an object"),
        (line(image_id=...), "image_id: is required"),
        (line(image_id=7), "image_id: 7 must be a text"),
        (line(image_id=""), "image_id: must be a non-empty text"),
        (line(width=None), "width: is required"),
        (line(width=640.0), "width: 640.0 must be a whole number"),
        (line(width=True), "width: True must be a whole number"),
        (line(width=-1), "width: -1 must be a number of pixels"),
        (line(width=0), "width: image size 0x7 must be positive, or 0x0"),
        (line(regions=...), "regions: is required"),
        (line(regions={}), "regions: {} must be a list"),
        (line(relation=[]), "relation: unknown key; did you mean 'relations'?"),
        (line(uri=""), "uri: must be a non-empty text"),
        (line(sha256="AB" * 32), "sha256: .* must be 64 lower-case hexadecimal digits"),
        (line(attributes={"a": 1}), "attributes: .* must be an object whose values are texts"),
        (line(failed=1), "failed: 1 must be a text"),
        (line(regions=[{}, 3]), r"regions\[1\]: 3 must be an object"),
        (line(regions=[{"labl": "x"}]), r"regions\[0\]\.labl: unknown key; did you mean 'label'\?"),
        (line(regions=[{"label": 3}]), r"regions\[0\]\.label: 3 must be a text"),
        (line(regions=[{"box": [0, 0, 1]}]), r"regions\[0\]\.box: \[0, 0, 1\] must be four numbers"),
        (line(regions=[{"box": [0, 0, 1, True]}]), "box: .* must be four numbers"),
        (line(regions=[{"box": [2, 0, 1, 1]}]), "box: .* must have x0 < x1 and y0 < y1"),
        (line(regions=[{"box": [0, 0, 0, 1]}]), "box: .* must have x0 < x1 and y0 < y1"),
        (line(regions=[{"box": [0, 0, 1e39, 1]}]), r"box: 1e\+39 is not a finite float32"),
        (line(regions=[{"score": 1.5}]), r"regions\[0\]\.score: 1.5 must be in \[0, 1\]"),
        (line(regions=[{"score": "0.5"}]), "score: '0.5' must be a number"),
        (line(regions=[{"score": True}]), "score: True must be a number"),
        (line(regions=[{"depth": -1e300}]), r"depth: -1e\+300 is not a finite float32"),
        (line(regions=[{"descriptions": "red"}]), "descriptions: 'red' must be a list of texts"),
        (line(regions=[{"attributes": ["a", 1]}]), "attributes: .* must be a list of texts"),
        (line(regions=[{"level": 2.0}]), "level: 2.0 must be a whole number"),
        (line(regions=[{"level": -32768}]), "level: -32768 must fit 16 bits"),
        (line(regions=[{"parent": 0}]), r"regions\[0\]\.parent: region 0 is its own parent"),
        (line(regions=[{"parent": 1}]), "parent: 1 is out of range: the image has 1 region"),
        (line(regions=[{"parent": -1}]), "parent: -1 is out of range"),
        (line(regions=[{"status": "gone"}]), "status: 'gone' must be 'kept' or 'rejected'"),
        (line(regions=[{"mask": "x"}]), "mask: 'x' must be an object with the keys size and counts"),
        (line(regions=[{"mask": {"size": [7, 9], "counts": [63]}}]), "mask: counts must be COCO's compressed"),
        (line(regions=[{"mask": {"size": [9, 7], "counts": COUNTS}}]), r"mask: size \[9, 7\] must be the image's"),
        (
            line(regions=[{}, {"mask": {"size": [7, 9], "counts": "11"}}]),
            r"regions\[1\]\.mask\.counts: its runs do not",
        ),
        (line(regions=[{"mask": {"size": [7, 9], "counts": "P"}}]), "mask.counts: its counts end inside a number"),
        (line(relations=[3]), r"relations\[0\]: 3 must be an object"),
        (line(relations=[{"subject": 0, "object": 1}]), r"relations\[0\]\.predicate: is required"),
        (line(relations=[{**RELATION, "predicate": ""}]), r"relations\[0\]\.predicate: must be a non-empty text"),
        (line(relations=[RELATION, {**RELATION, "subject": 9}]), r"relations\[1\]\.subject: 9 is out of range"),
        (line(relations=[{**RELATION, "object": -1}]), r"relations\[0\]\.object: -1 is out of range"),
        (line(relations=[{**RELATION, "object": 0}]), r"relations\[0\]\.object: .* relates region 0 to itself"),
        (line(relations=[{**RELATION, "subject": 0.0}]), "subject: 0.0 must be a whole number"),
        (line(relations=[{**RELATION, "subject": False}]), "subject: False must be a whole number"),
        (line(relations=[{**RELATION, "category": "odd"}]), "category: 'odd' must be one of unknown, spatial"),
        (line(relations=[{**RELATION, "run": "x"}]), r"relations\[0\]\.run: unknown key"),
    ],
)
def test_a_broken_rule_is_named_with_its_place(raw: bytes, message: str) -> None:
    with pytest.raises(GraphError, match=rf"^{WHERE}: ((regions|relations)\[\d\]\.)?{message}"):
        parse_line(raw, WHERE)


def test_a_mask_that_claims_a_huge_frame_costs_nothing() -> None:
    bomb = {"size": [2**31 - 1, 2**31 - 1], "counts": "0"}
    with pytest.raises(GraphError, match=r"regions\[0\]\.mask: size .* is more than 89,478,485 pixels"):
        parse_line(line(width=0, height=0, regions=[{"mask": bomb}]), WHERE)


def test_seventy_thousand_regions_in_one_image() -> None:
    sample = Sample("many", SceneGraph(9, 7, [Region("x", (0, 0, 1, 1))] * 70_000, [Relation(69_999, "on", 0)]))
    assert parse_line(dump_sample(sample), WHERE) == sample


@pytest.mark.parametrize(
    "code", [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
)
def test_a_sign_that_a_terminal_obeys_is_written_as_an_escape(code: int) -> None:
    label = f"cat{chr(code)}é"
    line = dump_sample(Sample("a", SceneGraph(regions=[Region(label)])))
    assert chr(code) not in line.decode().removesuffix("\n")
    assert "é" in line.decode()
    assert parse_line(line, "").graph.all.regions[0].label == label


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.1, b"0.1"), (1 / 3, b"0.33333334"), (16777217.0, b"16777216.0"), (123.456789, b"123.45679")],
)
def test_numbers_are_written_as_short_as_float32_allows(value: float, written: bytes) -> None:
    assert b'"depth":' + written + b"}" in dump_sample(Sample("a", SceneGraph(regions=[Region(depth=value)])))


def test_half_a_surrogate_pair_cannot_be_written() -> None:
    with pytest.raises(GraphError, match="image 'a' cannot be written as JSON"):
        dump_sample(Sample("a", SceneGraph(regions=[Region("\ud800")])))


def test_files_come_back_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "graphs.jsonl"
    given_samples = [Sample("b", SceneGraph(9, 7)), Sample("a")]
    assert write_jsonl([given_samples[0], GraphLine(given_samples[1], "refused")], path) == 2
    assert list(read_jsonl(path)) == given_samples
    path.write_bytes(b"\n" + path.read_bytes().replace(b"\n", b"\r\n \n"))
    assert [found.failed for found in read_lines(path)] == [None, "refused"]
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(GraphError, match=r"^graphs\.jsonl:6: image_id: is required"):
        list(read_jsonl(path))


def test_a_repeated_image_id_names_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "graphs.jsonl"
    path.write_bytes(line() + b"\n" + line(image_id="b") + b"\n" + line())
    with pytest.raises(GraphError, match=r"^graphs\.jsonl:3: image_id: 'a' stands on line 1 already"):
        list(read_jsonl(path))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "graphs.jsonl"
    path.write_text("before")

    def failing() -> Iterator[Sample]:
        yield Sample("a")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_jsonl(failing(), path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["graphs.jsonl"]


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"none\.jsonl: No such file"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(GraphError, match=r"graphs\.jsonl: No such file"):
        write_jsonl([], tmp_path / "none" / "graphs.jsonl")
