"""Free text to a vocabulary: rules, similarity, cache, and the real encoder where it is installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sgforge.errors import ConfigError
from sgforge.labels import LabelMapper, encoder_named, lemma_key, normalized

WORDS = ["person", "wall-other-merged", "standing on", "riding", "glass", "bus"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(("dogs", "dog"), ("two people", "person"), ("buses", "bus"), ("glasses", "glass"), ("knives", "a knife")),
        *(
            ("is riding", "ride"),
            ("sits on", "sitting on"),
            ("cities", "city"),
            ("stopped", "stopping"),
            ("Cups", "cup.2"),
        ),
    ],
)
def test_same_lemma(first, second) -> None:
    assert lemma_key(first) == lemma_key(second)


@pytest.mark.parametrize(
    ("first", "second"), [("on", "in"), ("glass", "glas"), ("bus", "bu"), ("king", "k"), ("red", "r")]
)
def test_other_lemma(first, second) -> None:
    assert lemma_key(first) != lemma_key(second)


def test_normalized() -> None:
    assert normalized("  Wine_Glass#2 ") == "wine glass"
    assert normalized("hot-dog") == "hot dog"


def test_levels() -> None:
    names = ["person", "Person", "people", "wall", "stands on", "xyz", None]
    assert LabelMapper(WORDS, matching="strict").codes(names).tolist() == [0, -1, -1, -1, -1, -1, -1]
    assert LabelMapper(WORDS, matching="exact").codes(names).tolist() == [0, 0, -1, 1, -1, -1, -1]
    assert LabelMapper(WORDS, matching="lemma").codes(names).tolist() == [0, 0, 0, 1, 2, -1, -1]


def test_aliases_and_ambiguous_keys() -> None:
    mapper = LabelMapper(["sit on", "sitting on"], matching="lemma", aliases={"perched": "sit on"})
    assert mapper.codes(["perched", "Perched", "sitting on", "sits on"]).tolist() == [0, 0, 1, -1]
    with pytest.raises(ConfigError, match="vocabulary does not have"):
        LabelMapper(["a"], aliases={"b": "c"})


class _Letters:
    """Counts of letters, and of calls."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts):
        self.seen += texts
        return np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32)


def test_similarity_takes_the_closest_once_per_text() -> None:
    encoder = _Letters()
    mapper = LabelMapper(["abc", "xyz", "person"], matching="similarity", encoder=encoder)
    assert mapper.codes(["abcd", "zyxx", "abcd", "PERSON"]).tolist() == [0, 1, 0, 2]
    assert mapper.codes(["abcd", "zyxx"]).tolist() == [0, 1]
    assert encoder.seen == ["abc", "xyz", "person", "abcd", "zyxx"]  # each unique text once, exact ones never
    assert mapper.how == {"similarity": 2, "exact": 1, "unmatched": 0}


def test_a_threshold_leaves_names_unmatched() -> None:
    mapper = LabelMapper(["abc"], matching="similarity", encoder=_Letters(), threshold=0.9)
    # cosine of abc with abcd is 3 / sqrt(3 * 4) = 0.866
    assert mapper.codes(["abcd", "abcabc", "zzz"]).tolist() == [-1, 0, -1]
    assert LabelMapper(["abc"], matching="similarity", encoder=_Letters(), threshold=0.86).codes(["abcd"]).tolist() == [
        0
    ]


def test_similarity_needs_an_encoder() -> None:
    with pytest.raises(ConfigError, match="needs an encoder"):
        LabelMapper(["a"], matching="similarity")
    with pytest.raises(ConfigError, match="choose minilm"):
        encoder_named("bert")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        encoder_named("no_such_module:encode")
    with pytest.raises(ConfigError, match="answered shape"):
        LabelMapper(["a"], matching="similarity", encoder=lambda texts: [1.0] * len(texts)).codes(["b"])


def test_the_real_encoder(needs_extra: Callable[[str], None]) -> None:
    needs_extra("minilm")
    mapper = LabelMapper(["dog", "car", "standing on"], matching="similarity", encoder=encoder_named("minilm"))
    assert [mapper.name_of(text) for text in ("puppy", "sedan", "is standing upon")] == ["dog", "car", "standing on"]


def test_a_text_that_is_like_nothing_is_unmatched() -> None:
    mapper = LabelMapper(["abc", "xyz"], matching="similarity", encoder=_Letters())
    assert mapper.codes(["???", "abd"]).tolist() == [-1, 0]
    assert mapper.summary() == "1 similarity, 1 unmatched"
    with pytest.raises(ConfigError, match="NaN or infinity"):
        LabelMapper(["a"], matching="similarity", encoder=lambda texts: np.full((len(texts), 2), np.nan)).codes(["b"])


@pytest.mark.parametrize(("matching", "threshold"), [("lemma", 0.5), ("similarity", 1.5), ("similarity", float("nan"))])
def test_a_threshold_is_a_cosine(matching, threshold) -> None:
    with pytest.raises(ConfigError, match="must be a cosine"):
        LabelMapper(["a"], matching=matching, encoder=_Letters(), threshold=threshold)
