"""Lines that writers get wrong, by hand: what both readers make of them, in one and the same way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pycocotools import mask as coco

from sgforge.errors import GraphError
from sgforge.graph import Mask, Region, Sample, SceneGraph
from sgforge.jsonl import LineFault, read_columns, read_jsonl, write_jsonl

Read = Callable[[Path], list[Sample]]
EMPTY = Mask(7, 9, 0, 0, 0, 0, b"")


def line(regions: str = "[]", relations: str = "[]", more: str = "", image_id: str = '"a"') -> bytes:
    head = f'"image_id": {image_id}, "width": 9, "height": 7'
    return f'{{{head}, "regions": {regions}, "relations": {relations}{more}}}'.encode()


def sample(*regions: Region, image_id: str = "a") -> Sample:
    return Sample(image_id, SceneGraph(9, 7, regions))


def mask(counts: str) -> bytes:
    return line(f'[{{"mask": {{"size": [7, 9], "counts": "{counts}"}}}}]')


def by_objects(path: Path) -> list[Sample]:
    return list(read_jsonl(path))


def by_columns(path: Path) -> list[Sample]:
    return [found for columns in read_columns(path, chunk_images=2) for found in columns.samples()]


READERS = pytest.mark.parametrize("read", [by_objects, by_columns])

ACCEPTED = {
    "negative zero": (line('[{"box": [-0.0, 0, 1, 1]}]'), [sample(Region(box=(0, 0, 1, 1)))]),
    "less than float32 can hold": (line('[{"score": 1e-400, "depth": 1e-46}]'), [sample(Region(score=0, depth=0))]),
    "a whole number past 64 bits": (line('[{"depth": 18446744073709551616}]'), [sample(Region(depth=2.0**64))]),
    "a surrogate pair": (line('[{"label": "\\ud83d\\ude00"}]'), [sample(Region("\U0001f600"))]),
    "a line separator inside a text": (line('[{"label": "a\u2028b"}]'), [sample(Region("a\u2028b"))]),
    "carriage returns": (line() + b"\r\n" + line(image_id='"b"') + b"\r\n", [sample(), sample(image_id="b")]),
    "blank lines": (b"\n \t\n" + line() + b"\n\n", [sample()]),
    "no last line end": (line() + b"\n" + line(image_id='"b"'), [sample(), sample(image_id="b")]),
    "a mask whose runs end in zero": (mask("o10"), [sample(Region(mask=EMPTY))]),
    "parents in a circle": (line('[{"parent": 1}, {"parent": 0}]'), [sample(Region(parent=1), Region(parent=0))]),
    "nothing at all": (b"", []),
}  # fmt: skip


@READERS
@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_odd_but_right_is_read(tmp_path: Path, read: Read, case: str) -> None:
    raw, expected = ACCEPTED[case]
    path = tmp_path / "graphs.jsonl"
    path.write_bytes(raw)
    assert read(path) == expected
    again = tmp_path / "again.jsonl"
    write_jsonl(expected, again)
    assert read(again) == expected


REFUSED = {
    "two bytes a sign, unmarked": (line().decode().encode("utf-16-le"), r"1: not valid JSON"),
    "half a surrogate pair": (line('[{"label": "\\ud83d"}]'), r"1: not valid JSON: no low surrogate"),
    "old line ends": (line() + b"\r" + line(image_id='"b"'), r"1: not valid JSON: unexpected content"),
    "two on a line": (line() + line(image_id='"b"'), r"1: not valid JSON: unexpected content"),
    "an array of lines": (b"[" + line() + b",\n" + line() + b"]", r"1: not valid JSON"),
    "nested too deep": (line("[" * 100_000 + "]" * 100_000), r"1: not valid JSON: depth limit"),
    "more than a double": (line('[{"depth": 1e400}]'), r"1: not valid JSON: number is infinity"),
    "a line end in a text": (line('[{"label": "a\nb"}]'), r"1: not valid JSON"),
    "a whole number past 64 bits": (line('[{"parent": 18446744073709551616}]'), r"1: regions\[0\]\.parent: .* whole"),
    "a box of boxes": (line('[{"box": [[0, 0], [1, 1]]}]'), r"1: regions\[0\]\.box: .* must be four numbers"),
    "null in a box": (line('[{"box": [null, 0, 1, 1]}]'), r"1: regions\[0\]\.box: .* must be four numbers"),
    "runs as a list": (line('[{"mask": {"size": [7, 9], "counts": [63]}}]'), r"1: regions\[0\]\.mask: counts must be"),
    "no runs": (mask(""), r"1: regions\[0\]\.mask\.counts: its runs do not fill its frame"),
    "a space in the runs": (mask("o 1"), r"1: regions\[0\]\.mask\.counts: its counts hold a byte outside"),
    "a run without end": (mask("o" * 40 + "0"), r"1: regions\[0\]\.mask\.counts: its counts hold .* impossibly long"),
    "null for a text": (line(more=', "attributes": {"a": null}'), r"1: attributes: .* values are texts"),
    "a number for an id": (line(image_id="7"), r"1: image_id: 7 must be a text"),
    "the same id again": (line() + b"\n\n" + line(), r"3: image_id: 'a' stands on line 1 already"),
}  # fmt: skip


@READERS
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, read: Read, case: str) -> None:
    raw, message = REFUSED[case]
    path = tmp_path / "graphs.jsonl"
    path.write_bytes(raw)
    with pytest.raises(GraphError, match=rf"^graphs\.jsonl:{message}"):
        read(path)


@READERS
@pytest.mark.parametrize(("width", "is_read"), [(8_947, True), (8_948, False)])
def test_a_mask_of_a_89_million_pixels_is_the_largest(tmp_path: Path, read: Read, width: int, is_read: bool) -> None:
    empty = coco.frPyObjects({"size": [10_000, width], "counts": [10_000 * width]}, 10_000, width)
    row = {"size": [10_000, width], "counts": empty["counts"].decode()}
    data = {"image_id": "a", "width": 0, "height": 0, "regions": [{"mask": row}]}
    path = tmp_path / "graphs.jsonl"
    path.write_text(json.dumps(data))
    if is_read:
        assert read(path)[0].graph.all.regions[0].mask == Mask(10_000, width, 0, 0, 0, 0, b"")
        return
    with pytest.raises(GraphError, match=r"regions\[0\]\.mask: size .* is more than 89,478,485 pixels"):
        read(path)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "UTF-16, little end first": lambda raw: b"\xff\xfe" + raw.decode().encode("utf-16-le"),
    "UTF-16, big end first": lambda raw: b"\xfe\xff" + raw.decode().encode("utf-16-be"),
    "UTF-32": lambda raw: raw.decode().encode("utf-32"),
    "gzip": gzip.compress,
    "gzip of UTF-16": lambda raw: gzip.compress(raw.decode().encode("utf-16")),
}


@READERS
@pytest.mark.parametrize("form", FORMS)
def test_texts_as_people_have_them(tmp_path: Path, read: Read, form: str) -> None:
    raw = '{"image_id": "\u00e9", "width": 8, "height": 6, "regions": []}\n'.encode()
    path = tmp_path / "graphs.jsonl.gz"
    path.write_bytes(FORMS[form](raw + b"\n" + raw.replace("\u00e9".encode(), "\u6f22".encode())))
    assert [sample.image_id for sample in read(path)] == ["\u00e9", "\u6f22"]
    assert list(tmp_path.iterdir()) == [path]


@READERS
def test_an_archive_bomb_is_refused(tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sgforge.utf8._ALWAYS_TAKEN", 1 << 20)
    path = tmp_path / "graphs.jsonl.gz"
    path.write_bytes(gzip.compress(bytes(1 << 23)))
    with pytest.raises(GraphError, match=r"^graphs\.jsonl\.gz holds more than 200 times its own size: refused"):
        read(path)


@READERS
def test_a_packed_file_that_is_cut_off(tmp_path: Path, read: Read) -> None:
    """What is there is read, the line in which it ends is told."""
    path = tmp_path / "graphs.jsonl.gz"
    lines = [line(image_id=f'"{number * 7919 % 100_003}"') for number in range(3000)]
    path.write_bytes(gzip.compress(b"\n".join(lines), mtime=0)[:-2000])
    with pytest.raises(GraphError, match=r"^graphs\.jsonl\.gz:[12]\d\d\d: not valid JSON"):
        read(path)


def leniently(path: Path, raw: bytes) -> tuple[list[str], list[tuple[int, str | None, str, str]]]:
    """Ids of the images that are kept, and (line, image id, path, reason) of each fault."""
    path.write_bytes(raw)
    faults: list[LineFault] = []
    ids = [one for part in read_columns(path, strict=False, report=faults.append) for one in part.image.ids]
    return ids, [(fault.line, fault.image_id, fault.path, fault.reason) for fault in faults]


def test_an_image_that_stands_twice_counts_once_for_an_evaluator_even_where_a_line_holds_nan(tmp_path: Path) -> None:
    nan = line('[{"box": [NaN, 0, 1, 1]}]')
    ids, faults = leniently(tmp_path / "a.jsonl", nan + b"\n" + nan + b"\n" + line())
    assert ids == ["a"]
    assert faults == [
        (1, "a", "regions[0].box", "value"),
        (2, "a", "image_id", "duplicate-id"),
        (3, "a", "image_id", "duplicate-id"),
    ]


def test_nan_and_infinity_cost_an_evaluator_the_field_that_holds_them(tmp_path: Path) -> None:
    relation = '{"subject": 0, "predicate": "on", "object": 1'
    raw = line(
        '[{"depth": -Infinity, "score": NaN, "box": [0, Infinity, 1, 1]}, {"depth": 1e400}]',
        f'[{relation}, "score": NaN}}, {relation}}}]',
    )
    ids, faults = leniently(tmp_path / "a.jsonl", raw)
    assert ids == ["a"]
    assert [fault[2:] for fault in faults] == [
        ("regions[0].depth", "value"),
        ("regions[0].score", "value"),
        ("regions[0].box", "value"),
        ("regions[1].depth", "value"),
        ("relations[0].score", "value"),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        line('[{"label": "\\ud83d", "descriptions": ["\\ud83d"]}]'),
        line(image_id='"\\ud83d"'),
        line().decode().encode("utf-16-le"),
        line("[" * 100_000 + "]" * 100_000),
        line('[{"depth": 1' + "0" * 5000 + ', "score": NaN}]'),
    ],
    ids=["half a surrogate pair", "half a pair in the id", "unmarked utf-16", "deep", "long number beside NaN"],
)
def test_a_line_that_is_no_json_costs_an_evaluator_that_line_alone(tmp_path: Path, raw: bytes) -> None:
    ids, faults = leniently(tmp_path / "a.jsonl", raw + b"\n" + line(image_id='"good"'))
    assert ids == ["good"]
    assert faults[0] == (1, None, "", "json")


@READERS
def test_two_megabytes_of_run_lengths_for_a_small_mask_are_refused_unread(tmp_path: Path, read: Read) -> None:
    region = {"label": "a", "box": [0, 0, 5, 5], "mask": {"size": [100, 100], "counts": "01" * 1_000_000}}
    path = tmp_path / "graphs.jsonl"
    path.write_text(json.dumps({"image_id": "x", "width": 100, "height": 100, "regions": [region]}))
    with pytest.raises(GraphError, match=r"regions\[0\]\.mask: counts of 2,000,000 characters are longer than those"):
        read(path)
