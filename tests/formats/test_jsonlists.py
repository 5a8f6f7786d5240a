"""Lists of a JSON file, row by row: what json reads as a whole, and as much as there is of broken files."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import sgforge_formats.reading.jsonlists as module
from sgforge_formats.reading.jsonlists import BadRow, JsonLists, NotJsonError, parse_row, read_bytes_at

BLOCKS = pytest.mark.parametrize("block", [1, 7, 1 << 20], ids=["1 byte", "7 bytes", "1 MB"])
"""Blocks of all sizes: a row may begin and end anywhere in one."""


def read(data: bytes, block: int) -> tuple[dict[str | None, list[Any]], list[str], str | None]:
    """All rows by list, the names at the top, and why reading ended early."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        lists = JsonLists(io.BytesIO(data))
        rows: dict[str | None, list[Any]] = {}
        error = None
        try:
            for part in lists:
                known = rows.setdefault(part.key, [])
                assert part.first == len(known)
                for value, start, stop in zip(part.values, part.starts.tolist(), part.stops.tolist(), strict=True):
                    again = parse_row(data[start:stop])
                    assert again == value or repr(again) == repr(value)
                known += part.values
        except NotJsonError as caught:
            error = str(caught)
    return rows, lists.keys, error


texts = st.text(st.sampled_from('a"\\{}[],: é漢\n🐕'), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@BLOCKS
@given(
    st.dictionaries(texts, st.lists(values, max_size=6) | values, max_size=4),
    st.booleans(),
    st.sampled_from([None, 1]),
)
@example({"a": ["\\", "\\\\", '\\"', '"', "[", "]"], "b": "]}", "c": [[]], "d": {}}, True, None)
def test_every_row_of_every_list(block: int, content: dict[str, Any], as_ascii: bool, indent: int | None) -> None:
    data = json.dumps(content, ensure_ascii=as_ascii, indent=indent).encode()
    rows, keys, error = read(data, block)
    assert error is None
    assert keys == list(content)
    assert rows == {key: value for key, value in content.items() if isinstance(value, list) and value}


@BLOCKS
@given(st.lists(values, max_size=6))
def test_a_list_at_the_top(block: int, content: list[Any]) -> None:
    rows, keys, error = read(json.dumps(content).encode(), block)
    assert (rows, keys, error) == ({None: content} if content else {}, [], None)


@BLOCKS
@given(st.lists(st.dictionaries(texts, values, max_size=3), min_size=1, max_size=5), st.data())
def test_a_file_that_ends_in_the_middle_gives_what_stands_before(
    block: int, rows: list[Any], data: st.DataObject
) -> None:
    whole = json.dumps({"rows": rows}).encode()
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    found, _, error = read(cut, block)
    assert error is not None
    read_rows = found.get("rows", [])
    assert read_rows == rows[: len(read_rows)]
    # A row that is followed by a comma or the bracket is never lost.
    assert len(read_rows) >= sum(
        len(json.dumps(rows[: n + 1])) + len('{"rows": ') <= len(cut) for n in range(len(rows))
    )


@BLOCKS
def test_a_row_that_is_no_json_costs_itself(block: int) -> None:
    rows, _, error = read(b'{"a": [1, nope, {"b": 2}, {"c": x}, [3], {"d" 4}, "e\xff"], "f": [5]}', block)
    assert error is None
    assert [value if not isinstance(value, BadRow) else None for value in rows["a"]] == [
        1, None, {"b": 2}, None, [3], None, None
    ]  # fmt: skip
    assert rows["f"] == [5]


@BLOCKS
def test_what_python_writes_beside_json(block: int) -> None:
    ((nan, infinite, half, long),) = read(b'{"a": [NaN, -Infinity, "\\ud800", 123456789012345678901234567890]}', block)[
        0
    ].values()
    assert math.isnan(nan)
    assert (infinite, half) == (-math.inf, "\ud800")
    assert long == pytest.approx(1.2345678901234568e29)


@BLOCKS
def test_a_number_of_any_length_is_exact_when_asked_for(block: int) -> None:
    lists = JsonLists(io.BytesIO(b'[{"id": 1}, {"id": 123456789012345678901234567890}]'))
    (part,) = lists
    assert part.exact(1) == {"id": 123456789012345678901234567890}


@BLOCKS
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"  \n", "the file is empty"),
        (b"<html>", "it begins with b'<"),
        (b"5", "it begins with b'5'"),
        (b"{", "it ends after its first byte"),
        (b'{"a": [1, 2', "it ends in a[1], at byte 11"),
        (b"[1, 2", "it ends in row 1, at byte 5"),
        (b'{"a": {"b": [1,', "it ends in the middle of 'a'"),
        (b'{"a": [1], 5: [2]}', "a name is expected at byte 11"),
        (b'{"a": [1]', "it ends after 'a'"),
        (b'{"a": [1]} {"b": [2]}', "more stands after its end, at byte 10"),
        (b"[" * 2000, "it ends in row 0"),
    ],
)
def test_what_is_wrong_is_told(block: int, data: bytes, message: str) -> None:
    error = read(data, block)[2]
    assert error is not None
    assert error.startswith(message)


@BLOCKS
def test_an_empty_list_and_a_comma_at_its_end(block: int) -> None:
    assert read(b'{"a": [ ], "b": [1, ], "c": []}', block)[0] == {"b": [1]}


@BLOCKS
def test_a_row_larger_than_is_held_is_refused(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "_LARGEST_ROW", 1000)
    rows, _, error = read(b'{"a": [1, [' + b"2," * 3000 + b"2]]}", block)
    assert rows.get("a", [])[:1] == [1] or block == 1 << 20
    if block < 1 << 20:
        assert error is not None
        assert "refused" in error


def test_bytes_of_a_file_wherever_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    with (tmp_path / "a").open("rb") as stream:
        stream.read(4)
        assert read_bytes_at(stream, 2, 5) == b"234"
        assert stream.read() == b"456789"
