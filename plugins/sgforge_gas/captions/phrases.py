"""Noun phrases and verbs of a caption: how an object is named first and again, how a relation stands in a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Final, Literal, TypeAlias

import attrs

from sgforge.graph import Region
from sgforge_gas.vocabulary import Vocabulary, english

__all__ = ["NAMELESS", "Phrase", "Phrases", "numbered", "plain"]

NAMELESS: Final = "thing"
"""How an object without a label is called."""
_RANKS: Final = {
    name: rank
    for rank, names in enumerate(
        (
            ("mood", "build", "coat"),
            ("size",),
            ("age",),
            ("shape",),
            ("state", "surface", "damage", "filling"),
            ("pattern",),
            ("colour", "color"),
            ("material", "cloth", "masonry"),
        )
    )
    for name in names
}
"""The usual order of adjectives before a noun, by category; others stand after the state."""
_UNRANKED: Final = 4.5
_BEHIND: Final = re.compile(r"\w+ing\s|(?:with|without|in|on|at|of|from|to|under|made|covered|full|facing)\b", re.I)
"""Attributes that stand behind the noun (facing left, with spots)."""


@lru_cache(maxsize=100_000)
def plain(text: str | None) -> str:
    """A label as it is said: blanks and underscores are single blanks, nothing that a terminal obeys."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in (text or "").replace("_", " ")).split())


Mark: TypeAlias = tuple[int, int, Literal["object", "attribute"], int | None]
"""Start, end, what it says, and of an attribute its place in the region's list."""


@attrs.frozen(slots=False, kw_only=True)
class Phrase:
    """An object in words: label, its attributes in the order of speech as (word, place in the region), before and
    behind the noun, the article of its first mention with and without attributes, whether its verb is a plural.
    """

    label: str
    before: tuple[tuple[str, int], ...]
    behind: tuple[tuple[str, int], ...]
    article: str
    bare_article: str
    is_plural: bool

    @cached_property
    def folded(self) -> str:
        """The label, whatever its case."""
        return self.label.casefold()

    @cached_property
    def words(self) -> frozenset[str]:
        """Its attributes, whatever their case."""
        return frozenset(word.casefold() for word, _ in (*self.before, *self.behind))

    @cached_property
    def bare(self) -> tuple[str, tuple[Mark, ...]]:
        """The label alone, and where it stands."""
        return self.label, ((0, len(self.label), "object", None),)

    @cached_property
    def whole(self) -> tuple[str, tuple[Mark, ...]]:
        """All but the article, and where each word stands."""
        text = ""
        marks: list[Mark] = []
        for word, place in self.before:
            marks.append((len(text), len(text) + len(word), "attribute", place))
            text += f"{word} "
        marks.append((len(text), len(text) + len(self.label), "object", None))
        text += self.label
        for number, (word, place) in enumerate(self.behind):
            text += " and " if number else " "
            marks.append((len(text), len(text) + len(word), "attribute", place))
            text += word
        return text, tuple(marks)

    @cached_property
    def again(self) -> tuple[str, tuple[Mark, ...]]:
        """The same at a later mention, which says the object alone."""
        text, marks = self.whole
        return text, tuple(mark for mark in marks if mark[2] == "object")


class Phrases:
    """Phrases of regions and predicates, each made once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._known: dict[tuple[str | None, tuple[str, ...]], Phrase] = {}
        self._nouns: dict[str | None, tuple[str, bool, str]] = {}
        self._verbs: dict[tuple[str, bool], str] = {}

    def of(self, region: Region) -> Phrase:
        """The phrase of a region."""
        key = (region.label, region.attributes)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._make(*key)
        return found

    def verb(self, predicate: str, is_plural: bool) -> str:
        """A predicate with what goes before it: "is next to", "are holding", "kicks"."""
        found = self._verbs.get((predicate, is_plural))
        if found is None:
            found = self._verbs[predicate, is_plural] = self._verb(plain(predicate), is_plural)
        return found

    def _make(self, label: str | None, attributes: Sequence[str]) -> Phrase:
        noun, is_plural, bare = self._noun(label)
        before, behind = self._words(attributes) if attributes else ((), ())
        return Phrase(
            label=noun,
            before=before,
            behind=behind,
            article=self._article(noun, before, is_plural) if before else bare,
            bare_article=bare,
            is_plural=is_plural,
        )

    def _noun(self, label: str | None) -> tuple[str, bool, str]:
        """Of a label what is said, whether it is a plural, and its article without attributes."""
        found = self._nouns.get(label)
        if found is None:
            noun = plain(label) or NAMELESS
            is_plural = self._vocabulary.is_plural(noun)
            found = self._nouns[label] = noun, is_plural, self._article(noun, (), is_plural)
        return found

    def _words(self, attributes: Sequence[str]) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
        """Attributes in the order of speech, before and behind the noun."""
        words = [(plain(word), place) for place, word in enumerate(attributes)]
        if len(words) > 1:
            # A word that stands twice in a region is said once.
            words = list({word.casefold(): (word, place) for word, place in reversed(words)}.values())
            words.sort(key=lambda item: (self._rank(item[0]), item[1]))
        behind = tuple(item for item in words if " " in item[0] and _BEHIND.match(item[0]))
        return tuple(item for item in words if item[0] and item not in behind), behind

    def _article(self, noun: str, before: Sequence[tuple[str, int]], is_plural: bool) -> str:
        known = self._vocabulary.noun_of.get(noun)
        if known is not None and known.article:
            return known.article
        if is_plural:
            return ""
        if known is None and english.is_mass(noun):
            return "some"
        return english.article(before[0][0] if before else noun)

    def _rank(self, word: str) -> float:
        known = self._vocabulary.adjective_of.get(word)
        return _UNRANKED if known is None else _RANKS.get(known[0].category, _UNRANKED)

    def _verb(self, predicate: str, is_plural: bool) -> str:
        if self._vocabulary.kind(predicate) == "finite":
            return english.verb_for(predicate, is_plural)
        be = "are" if is_plural else "is"
        the = "the " if predicate.casefold().startswith("same ") else ""
        return f"{be} {the}{predicate}"


def numbered(phrases: Mapping[int, Phrase], *, by_label: bool) -> frozenset[int]:
    """The objects that neither label nor attributes tell from others: these are counted (the second dog).

    Of objects with one label each must have an attribute that each other one lacks, or all of them are counted; with
    `by_label` attributes tell nothing.
    """
    alike: dict[str, list[int]] = {}
    for index, phrase in phrases.items():
        alike.setdefault(phrase.folded, []).append(index)
    found: list[int] = []
    for group in alike.values():
        words = frozenset(phrases[index].words for index in group)
        if len(group) > 1 and (by_label or not _are_told(words, len(group))):
            found += group
    return frozenset(found)


def _are_told(words: frozenset[frozenset[str]], count: int) -> bool:
    return len(words) == count and not any(one < other for one in words for other in words)
