"""Noun phrases and verbs of a caption: how an object is named first and again, how a relation stands in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import attrs

from sgforge_gas.kept import Kept
from sgforge_gas.vocabulary import Vocabulary, english

__all__ = [
    "FIRST",
    "NAMELESS",
    "Form",
    "Phrase",
    "Phrases",
    "Said",
    "Thing",
    "capitalised",
    "form_of",
    "noun_text",
    "numbered",
    "plain",
    "predicate_text",
]

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
_SOME: Final = re.compile(r"some\s", re.I)
_KEPT: Final = 2**15
"""Phrases that are kept: a million graphs have as many objects with attributes."""


@lru_cache(maxsize=100_000)
def plain(text: str | None) -> str:
    """A label as it is said: blanks and underscores are single blanks, nothing that a terminal obeys."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in (text or "").replace("_", " ")).split())


def noun_text(label: str | None) -> str:
    """What an object is called in a caption: its label without an article that it brings along, which the caption has
    of its own; "thing" without a label.
    """
    return english.without_article(plain(label)) or NAMELESS


def predicate_text(predicate: str) -> str:
    """A predicate as it is said, without an article at its end, which the caption has of its own."""
    return english.without_last_article(plain(predicate))


Mark: TypeAlias = tuple[int, int, Literal["object", "attribute"], int | None]
"""Start, end, what it says, and of an attribute its place in the region's list."""
_Placed: TypeAlias = tuple[tuple[str, int], ...]


@attrs.frozen(kw_only=True, eq=False)
class Form:
    """How an object is named. `number`: of those that are told by it, else 0. `is_known`: it was mentioned before.
    `is_bare`: without its attributes. `is_first`: a sentence begins with it.
    """

    number: int
    is_known: bool
    is_bare: bool
    is_first: bool


@lru_cache(maxsize=4096)
def form_of(*, number: int, is_known: bool, is_bare: bool, is_first: bool) -> Form:
    """The one form of its kind, so that what was said in it is found by the object itself."""
    return Form(number=number, is_known=is_known, is_bare=is_bare, is_first=is_first)


FIRST: Final = form_of(number=0, is_known=False, is_bare=False, is_first=False)
"""The first mention of an object that no number tells, not at the beginning of a sentence."""
Thing: TypeAlias = tuple[str | None, tuple[str, ...]]
"""The label and attributes of an object."""
Said: TypeAlias = tuple[str, int, int]
"""A text of a caption, and from where to where in it its object or verb is said."""


@attrs.frozen(kw_only=True, eq=False)
class _Noun:
    """Of a label what is said, without an article that it brings along, the same whatever its case, whether it is a
    plural, its article without attributes, and whether it has that article with any attributes. `said`: what was said
    of it without attributes so far, by form.
    """

    text: str
    folded: str
    is_plural: bool
    article: str
    keeps_article: bool
    said: dict[Form, Said] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True, eq=False)
class _Words:
    """Attributes of an object in the order of speech as (word, place in the region), before and behind a noun, how they
    are written there, and the article of the first.
    """

    before: _Placed = ()
    behind: _Placed = ()
    text_before: str = ""
    text_behind: str = ""
    article: str = ""


_NO_WORDS: Final = _Words()


@attrs.define(eq=False)  # never changed; to make frozen ones takes longer, and there are millions
class Phrase:
    """An object in words: its noun, its attributes, whether its verb is a plural, its label whatever its case. `said`:
    what was said of it so far with its attributes, by form; `first` in the form that almost every one has, `FIRST`.
    """

    noun: _Noun
    own: _Words
    is_plural: bool
    folded: str
    first: Said
    said: dict[Form, Said]

    @property
    def label(self) -> str:
        """What it is called."""
        return self.noun.text

    @property
    def article(self) -> str:
        """The article of its first mention with its attributes."""
        return _article(self.noun, self.own)

    @property
    def placed(self) -> _Placed:
        """Its attributes in the order of speech, each with its place in the region."""
        return self.own.before + self.own.behind

    @property
    def words(self) -> frozenset[str]:
        """Its attributes, whatever their case."""
        return frozenset(word.casefold() for word, _ in self.placed)

    def say(self, form: Form) -> Said:
        """The object in this form; kept."""
        noun = self.noun
        kept, own = (noun.said, _NO_WORDS) if form.is_bare else (self.said, self.own)
        found = kept.get(form)
        if found is None:
            text = self._lead(form) + own.text_before
            first = len(text)
            text += noun.text
            last = len(text)
            text += own.text_behind
            found = kept[form] = (capitalised(text) if form.is_first else text), first, last
        return found

    def marks(self, form: Form) -> Iterator[Mark]:
        """Where each word of this form stands in it; a later mention says the object alone."""
        _, first, last = self.say(form)
        has_words = not (form.is_bare or form.is_known)
        at = len(self._lead(form))
        for word, place in self.own.before if has_words else ():
            yield at, at + len(word), "attribute", place
            at += len(word) + 1
        yield first, last, "object", None
        at = last + 1
        for word, place in self.own.behind if has_words else ():
            yield at, at + len(word), "attribute", place
            at += len(word) + len(" and ")

    def _lead(self, form: Form) -> str:
        """All before its words: the article, and the number of those that are told by it."""
        if form.is_known:
            return f"the {english.ordinal(form.number)} " if form.number else "the "
        if form.number > 1:
            return f"{'' if self.is_plural else 'a '}{english.ordinal(form.number)} "
        article = self.noun.article if form.is_bare else self.article
        return f"{article} " if article else ""


def _article(noun: _Noun, own: _Words) -> str:
    return noun.article if noun.keeps_article or not own.before else own.article


def _first(noun: _Noun, own: _Words) -> Said:
    """What is said of an object in the form `FIRST`."""
    article = _article(noun, own)
    lead = f"{article} {own.text_before}" if article else own.text_before
    start = len(lead)
    return f"{lead}{noun.text}{own.text_behind}", start, start + len(noun.text)


@attrs.frozen(kw_only=True, eq=False)
class _Attribute:
    """An attribute as it is said, the same whatever its case, its rank in the order of speech, whether it stands behind
    the noun, and the article before it. `alone`: what stands before and behind the noun where it is the only one.
    """

    text: str
    folded: str
    rank: float
    is_behind: bool
    article: str
    alone: tuple[_Placed, _Placed]


class Phrases:
    """Phrases of regions and predicates, each made once and kept while it is in use."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.kept = Kept[Thing, Phrase](self.made, _KEPT)
        """As `made`, of what may come again: two attributes and more are hardly ever the same."""
        self.verb = lru_cache(maxsize=_KEPT)(self._verb)
        """Of a predicate, whether it is of a plural and the text before it what is said: " is next to "."""
        self._nouns = lru_cache(maxsize=_KEPT)(self._noun)
        self._words = Kept[tuple[str, ...], _Words](self._make_words, _KEPT)
        self._attributes = lru_cache(maxsize=_KEPT)(self._attribute)

    def of(self, label: str | None, attributes: tuple[str, ...]) -> Phrase:
        """The phrase of a label and attributes."""
        return self.kept[label, attributes] if len(attributes) < 2 else self.made((label, attributes))

    def made(self, thing: Thing) -> Phrase:
        """The phrase of a label and attributes, made anew."""
        label, attributes = thing
        noun = self._nouns(label)
        if not attributes:
            # By position: built for every thing that is said, which names make nearly twice as slow.
            return Phrase(noun, _NO_WORDS, noun.is_plural, noun.folded, _first(noun, _NO_WORDS), noun.said)
        own = self._words[attributes]
        # By position: as above.
        return Phrase(noun, own, noun.is_plural, noun.folded, _first(noun, own), {})

    def _make_words(self, attributes: tuple[str, ...]) -> _Words:
        words = [self._attributes(word) for word in attributes]
        before, behind = words[0].alone if len(words) == 1 else _in_order(words)
        text_behind = " and ".join([word for word, _ in behind])
        return _Words(
            before=before,
            behind=behind,
            text_before="".join([f"{word} " for word, _ in before]),
            text_behind=f" {text_behind}" if text_behind else "",
            article=words[before[0][1]].article if before else "",
        )

    def _noun(self, label: str | None) -> _Noun:
        given = plain(label)
        text = noun_text(label)
        # Mined words may bring their article along too.
        known = self._vocabulary.noun_of.get(given) or self._vocabulary.noun_of.get(text)
        is_plural = self._vocabulary.is_plural(text) if known is None else known.is_plural
        own = known.article if known is not None else ""
        if not own and not is_plural and (_SOME.match(given) or (known is None and english.is_mass(text))):
            own = "some"
        return _Noun(
            text=text,
            folded=text.casefold(),
            is_plural=is_plural,
            article=own if own or is_plural else english.article(text),
            keeps_article=bool(own) or is_plural,
        )

    def _attribute(self, word: str) -> _Attribute:
        text = plain(word)
        known = self._vocabulary.adjective_of.get(text)
        is_behind = " " in text and _BEHIND.match(text) is not None
        alone = ((text, 0),) if text else ()
        return _Attribute(
            text=text,
            folded=text.casefold(),
            rank=_UNRANKED if known is None else _RANKS.get(known[0].category, _UNRANKED),
            is_behind=is_behind,
            article=english.article(text),
            alone=((), alone) if is_behind else (alone, ()),
        )

    def _verb(self, predicate: str, is_plural: bool, lead: str) -> Said:
        """A predicate with what goes before it, between blanks: " is next to ", " and kicks "."""
        word = predicate_text(predicate)
        if self._vocabulary.kind(word) == "finite":
            text = english.verb_for(word, is_plural)
        else:
            be = "are" if is_plural else "is"
            text = f"{be} {'the ' if word.casefold().startswith('same ') else ''}{word}"
        return f"{lead}{text} ", len(lead), len(lead) + len(text)


def _in_order(attributes: Sequence[_Attribute]) -> tuple[_Placed, _Placed]:
    """Attributes in the order of speech, before and behind the noun."""
    if len(attributes) == 2:  # most are, and none of what follows is needed then
        one, other = attributes
        if one.alone[0] and other.alone[0] and one.folded != other.folded:
            return ((one.text, 0), (other.text, 1)) if one.rank <= other.rank else ((other.text, 1), (one.text, 0)), ()
    ranked = [(word.rank, place, word) for place, word in enumerate(attributes)]
    if len({word.folded for word in attributes}) < len(ranked):  # a word that stands twice in a region is said once
        ranked = list({one[2].folded: one for one in reversed(ranked)}.values())
    ranked.sort()
    before = tuple([(word.text, place) for _, place, word in ranked if not word.is_behind and word.text])
    if len(before) == len(ranked):
        return before, ()
    return before, tuple([(word.text, place) for _, place, word in ranked if word.is_behind])


def capitalised(text: str) -> str:
    """A text with a capital, where that is one character too."""
    first = text[0].upper()
    return first + text[1:] if len(first) == 1 else text


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
