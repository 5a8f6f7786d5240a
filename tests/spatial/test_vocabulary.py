from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgforge.spatial import VOCABULARY, are_contradictory, canonical, inverse, predicate_named
from sgforge.spatial.reference import reference


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("left of", "left of"),
        ("is to the left of", "left of"),
        ("To the Left Of", "left of"),
        ("on the left side of", "left of"),
        ("at the left side of", "left of"),
        ("at the right side of", "right of"),
        ("to_the_right_of", "right of"),
        ("directly above", "above"),
        ("beneath", "under"),
        ("underneath", "under"),
        ("on top of", "on"),
        ("is on", "on"),
        ("in", "inside"),
        ("in the middle of", "inside"),
        ("within", "inside"),
        ("surrounding", "contains"),
        ("has as a part", "has part"),
        ("is a part of", "part of"),
        ("in-front-of", "in front of"),
        ("in the back of", "behind"),
        ("beside", "next to"),
        ("at the side of", "next to"),
        ("adjacent to", "next to"),
        ("near", "near"),
        ("close to", "near"),
        ("far away from", "far from"),
        ("in contact with", "touching"),
        ("  overlaps  ", "overlapping"),
    ],
)
def test_free_text_finds_its_predicate(text: str, name: str) -> None:
    found = canonical(text)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "text",
    ["holding", "sitting on", "of", "has", "with", "", "left", "right", "the", "is", "on the phone with", "\x1b[31mon"],
)
def test_other_texts_are_no_spatial_predicate(text: str) -> None:
    assert canonical(text) is None
    assert inverse(text) is None


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    found = canonical(text)
    assert found is None or found is VOCABULARY[found.name]


def test_no_text_means_two_predicates() -> None:
    texts = [text for predicate in VOCABULARY.values() for text in (predicate.name, *predicate.synonyms)]
    assert len(texts) == len(set(texts))
    for predicate in VOCABULARY.values():
        for text in (predicate.name, *predicate.synonyms):
            assert canonical(text) is predicate
            assert canonical(f"Is {text}") is predicate


def test_inverses_come_in_couples_and_exclusions_go_both_ways_round() -> None:
    for predicate in VOCABULARY.values():
        back = VOCABULARY[predicate.inverse]
        assert back.inverse == predicate.name
        assert predicate.symmetric == (back is predicate)
        assert back.needs_depth == predicate.needs_depth
        assert predicate.name not in predicate.excludes
        for other in predicate.excludes:
            # a P b excludes a Q b exactly when b P' a excludes b Q' a.
            assert are_contradictory(predicate.inverse, VOCABULARY[other].inverse)


def test_inverse_and_symmetry_by_example() -> None:
    assert inverse("to the left of") == "right of"
    assert inverse("on") == "supporting"
    assert inverse("beside") == "next to"
    assert VOCABULARY["next to"].symmetric
    assert not VOCABULARY["inside"].symmetric


def test_contradictions_by_example() -> None:
    assert are_contradictory("on", "under")
    assert are_contradictory("to the left of", "right of")
    assert are_contradictory("in", "containing")
    assert not are_contradictory("left of", "above")
    assert not are_contradictory("on", "on top of")
    assert not are_contradictory("holding", "under")


def test_an_unknown_predicate_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'holding' is no spatial predicate.*left of"):
        predicate_named("holding")


def test_the_printed_reference_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "spatial.md"
    assert page.read_text(encoding="utf-8") == reference()
