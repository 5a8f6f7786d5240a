"""LabelMapper: each unique free-text name is mapped once to a name of a closed vocabulary, or to none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np

from sgforge.errors import ConfigError
from sgforge.labels.encoders import Encoder, Floats, Ints, unit_rows
from sgforge.labels.lemma import lemma_key, normalized

__all__ = ["LabelMapper", "Matching"]

Matching = Literal["strict", "exact", "lemma", "similarity"]
"""How far a name may be from the vocabulary: letter for letter; after normalising, or by alias; by lemma; by meaning.

Each includes those before it.
"""
_ORDER: Final[tuple[Matching, ...]] = ("strict", "exact", "lemma", "similarity")
_SUFFIXES = ("-merged", "-other", "-stuff", "-other-merged")


class LabelMapper:
    """Maps names to codes of `vocabulary` (its order); -1 for a name that is none of it.

    `matching` says how far a name may be. `aliases` maps further names to names of the vocabulary. With `similarity`
    the name of highest cosine wins if it reaches `threshold` (ties: the first); `encoder` turns texts into vectors.
    Names of COCO's panoptic classes are also known without their -merged, -other and -stuff. `judged` has what a judge
    said of names that no rule matches: the name of the vocabulary that says the same, or None. `how` counts unique
    names by what matched them.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        matching: Matching = "exact",
        aliases: Mapping[str, str] | None = None,
        encoder: Encoder | None = None,
        threshold: float | None = None,
        judged: Mapping[str, str | None] | None = None,
    ) -> None:
        self.vocabulary = tuple(dict.fromkeys(vocabulary))
        if matching == "similarity" and encoder is None:
            raise ConfigError("matching by similarity needs an encoder (minilm, or module:callable)")
        if threshold is not None and not (matching == "similarity" and -1.0 <= threshold <= 1.0):
            raise ConfigError(f"threshold {threshold} must be a cosine, -1 to 1, of matching by similarity")
        self._level = _ORDER.index(matching)
        self._codes = {name: code for code, name in enumerate(self.vocabulary)}
        self._encoder, self._threshold = encoder, threshold
        self._cache: dict[str, int] = dict(self._codes)
        self._judged = dict(judged or {})
        self.how: Counter[str] = Counter()
        self._exact = self._normal_names(aliases or {})
        self._lemmas = _unambiguous((lemma_key(_cleaned(name)), code) for name, code in self._codes.items())
        self._vectors: Floats | None = None

    def _normal_names(self, aliases: Mapping[str, str]) -> dict[str, int]:
        names = _unambiguous((normalized(name), code) for name, code in self._codes.items())
        for name, code in _unambiguous(
            (normalized(_cleaned(name)), code) for name, code in self._codes.items()
        ).items():
            names.setdefault(name, code)
        for alias, name in aliases.items():
            if name not in self._codes:
                raise ConfigError(f"alias {alias!r} stands for {name!r}, which the vocabulary does not have")
            names[normalized(alias)] = self._codes[name]
        return names

    def codes(self, names: Iterable[str | None]) -> Ints:
        """The codes of `names`, int32; -1 for None and for what matches nothing."""
        listed = list(names)
        fresh = [name for name in dict.fromkeys(listed) if name is not None and name not in self._cache]
        if fresh:
            self._map(fresh)
        return np.fromiter((-1 if name is None else self._cache[name] for name in listed), np.int32, len(listed))

    def summary(self) -> str:
        """How many unique names were matched by what, in words."""
        return ", ".join(f"{count} {how}" for how, count in self.how.items() if count) or "every name is in it"

    def unjudged(self, names: Iterable[str]) -> list[str]:
        """Those of `names`, each once, that match nothing and that no judge was asked about."""
        listed = list(dict.fromkeys(names))
        codes = self.codes(listed)
        return [
            name for name, code in zip(listed, codes.tolist(), strict=True) if code < 0 and name not in self._judged
        ]

    def name_of(self, name: str) -> str | None:
        """The vocabulary's name for `name`, or None."""
        code = int(self.codes([name])[0])
        return None if code < 0 else self.vocabulary[code]

    def _map(self, names: Sequence[str]) -> None:
        left = []
        for name in names:
            how, code = self._by_rule(name)
            self._cache[name] = code
            if code >= 0:
                self.how[how] += 1
            else:
                left.append(name)
        if left and self._level >= _ORDER.index("similarity"):
            left = self._map_by_meaning(left)
        self.how["unmatched"] += len(left)

    def _by_rule(self, name: str) -> tuple[str, int]:
        if self._level >= _ORDER.index("exact") and (code := self._exact.get(normalized(name), -1)) >= 0:
            return "exact", code
        if self._level >= _ORDER.index("lemma") and (code := self._lemmas.get(lemma_key(name), -1)) >= 0:
            return "lemma", code
        said = self._judged.get(name)
        return "by the judge", -1 if said is None else self._codes.get(said, -1)

    def _map_by_meaning(self, names: Sequence[str]) -> list[str]:
        assert self._encoder is not None
        if not self.vocabulary:
            return list(names)
        if self._vectors is None:
            self._vectors = unit_rows(self._encoder([normalized(_cleaned(name)) for name in self.vocabulary]))
        similar = unit_rows(self._encoder([normalized(name) for name in names])) @ self._vectors.T
        best = similar.argmax(axis=1)
        reached = similar[np.arange(len(names)), best]
        # What is equally far from every name (a vector of zeros) has no closest one.
        reached[~similar.any(axis=1)] = -np.inf
        least = -2.0 if self._threshold is None else self._threshold
        left = []
        for name, code, value in zip(names, best.tolist(), reached.tolist(), strict=True):
            if value < least:
                left.append(name)
            else:
                self._cache[name] = code
                self.how["similarity"] += 1
        return left


def _cleaned(name: str) -> str:
    """A panoptic class without the suffix that only tells how COCO merged it."""
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        name = name.removesuffix(suffix)
    return name


def _unambiguous(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Keys that stand for one code only; an empty key stands for none."""
    found: dict[str, int] = {}
    shared: set[str] = set()
    for key, code in pairs:
        if not key or found.setdefault(key, code) != code:
            shared.add(key)
    return {key: code for key, code in found.items() if key not in shared}
