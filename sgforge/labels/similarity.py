"""How alike names are, as a matrix: exactly, after normalising, by lemma, or by the cosine of an encoder's vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np

from sgforge.errors import ConfigError
from sgforge.labels.encoders import Encoder, Floats, encoder_named, unit_rows
from sgforge.labels.lemma import lemma_key, normalized

__all__ = ["Similarity", "by_encoder", "by_key", "similarity_named"]

Similarity: TypeAlias = Callable[[Sequence[str], Sequence[str]], Floats]
"""Texts (N) and texts (M) to an (N, M) matrix; 1 for the same name, 0 or less for one that has nothing in common."""

_KEYS: Final[dict[str, Callable[[str], str]]] = {"exact": str, "normal": normalized, "lemma": lemma_key}


def by_key(key: Callable[[str], str]) -> Similarity:
    """1 where the keys of both texts are equal, else 0."""

    def compare(first: Sequence[str], second: Sequence[str]) -> Floats:
        codes: dict[str, int] = {}
        rows = [np.array([codes.setdefault(key(text), len(codes)) for text in side], int) for side in (first, second)]
        found: Floats = (rows[0][:, None] == rows[1][None]).astype(np.float32)
        return found

    return compare


def by_encoder(encoder: Encoder) -> Similarity:
    """The cosine of the encoder's vectors, in [-1, 1]; each different text is encoded once, and kept."""
    vectors: dict[str, Floats] = {}

    def rows_of(texts: Sequence[str]) -> Floats:
        fresh = [text for text in dict.fromkeys(texts) if text not in vectors]
        if fresh:
            vectors.update(zip(fresh, unit_rows(encoder(fresh)), strict=True))
        return np.array([vectors[text] for text in texts], np.float32)

    def compare(first: Sequence[str], second: Sequence[str]) -> Floats:
        if not (first and second):
            return np.zeros((len(first), len(second)), np.float32)
        return rows_of(first) @ rows_of(second).T

    return compare


def similarity_named(name: str) -> Similarity:
    """The similarity called `name`: exact, normal, lemma, minilm, or "module:callable" of an encoder of one's own."""
    if name in _KEYS:
        return by_key(_KEYS[name])
    try:
        return by_encoder(encoder_named(name))
    except ConfigError as error:
        raise ConfigError(f"similarity {name!r}: choose {', '.join(_KEYS)} or an encoder; {error}") from None
