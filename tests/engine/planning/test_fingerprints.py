from __future__ import annotations

import enum
import hashlib
from math import inf, nan
from pathlib import Path

import attrs
import pytest

from sgforge.engine.planning.fingerprints import (
    chain_key,
    differing_options,
    digest_of,
    fingerprint,
    hash_path,
    source_key,
)
from sgforge.errors import ConfigError


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@attrs.frozen
class Inner:
    depth: int = 2


@attrs.frozen
class Options:
    model: str
    rate: float = 0.5
    names: tuple[str, ...] = attrs.field(default=("a",), converter=tuple)
    inner: Inner = attrs.field(factory=Inner)
    size: Size = Size.SMALL
    weights: Path | None = None
    log: str = attrs.field(default="", eq=False)


def test_a_fingerprint_is_the_sha256_of_canonical_json():
    expected = hashlib.sha256('{"a":1,"b":{"c":[true,"é"]}}'.encode()).hexdigest()
    assert fingerprint({"b": {"c": [True, "é"]}, "a": 1, "none": None}) == expected


def test_only_options_that_differ_from_their_defaults_count():
    assert differing_options(Options("m")) == {"model": "m"}
    assert differing_options(Options("m", names=["a"])) == {"model": "m"}
    assert differing_options(Options("m", inner=Inner(2), size=Size.SMALL)) == {"model": "m"}


def test_every_kind_of_option_counts_when_it_differs():
    options = Options("m", 0.25, ["b", "c"], Inner(3), Size.LARGE)
    expected = {"model": "m", "rate": 0.25, "names": ["b", "c"], "inner": {"depth": 3}, "size": "large"}
    assert differing_options(options) == expected


def test_an_endless_or_undefined_number_counts_too():
    found = [fingerprint({"options": differing_options(Options("m", rate))}) for rate in (inf, -inf, nan, 0.25)]
    assert len(set(found)) == 4
    assert fingerprint({"options": differing_options(Options("m", nan))}) == found[2]


@pytest.mark.parametrize("value", [True, 1.0])
def test_an_equal_value_of_another_type_differs_from_the_default(value):
    options = attrs.make_class("Counted", {"count": attrs.field(default=1)}, frozen=True)
    assert differing_options(options(1)) == {}
    found = differing_options(options(value))
    assert type(found["count"]) is type(value)


def test_an_option_that_takes_no_part_in_equality_takes_none_in_the_fingerprint():
    assert differing_options(Options("m", log="somewhere")) == differing_options(Options("m"))


def test_a_file_counts_by_its_contents_and_not_by_its_place(tmp_path):
    one, two = tmp_path / "one.pt", tmp_path / "other" / "two.pt"
    two.parent.mkdir()
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    assert differing_options(Options("m", weights=one)) == differing_options(Options("m", weights=two))
    two.write_bytes(b"weights!")
    assert differing_options(Options("m", weights=one)) != differing_options(Options("m", weights=two))


def test_a_folder_counts_by_names_and_contents(tmp_path):
    for name, files in {"a": {"x": b"1"}, "b": {"x": b"1"}, "c": {"y": b"1"}, "d": {"x": b"2"}}.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
    same, equal, renamed, changed = (hash_path(tmp_path / name) for name in "abcd")
    assert same == equal
    assert len({same, renamed, changed}) == 3


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        differing_options(Options("m", weights=tmp_path / "missing"))


def test_a_key_names_the_whole_chain_of_steps():
    start = source_key(b"d" * 32)
    assert start == hashlib.sha256(b"source\0" + b"d" * 32).digest()[:16]
    one, two = b"1" * 32, b"2" * 32
    assert chain_key(two, chain_key(one, start)) != chain_key(one, chain_key(two, start))
    assert chain_key(one, start) == hashlib.sha256(one + start).digest()[:16]


def test_the_digest_of_keys_depends_on_their_order():
    assert digest_of([b"a" * 32, b"b" * 32]) != digest_of([b"b" * 32, b"a" * 32])
    assert digest_of([]) == hashlib.sha256().hexdigest()
