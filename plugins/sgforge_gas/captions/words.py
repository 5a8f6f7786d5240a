"""The words of a caption as the check reads them, and where the words of a graph stand among them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from sgforge.graph import SceneGraph

__all__ = ["NEGATIONS", "PRONOUNS", "RELATIVES", "Lexicon", "Saying", "label_tokens", "ordinal_of", "tokens"]

_TOKEN: Final = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
_ARTICLE: Final = r"(?:an?|the|some|another)"
_LEADING: Final = re.compile(rf"\s*(?:{_ARTICLE}[\s_]+)+(?=[^\s_])", re.I)
_TRAILING: Final = re.compile(rf"(?<=[^\s_])[\s_]+{_ARTICLE}\s*$", re.I)
_NAMELESS: Final = ("thing",)
NEGATIONS: Final = frozenset(
    [
        "no",
        "not",
        "without",
        "never",
        "none",
        "nobody",
        "nothing",
        "neither",
        "nor",
        "cannot",
        "isn't",
        "aren't",
        "doesn't",
        "don't",
    ]
)
PRONOUNS: Final = frozenset(["it", "they", "he", "she"])
RELATIVES: Final = frozenset(["which", "that", "who"])
_WORDS: Final = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
]
_NUMBERS: Final = {word: place for place, word in enumerate(_WORDS, 1)}
_NUMBERED: Final = re.compile(r"(\d+)(?:st|nd|rd|th)")

Tokens = tuple[str, ...]


def tokens(text: str) -> Tokens:
    """Words and signs, whatever their case; underscores are blanks."""
    return tuple(_TOKEN.findall(text.casefold().replace("_", " ")))


def label_tokens(label: str | None) -> Tokens:
    """The words that name an object: those of its label without the articles it begins with; "thing" without a label.

    A text says such a label with an article of its own, as a first or a later mention wants it.
    """
    return tokens(_LEADING.sub("", label or "", count=1)) or _NAMELESS


def _said_tokens(predicate: str) -> Tokens:
    """The words that say a predicate: without an article at its end, which is that of the object behind it."""
    return tokens(_TRAILING.sub("", predicate))


def ordinal_of(token: str) -> int | None:
    """The number of "second" or "21st"; None of any other word."""
    found = _NUMBERED.fullmatch(token)
    return int(found[1]) if found else _NUMBERS.get(token)


@attrs.frozen
class Saying:
    """A relation as it may be said: the words, the predicate that is meant, whether its ends change places."""

    words: Tokens
    predicate: Tokens
    is_swapped: bool = False


@attrs.frozen
class Facts:
    """What of a graph labels alone tell: how many objects have each, their attributes, their relations."""

    counts: Mapping[Tokens, int]
    attributes: frozenset[tuple[Tokens, Tokens]]
    triplets: frozenset[tuple[Tokens, Tokens, Tokens]]

    @classmethod
    def of(cls, graph: SceneGraph) -> Facts:
        """The facts of the kept rows."""
        labels = {index: label_tokens(region.label) for index, region in graph.regions.items()}
        return cls(
            Counter(labels.values()),
            frozenset((labels[i], tokens(word)) for i, region in graph.regions.items() for word in region.attributes),
            frozenset(
                (labels[row.subject], tokens(row.predicate), labels[row.object]) for row in graph.relations.values()
            ),
        )


class Lexicon:
    """The labels, attributes and predicates of one graph, by their first word, longer ones first."""

    def __init__(self, graph: SceneGraph, inverses: Mapping[str, str]) -> None:
        self.labels = _by_first(label_tokens(region.label) for region in graph.regions.values())
        self.attributes = _by_first(
            tokens(word) for region in graph.regions.values() for word in region.attributes if tokens(word)
        )
        self.facts = Facts.of(graph)
        self.sayings: dict[str, list[Saying]] = {}
        for predicate in {row.predicate for row in graph.relations.values()}:
            meant = tokens(predicate)
            if meant:
                self._add(Saying(_said_tokens(predicate), meant))
            if predicate in inverses and tokens(inverses[predicate]):
                self._add(Saying(_said_tokens(inverses[predicate]), meant, is_swapped=True))

    def _add(self, saying: Saying) -> None:
        for first in _forms(saying.words[0]):
            words = (first, *saying.words[1:])
            row = self.sayings.setdefault(first, [])
            row.append(attrs.evolve(saying, words=words))
            row.sort(key=lambda one: -len(one.words))

    def labels_at(self, text: Tokens, at: int) -> Iterator[Tokens]:
        """The labels that stand here, the longest first."""
        return _standing(self.labels, text, at)

    def attributes_at(self, text: Tokens, at: int) -> Iterator[Tokens]:
        """The attributes that stand here, the longest first."""
        return _standing(self.attributes, text, at)

    def sayings_at(self, text: Tokens, at: int) -> Iterator[Saying]:
        """The relations that are said here, the longest first."""
        for saying in self.sayings.get(text[at], ()) if at < len(text) else ():
            if text[at : at + len(saying.words)] == saying.words:
                yield saying

    def covers(self, text: Tokens, at: int) -> int:
        """How many words of the longest element stand here; 0 without one."""
        lengths = [len(one) for one in (*self.labels_at(text, at), *self.attributes_at(text, at))]
        lengths += [len(one.words) for one in self.sayings_at(text, at)]
        return max(lengths, default=0)


def _by_first(phrases: Iterable[Tokens]) -> dict[str, list[Tokens]]:
    found: dict[str, list[Tokens]] = {}
    for phrase in sorted(set(phrases), key=lambda one: (-len(one), one)):
        found.setdefault(phrase[0], []).append(phrase)
    return found


def _standing(phrases: Mapping[str, list[Tokens]], text: Tokens, at: int) -> Iterator[Tokens]:
    for phrase in phrases.get(text[at], ()) if at < len(text) else ():
        if text[at : at + len(phrase)] == phrase:
            yield phrase


def _forms(verb: str) -> set[str]:
    """A word and what it may be with another number: holds, hold; carries, carry."""
    if verb in ("has", "have"):
        return {"has", "have"}
    if verb in ("is", "are"):
        return {"is", "are"}
    found = {verb, f"{verb}s", f"{verb}es"}
    if verb.endswith("y"):
        found.add(f"{verb[:-1]}ies")
    if verb.endswith("ies"):
        found.add(f"{verb[:-3]}y")
    if verb.endswith("s"):
        found.add(verb[:-1])
    if verb.endswith("es"):
        found.add(verb[:-2])
    return found
