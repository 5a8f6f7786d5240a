"""The word of a judge, however it is written, and P(yes) from the tokens that speak for it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge_openai.answers import read_chat
from sgforge_svg.yes_no import degree_of_word

FRAMES = (
    *("{}", " {}\n", "**{}**", '"{}"', "{}.", "{}!", "- {}", "`{}`", "*{}*", "> {}", "# {}", "'{}'", "\ufeff{}"),
    *("{}, the image shows this.", "{} - it does.", "Answer: {}", "The answer is {}.", "Final answer: **{}**"),
    *(
        "<answer>{}</answer>",
        '{{"answer": "{}"}}',
        '{{"claim": 3, "answer": "{}."}}',
        '```json\n{{"answer": "{}"}}\n```',
    ),
    *("<think>no? yes? no</think>{}", "it might be no, yes</think>\n\n{}", '["{}"]'),
)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("word", "degree"), [("yes", 1.0), ("no", 0.0)])
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_the_word_is_found(frame: str, word: str, degree: float, case: Any) -> None:
    assert degree_of_word(frame.format(case(word))) == degree


@pytest.mark.parametrize(
    "text",
    [
        *("", "maybe", "It shows a dog.", "yesterday", "nobody", "now", "I cannot say yes or no", "not really", "no2"),
        *("<think>yes, it seems", '{"answer": "maybe"}', '{"a": "yes", "b": "no"}', "Unclear: yes and no", "**", "{"),
    ],
)
def test_what_is_no_word_is_none(text: str) -> None:
    assert degree_of_word(text) is None


@given(st.text())
def test_any_text_is_a_degree_or_none(text: str) -> None:
    assert degree_of_word(text) in (None, 0.0, 1.0)


def reply_of(entries: Any, text: str = "no") -> Any:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": entries}}]}
    return read_chat(json.dumps(body).encode()).tokens


def entry(token: str, **top: float) -> dict[str, Any]:
    """A token and what else might have stood there, with the probabilities of each."""
    listed = [{"token": name, "logprob": math.log(p)} for name, p in top.items()]
    return {"token": token, "logprob": -0.1, "top_logprobs": listed}


SAID = entry("no", no=0.9, yes=0.05)


@pytest.mark.parametrize(
    "before",
    [
        *(["\n"], [" ", "\n\n"], ["**"], ['"'], ["\u2581"], ["\u0120"], ["<think>"], ["<think>", "\n"], ["``", "`\n"]),
        *(
            ["<think>", "yes", " it", " is", "</think>", "\n\n"],
            ["thought", "yes", "</think>"],
            ['{"'],
        ),
    ],
)
def test_probabilities_are_of_the_first_token_that_says_something(before: list[str]) -> None:
    leading = [entry(token, **{"yes": 0.9, "no": 0.01}) for token in before]
    assert reply_of([*leading, SAID]) == {"no": pytest.approx(0.9), "yes": pytest.approx(0.05)}


@pytest.mark.parametrize("number", [None, "-0.1", "-Infinity", float("nan"), 5.0, True, [], {}])
def test_a_logarithm_that_is_none_makes_no_probability(number: Any) -> None:
    top = [{"token": "no", "logprob": -0.1}, {"token": "yes", "logprob": number}]
    assert reply_of([{"token": "no", "logprob": -0.1, "top_logprobs": top}]) is None


@pytest.mark.parametrize(
    "entries",
    [
        *(
            None,
            {},
            [],
            "no",
            5,
            [None],
            ["no"],
            [{}],
            [{"token": None}],
            [{"token": "no", "top_logprobs": {"no": -0.1}}],
        ),
        *(
            [{"token": "no", "logprob": -0.1}],
            [{"token": "no", "top_logprobs": []}],
            [{"token": "no", "top_logprobs": None}],
        ),
        [{"token": "no", "top_logprobs": [{"logprob": -0.1}]}],
    ],
)
def test_what_holds_no_probabilities_gives_none(entries: Any) -> None:
    assert reply_of(entries) is None


def test_spellings_of_a_token_that_stand_twice_are_added() -> None:
    top = [{"token": "no", "logprob": math.log(0.5)}, {"token": "no", "logprob": math.log(0.25)}]
    assert reply_of([{"token": "no", "logprob": -0.1, "top_logprobs": top}]) == {"no": pytest.approx(0.75)}
