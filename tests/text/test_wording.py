"""Counts, ordinals, articles."""

from __future__ import annotations

import pytest

from sgforge.text.wording import counted, ordinal, shortened, with_article


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (11, "11 images"), (-1, "-1 images")]
)
def test_one_is_singular(count: int, text: str) -> None:
    assert counted(count, "image") == text


def test_another_plural() -> None:
    assert (counted(1, "box", "boxes"), counted(3, "box", "boxes")) == ("1 box", "3 boxes")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0th"),
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (10, "10th"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (22, "22nd"),
        (23, "23rd"),
        (101, "101st"),
        (111, "111th"),
        (112, "112th"),
        (213, "213th"),
    ],
)
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


@pytest.mark.parametrize(
    ("noun", "text"), [("editor", "an editor"), ("filter", "a filter"), ("Edit", "an Edit"), ("", "a ")]
)
def test_articles(noun: str, text: str) -> None:
    assert with_article(noun) == text


def test_long_values_lose_their_middle() -> None:
    assert shortened("train") == "'train'"
    assert len(shortened("x" * 9999)) < 60
    assert len(shortened(list(range(9999)))) < 60
