"""Token counts as servers send them: read where they can be, and never below what was billed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.models import Usage
from sgforge.models.wire.bodies import MOST_TOKENS, token_count
from sgforge_anthropic.wire import message_usage
from sgforge_openai.answers import chat_usage

COUNTS = st.integers(0, MOST_TOKENS)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(max_size=8),
    st.sampled_from(
        ["12", "12.0", "-3", "1e3", 10**20, -(10**20), 0.5, float("nan"), float("inf"), [], {}, [3], "null"]
    ),
)
FIELDS = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
    *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    "output_tokens_details",
)


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (12, 12), ("12", 12), (" 12 ", 12), (12.0, 12), ("12.0", 12), (MOST_TOKENS, MOST_TOKENS)],
)
def test_a_count_is_read_where_it_can_be(value: Any, count: int) -> None:
    assert token_count(value) == count


@pytest.mark.parametrize(
    "value", [None, True, False, -1, 12.5, "12.5", "-3", "twelve", "", 10**20, -5.0, [], {}, "1e3"]
)
def test_what_is_no_count_is_none(value: Any) -> None:
    assert token_count(value) is None
    assert token_count(float("nan")) is None
    assert token_count(float("inf")) is None


@given(st.dictionaries(st.sampled_from(FIELDS), ODD) | ODD)
def test_odd_usage_is_a_usage_of_counts_or_none(content: Any) -> None:
    for read in (chat_usage, message_usage):
        usage = read(content)
        if usage is not None:
            fields = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
            assert all(type(field) is int and 0 <= field <= 2 * MOST_TOKENS for field in fields)
            assert usage.reasoning <= usage.output


@given(COUNTS, COUNTS, st.sampled_from([str, float, int]))
def test_good_counts_are_read_in_any_form(given_: int, written: int, form: Any) -> None:
    content = {"prompt_tokens": form(given_), "completion_tokens": form(written)}
    assert chat_usage(content) == Usage(input=given_, output=written)
    assert chat_usage(json.loads(json.dumps(content))) == Usage(input=given_, output=written)
    assert message_usage({"input_tokens": form(given_), "output_tokens": form(written)}) == Usage(
        input=given_, output=written
    )


@given(COUNTS, st.integers(0, 1000), st.sampled_from(["prompt_tokens", "completion_tokens"]))
def test_what_a_total_tells_is_not_lost(given_: int, written: int, missing: str) -> None:
    total = min(given_ + written, MOST_TOKENS)
    content = {"prompt_tokens": given_, "completion_tokens": total - given_, "total_tokens": total}
    if total >= given_:
        assert chat_usage({**content, missing: None}) == Usage(input=given_, output=total - given_)


def test_the_thinking_that_only_a_total_tells_is_paid() -> None:
    content = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 510}
    assert chat_usage(content) == Usage(input=100, output=410)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "many",
        {},
        {"total_tokens": 1100},
        {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None},
        {"prompt_tokens": 1000, "completion_tokens": -5_000_000},
        {"prompt_tokens": 10**20, "completion_tokens": 5},
        {"prompt_tokens": 0.5, "completion_tokens": 5},
    ],
)
def test_counts_that_cannot_be_believed_are_no_usage(content: Any) -> None:
    assert chat_usage(content) is None


def test_details_that_cannot_be_believed_are_left_out() -> None:
    counts = {"prompt_tokens": 100, "completion_tokens": 10}
    for details in ([], "x", {"cached_tokens": 500}, {"cached_tokens": "many"}, {"cached_tokens": -4}):
        assert chat_usage({**counts, "prompt_tokens_details": details}) == Usage(input=100, output=10)
    assert chat_usage({**counts, "completion_tokens_details": {"reasoning_tokens": 99}}) == Usage(
        input=100, output=10, reasoning=10
    )
    # Here what was cached comes on top: without its number nobody knows what was paid.
    message = {"input_tokens": 100, "output_tokens": 10}
    assert message_usage({**message, "cache_read_input_tokens": None}) == Usage(input=100, output=10)
    assert message_usage({**message, "cache_creation_input_tokens": -1}) is None
    assert message_usage({**message, "output_tokens_details": []}) == Usage(input=100, output=10)
