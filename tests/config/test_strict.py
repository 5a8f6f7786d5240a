"""Strict structuring: a value has its type or is a fault; nothing is converted on the quiet."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.config.faults import render_path
from sgforge.config.strict import structure, unstructure
from sgforge.errors import PluginError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    depth: int = 1


@attrs.frozen
class Everything:
    flag: bool = False
    count: int = 0
    ratio: float = 0.5
    name: str = ""
    path: Path = Path()
    mode: Literal["fast", "good"] = "fast"
    number: Literal[1, 2] = 1
    colour: Colour = Colour.RED
    maybe: int | None = None
    either: int | float = 0
    or_whole: float | int = 0
    size: int | Literal["auto"] = "auto"
    words: tuple[str, ...] = ()
    pair: tuple[int, int] = (0, 0)
    items: list[int] = attrs.field(factory=list)
    several: Sequence[str] = ()
    unique: frozenset[str] = frozenset()
    weights: Mapping[str, float] = attrs.field(factory=dict)
    inner: Inner = attrs.field(factory=Inner)
    inners: tuple[Inner, ...] = ()
    anything: Any = None


def fault_of(**given):
    typed, faults = structure(given, Everything)
    assert typed is None
    [fault] = faults
    return f"{render_path(fault.where)}: {fault.message}"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("flag", True, True),
        ("count", 3, 3),
        ("ratio", 3, 3.0),
        ("ratio", 0.25, 0.25),
        ("name", "x", "x"),
        ("path", "a/b", Path("a/b")),
        ("mode", "good", "good"),
        ("number", 2, 2),
        ("colour", "blue", Colour.BLUE),
        ("maybe", 4, 4),
        ("either", 3, 3),
        ("either", 2.5, 2.5),
        ("or_whole", 3, 3),
        ("or_whole", 2.5, 2.5),
        ("size", "auto", "auto"),
        ("size", 5, 5),
        ("words", ["a", "b"], ("a", "b")),
        ("pair", [1, 2], (1, 2)),
        ("items", [1, 2], [1, 2]),
        ("several", ["a"], ("a",)),
        ("unique", ["a", "a"], frozenset("a")),
        ("weights", {"a": 1}, {"a": 1.0}),
        ("inner", {"depth": 3}, Inner(3)),
        ("inners", [{"depth": 3}, {}], (Inner(3), Inner(1))),
        ("anything", [1, "x"], [1, "x"]),
    ],
)
def test_right_values(key, value, expected):
    typed, faults = structure({key: value}, Everything)
    assert faults == ()
    found = getattr(typed, key)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("flag", "false", "flag: must be true or false, not 'false'"),
        ("flag", 1, "flag: must be true or false, not 1"),
        ("count", 3.7, "count: must be a whole number, not 3.7"),
        ("count", 3.0, "count: must be a whole number, not 3.0"),
        ("count", "3", "count: must be a whole number, not '3'"),
        ("count", True, "count: must be a whole number, not true"),
        ("ratio", True, "ratio: must be a number, not true"),
        ("ratio", "0.5", "ratio: must be a number, not '0.5'"),
        ("name", 5, "name: must be a text, not 5"),
        ("name", None, "name: must be a text, not None"),
        ("path", 5, "path: must be a path (a text), not 5"),
        ("path", "", "path: must be a path (a text), not ''"),
        ("path", "a\0b", r"path: must be a path (a text), not 'a\x00b'"),
        ("mode", "god", "mode: must be one of 'fast', 'good', not 'god'"),
        ("number", True, "number: must be one of 1, 2, not true"),
        ("colour", "green", "colour: must be one of 'red', 'blue', not 'green'"),
        ("maybe", "4", "maybe: must be a whole number, not '4'"),
        ("either", "4", "either: must be a whole number or must be a number, not '4'"),
        ("size", "big", "size: must be a whole number or must be one of 'auto', not 'big'"),
        ("words", "abc", "words: must be a list, not 'abc'"),
        ("words", ["a", 3], "words[1]: must be a text, not 3"),
        ("pair", [1, 2, 3], "pair: must be a list of 2, not [1, 2, 3]"),
        ("items", {"a": 1}, "items: must be a list, not {'a': 1}"),
        ("several", "abc", "several: must be a list, not 'abc'"),
        ("weights", {"a": "x"}, "weights.a: must be a number, not 'x'"),
        ("weights", [1], "weights: must be a table, not [1]"),
        ("inner", 3, "inner: must be a table, not 3"),
        ("inner", {"dpth": 3}, "inner.dpth: unknown key; did you mean 'depth'?"),
        ("inners", [{}, {"depth": "x"}], "inners[1].depth: must be a whole number, not 'x'"),
        ("nmae", "x", "nmae: unknown key; did you mean 'name'?"),
    ],
)
def test_wrong_values(key, value, expected):
    assert fault_of(**{key: value}) == expected


def test_all_faults_at_once():
    _, faults = structure({"flag": 1, "words": [1, 2], "inner": {"depth": None, "x": 1}, "zzz": 0}, Everything)
    assert sorted(render_path(fault.where) for fault in faults) == [
        *("flag", "inner.depth", "inner.x", "words[0]", "words[1]", "zzz"),
    ]


def one_to_five(instance, attribute, value):
    if not 1 <= value <= 5:
        raise ValueError(f"{attribute.name} must be from 1 to 5, not {value}")


def above_low(instance, attribute, value):
    if value <= instance.low:
        raise ValueError("high must be above low")


@attrs.frozen
class Checked:
    required: str
    low: int = attrs.field(default=1, validator=one_to_five)
    high: int = attrs.field(default=5, validator=above_low)
    names: tuple[str, ...] = attrs.field(default=("a",), converter=tuple, validator=attrs.validators.min_len(1))


def test_validators_are_located_and_hide_nothing():
    _, faults = structure({"low": 9, "names": [], "hgh": 3}, Checked)
    found = {render_path(fault.where): fault.message for fault in faults}
    assert found.keys() == {"required", "low", "names", "hgh"}
    assert found["required"] == "missing, and it has no default"
    assert found["low"] == "low must be from 1 to 5, not 9"


def test_a_validator_over_two_fields_works():
    assert structure({"required": "x", "low": 2, "high": 3}, Checked)[1] == ()
    _, [fault] = structure({"required": "x", "low": 4, "high": 3}, Checked)
    assert fault.message == "high must be above low"


@pytest.mark.parametrize("value", [None, 3, "text", ["list"]])
def test_what_is_no_table_is_a_fault(value):
    _, [fault] = structure(value, Everything)
    assert fault.message == f"must be a table, not {value!r}"


def test_a_type_that_is_not_usable_is_the_authors_fault():
    with pytest.raises(PluginError, match="type that no config can hold"):
        structure({"x": 1}, attrs.make_class("Odd", {"x": attrs.field(type=object())}))
    with pytest.raises(PluginError, match="type that no config can hold"):
        structure({"x": 1}, attrs.make_class("Odd", {"x": attrs.field(type="NoSuchName")}))


plain = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=3), st.just("fast")
)
values = st.recursive(plain, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3))


@given(st.sampled_from([field.name for field in attrs.fields(Everything)]), values)
def test_any_value_is_typed_or_a_fault_and_round_trips(key, value):
    typed, faults = structure({key: value}, Everything)
    assert (typed is None) == bool(faults)
    if typed is not None:
        again, none = structure(unstructure(typed), Everything)
        assert none == ()
        assert again == typed
