"""How alike names are, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sgforge.errors import ConfigError
from sgforge.labels import by_encoder, similarity_named


def test_equal_keys_are_alike_and_others_are_not():
    first, second = ["cup", "Cup", "two cups"], ["cup", "dog"]
    assert similarity_named("exact")(first, second).tolist() == [[1, 0], [0, 0], [0, 0]]
    assert similarity_named("normal")(first, second).tolist() == [[1, 0], [1, 0], [0, 0]]
    assert similarity_named("lemma")(first, second).tolist() == [[1, 0], [1, 0], [1, 0]]
    assert similarity_named("exact")([], second).shape == (0, 2)


def test_an_encoder_is_asked_once_for_each_text():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.array([[len(text), 1.0] for text in texts])

    alike = by_encoder(encode)
    assert alike(["a", "bbb"], ["a"]) == pytest.approx(np.array([[1.0], [4 / np.sqrt(20)]]))
    alike(["bbb"], ["a", "cc"])
    assert asked == ["a", "bbb", "cc"]
    assert alike([], ["a"]).shape == (0, 1)


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r"similarity 'lema': choose exact, normal, lemma or an encoder; .*minilm"):
        similarity_named("lema")
