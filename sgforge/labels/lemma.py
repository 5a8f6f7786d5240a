"""A small rule lemmatiser for labels and predicates: both sides are reduced alike, so stems need not be words.

"two dogs" and "dog", "is riding" and "ride", "sits on" and "sitting on" meet. It knows no dictionary: what its rules
miss is left to aliases or embeddings.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["lemma_key", "normalized"]

_SEPARATORS = re.compile(r"[\s_\-/]+")
_NUMBERED = re.compile(r"(?<=\w)[.#]\d+$")
_IGNORED: Final = frozenset(
    [
        "a",
        "an",
        "the",
        "is",
        "are",
        "was",
        "were",
        "be",
        "being",
        "been",
        "am",
        "of",
        "its",
        "his",
        "her",
        "their",
        "some",
        "one",
        "two",
        "three",
        "four",
        "five",
        "several",
    ]
)
_IRREGULAR: Final = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mouse",
    "knives": "knife",
    "leaves": "leaf",
    "shelves": "shelf",
    "loaves": "loaf",
    "wolves": "wolf",
    "scarves": "scarf",
    "worn": "wear",
    "wore": "wear",
    "held": "hold",
    "sat": "sit",
    "stood": "stand",
    "ridden": "ride",
    "rode": "ride",
    "eaten": "eat",
    "ate": "eat",
    "driven": "drive",
    "thrown": "throw",
    "has": "have",
    "had": "have",
    "lying": "lie",
    "lies": "lie",
}
_KEEPS_S = ("ss", "us", "is")
_VOWELS = frozenset("aeiouy")


def normalized(text: str) -> str:
    """Lower case, separators as single spaces, without a trailing ".2" or "#2" that numbers instances."""
    return _SEPARATORS.sub(" ", _NUMBERED.sub("", text.strip())).strip().casefold()


@lru_cache(maxsize=65536)
def lemma_key(text: str) -> str:
    """The stems of the words of `text`, without articles and auxiliaries; equal keys mean the same name."""
    words = [word for word in normalized(text).split() if word not in _IGNORED]
    return " ".join(_stem(word) for word in words)


def _stem(word: str) -> str:
    word = _IRREGULAR.get(word, word)
    if not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("ches", "shes", "sses", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and len(word) > 3 and not word.endswith(_KEEPS_S):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and _VOWELS & set(word[: -len(ending)]):
            word = _undoubled(word[: -len(ending)])
            break
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _undoubled(stem: str) -> str:
    """ "sitt" to "sit"; "fall", "kiss" and "stuff" stay."""
    return stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "lsfz" else stem
