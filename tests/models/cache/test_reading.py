"""Answers as models write them: JSON found where it stands, mended item by item, cut off at any place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.models.cache.answers import check
from sgforge.models.cache.json_text import cut_value, values_in
from sgforge.models.cache.mending import is_whole, mended
from sgforge.models.provider import Reply
from sgforge.models.values import ChatRequest, Message, Reading

ITEM = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "answer": {"type": "string", "enum": ["yes", "no"]},
        "note": {"type": "string"},
        "parts": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["id", "answer", "note", "parts"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": ITEM}},
    "required": ["items"],
    "additionalProperties": False,
}
READING = Reading(optional=["note", "parts"], numbered=["id"], identity=["id"], once=["id"], needed=["items"])
TEXTS = st.text(max_size=12)
ITEMS = st.fixed_dictionaries(
    {
        "id": st.integers(1, 99),
        "answer": st.sampled_from(["yes", "no"]),
        "note": TEXTS,
        "parts": st.lists(st.integers(-5, 5), max_size=3),
    }
)
VALUES = st.fixed_dictionaries({"items": st.lists(ITEMS, min_size=1, max_size=4, unique_by=lambda item: item["id"])})
REQUEST = ChatRequest((Message("user", "?"),), schema=SCHEMA, reading=READING)


def item(number: Any = 1, answer: Any = "yes", note: Any = "n", **more: Any) -> dict[str, Any]:
    return {"id": number, "answer": answer, "note": note, "parts": [], **more}


FRAMES = (
    "{}",
    "\ufeff{}",
    "```json\n{}\n```",
    "```\n{}```",
    "Here is the graph:\n\n```json\n{}\n```\nLet me know!",
    "Sure! {}",
    "{} I hope this helps.",
    "<think>the dog {{x}} is [1]</think>\n\n{}",
    "thought without a beginning</think>{}",
    "Region [2] matters. {}",
)


@given(VALUES, st.sampled_from(FRAMES), st.booleans(), st.sampled_from([None, 1]))
def test_json_is_found_where_models_put_it(value: Any, frame: str, doubled: bool, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    text = json.dumps(text) if doubled and frame == "{}" else text
    checked = check(REQUEST, Reply(frame.format("@").replace("@", text), "stop", None))
    assert (checked.outcome, checked.parsed, checked.mended) == ("ok", value, 0)


@given(VALUES)
def test_commas_before_closing_brackets_are_overlooked(value: Any) -> None:
    text = json.dumps(value, indent=1).replace("\n ]", ",\n ]").replace("\n}", ",\n}")
    # In the texts of notes there are no line ends: JSON writes them as escapes.
    assert values_in(text) == [value]
    assert values_in(f"Well: {text}") == [value]


@given(VALUES, st.data())
def test_of_a_text_cut_anywhere_whole_items_are_kept(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    found = cut_value(cut)
    items = [] if found is None else found["items"]
    whole = [row for row in value["items"] if cut.count(json.dumps(row))]
    assert items[: len(whole)] == whole[: len(items)]
    # What is beyond the whole items is one that lacks its end: it has less of the same.
    for extra, row in zip(items[len(whole) :], value["items"][len(whole) :], strict=False):
        assert {**row, **extra, "parts": row["parts"]} == row
        assert extra["parts"] == row["parts"][: len(extra["parts"])]
    checked = check(REQUEST, Reply(cut, "length", None))
    assert checked.outcome in ("partial", "truncated")
    assert (checked.outcome == "partial") == any("id" in row and "answer" in row for row in items)


@given(VALUES)
def test_a_whole_value_is_whole_whatever_the_server_says(value: Any) -> None:
    assert check(REQUEST, Reply(json.dumps(value), "length", None)).outcome == "ok"


def test_two_different_values_are_no_answer() -> None:
    one, other = (json.dumps({"items": [item(1, word)]}) for word in ("yes", "no"))
    assert check(REQUEST, Reply(f"Either {one} or {other}.", "stop", None)).outcome == "invalid"
    assert check(REQUEST, Reply(f"{one} and again {one}.", "stop", None)).outcome == "ok"


@given(st.text(alphabet='{}[]",:\\ab1 \n', max_size=60))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    # None of these texts holds what was asked for: each is told to be of no use, and none raises.
    assert check(REQUEST, Reply(text, "stop", None)).outcome == "invalid"
    assert check(REQUEST, Reply(text, "length", None)).outcome in ("invalid", "truncated")


MENDED: tuple[tuple[Any, Any], ...] = (
    (item("3"), item(3)),
    (item(3.0), item(3)),
    (item("[3]"), item(3)),
    (item("id 3"), item(3)),
    (item(1, "Yes"), item(1, "yes")),
    (item(1, " NO. "), item(1, "no")),
    (item(1, True), item(1, "yes")),
    (item(note=None), item(note="")),
    ({"id": 1, "answer": "yes", "note": "n"}, item()),
    ({"id": 1, "answer": "yes", "parts": []}, item(note="")),
    (item(parts=None), item()),
    (item(confidence=0.9), item()),
    (item(note=["n"]), item()),
    (json.dumps(item()), item()),
)


@pytest.mark.parametrize(("given_", "right"), MENDED)
def test_what_is_unambiguous_is_mended_and_counted(given_: Any, right: Any) -> None:
    good = item(9)
    checked = check(REQUEST, Reply(json.dumps({"items": [given_, good]}), "stop", None))
    assert (checked.outcome, checked.parsed) == ("ok", {"items": [right, good]})
    assert (checked.mended, checked.dropped) == (1, {})


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        (item("three"), "id"),
        (item(3.5), "id"),
        (item(None), "id"),
        (item([1, 2]), "id"),
        (item(1, "maybe"), "answer"),
        (item(1, None), "answer"),
        ("no object", "items"),
        (7, "items"),
        (None, "items"),
    ],
)
def test_what_is_not_costs_its_item(given_: Any, name: str) -> None:
    good = item(9)
    checked = check(REQUEST, Reply(json.dumps({"items": [good, given_]}), "stop", None))
    assert (checked.outcome, checked.parsed) == ("ok", {"items": [good]})
    assert (checked.mended, checked.dropped) == (0, {name: 1})
    # Where nothing else is in it, nothing of use is left.
    assert check(REQUEST, Reply(json.dumps({"items": [given_]}), "stop", None)).outcome == "invalid"


def test_a_list_alone_and_an_item_alone_are_what_they_stand_for() -> None:
    for text in (json.dumps([item()]), json.dumps({"items": item()})):
        assert check(REQUEST, Reply(text, "stop", None)).parsed == {"items": [item()]}


def test_two_items_of_one_number_are_neither() -> None:
    value = {"items": [item(1), item(1, "no"), item(2)]}
    checked = check(REQUEST, Reply(json.dumps(value), "stop", None))
    assert (checked.parsed, checked.dropped) == ({"items": [item(2)]}, {"clash": 2})
    # Where a number may stand twice, two are dropped only if mending made them one.
    often = Reading(identity=["id"])
    assert mended(SCHEMA, value, often).value == value
    assert mended(SCHEMA, {"items": [item(1), item("1"), item(2)]}, often).value == {"items": [item(2)]}


@given(st.integers(1, 8))
def test_numbers_that_count_from_0_are_believed_by_nobody(count: int) -> None:
    value = {"items": [item(number) for number in range(count)]}
    checked = check(REQUEST, Reply(json.dumps(value), "stop", None))
    assert checked.outcome == "invalid"
    assert "count from 0" in checked.detail


def test_a_list_that_must_hold_something_does() -> None:
    for text in ('{"items": []}', "{}", '{"items": null}'):
        assert check(REQUEST, Reply(text, "stop", None)).outcome == "invalid"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["items", "id", "answer", "note", "parts", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_value_is_either_of_the_schema_in_the_end_or_of_no_use(value: Any) -> None:
    from jsonschema import Draft202012Validator

    checked = check(REQUEST, Reply(json.dumps(value), "stop", None))
    if checked.outcome == "ok":
        assert Draft202012Validator(SCHEMA).is_valid(checked.parsed)
        assert checked.parsed["items"]
    else:
        assert checked.outcome == "invalid"
        assert checked.detail


@pytest.mark.parametrize(
    ("schema", "whole"),
    [
        (SCHEMA, True),
        ({"type": "string"}, True),
        ({"type": "array", "items": {"type": "integer"}}, True),
        ({"type": "array"}, False),
        ({"type": "object"}, False),
        ({"type": "integer", "minimum": 1}, False),
        ({"type": ["string", "null"]}, False),
        ({"anyOf": [{"type": "string"}]}, False),
        ({"type": "object", "properties": {}, "required": ["x"]}, False),
        ({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}, False),
        ({"type": "integer", "enum": [1, 2]}, False),
        ({"type": "string", "enum": ["a", 1]}, False),
    ],
)
def test_a_validator_is_spared_only_where_mending_sees_to_everything(schema: Any, whole: bool) -> None:
    assert is_whole(schema) == whole
