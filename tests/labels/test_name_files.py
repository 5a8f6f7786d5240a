"""Files of names: what is read of each form, and that a fault is told with its line or entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sgforge.errors import ConfigError
from sgforge.labels.name_files import read_names


@pytest.mark.parametrize(
    "content",
    [
        b"cup\n\nred car\ncup\n",
        b"\xef\xbb\xbfcup\r\n  red car  \r\n",
        b'["cup", "red car", "", "cup"]',
        b'{"label_to_idx": {"red car": 2, "cup": 1}}',
        b'{"thing_classes": ["cup"], "stuff_classes": ["red car"]}',
        b'{"images": [], "categories": [{"id": 7, "name": "cup"}, {"id": 3, "name": "red car"}]}',
    ],
)
def test_names_in_the_order_of_the_file_each_once(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "names").write_bytes(content)
    assert read_names(tmp_path / "names", "labels") == ("cup", "red car")


def test_predicates_of_a_public_file(tmp_path: Path) -> None:
    found: dict[str, Any] = {"predicate_classes": ["on", "in front of"], "thing_classes": [], "stuff_classes": []}
    (tmp_path / "psg").write_text(json.dumps(found))
    assert read_names(tmp_path / "psg", "predicates") == ("on", "in front of")
    (tmp_path / "vg").write_text(json.dumps({"predicate_to_idx": {"on": 2, "at": 1}, "label_to_idx": {"cup": 1}}))
    assert read_names(tmp_path / "vg", "predicates") == ("at", "on")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", ": names nothing: give one name a line"),
        (b"\n \n", "names nothing"),
        (b"[]", "names nothing"),
        (b"cup\ncaf\xe9\n", ", line 2: not UTF-8"),
        (b"cup\nplate\t3\n", r", line 2: 'plate\\t3' has control characters; give one name a line"),
        (b"cup\n\nred car on a wet road at night\n", ", line 3: 'red car on a.*night' is 8 words, not a"),
        (b'["cup", 7]', ", entry 2: 7 is no text"),
        (b'["cup", "a b c d e f g"]', ", entry 2: 'a b c d e f g' is 7 words, not a name of at most 6"),
        (b'{"categories": [{"id": 1}]}', ", entry 1: None is no text"),
        (b'{"x": 1}', "must list texts: one name a line, a JSON list"),
        (b'["cup"\n"car"]', "is not JSON: .*line 2"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "names").write_bytes(content)
    with pytest.raises(ConfigError, match=f"^labels file {tmp_path / 'names'}.*{fault.removeprefix(': ')}"):
        read_names(tmp_path / "names", "labels", most_words=6)


def test_a_file_that_is_not_there_and_long_names_where_no_limit_is_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels file .*nothing cannot be read"):
        read_names(tmp_path / "nothing", "labels")
    (tmp_path / "names").write_text("red car on a wet road at night")
    assert read_names(tmp_path / "names", "labels") == ("red car on a wet road at night",)
