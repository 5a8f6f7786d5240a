"""Reading a caption: the graph that a text says, told from its words alone and from which words the true graph has.

Nothing here is shared with the writer. The grammar, in clauses that end with a full stop or a semicolon:

    clause      subject verb-phrase {and verb-phrase} | there is object {and object}
                | object is attribute {and attribute}
    verb-phrase [is] predicate object {and object}
    object      [article] [ordinal] {attribute} label {attribute}

An object with a, an, some or no article is a new one; one with "the" is that which was mentioned with this label,
number and attributes. In the strict form every word must be read; in the loose one, for texts of other writers, words
that say no element are passed over, pronouns go back to what was last named, and inverse predicates count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import attrs

from sgforge_gas.captions.words import PRONOUNS, RELATIVES, Lexicon, Tokens, ordinal_of

__all__ = ["Said", "TooAmbiguous", "readings"]

_ARTICLES: Final = {"a": False, "an": False, "some": False, "another": False, "one": False, "the": True}
_ENDS: Final = (".", ";", "!", "?")
_BE: Final = ("is", "are")
_MOST_STEPS: Final = 60_000


class TooAmbiguous(Exception):  # noqa: N818 - a caption is at fault, nothing failed
    """A text that can be read in so many ways that none was settled on."""


@attrs.frozen
class Said:
    """What was said so far: objects as (label, attributes), relations as (subject, predicate, object).

    `subject` and `last`: the objects that the clause is about, and that was named last; -1 without one.
    """

    objects: tuple[tuple[Tokens, frozenset[Tokens]], ...] = ()
    relations: tuple[tuple[int, Tokens, int], ...] = ()
    subject: int = -1
    last: int = -1


Step: TypeAlias = tuple[int, Said]
"""A place in the text, and what was said before it."""


def readings(text: Tokens, lexicon: Lexicon, *, strict: bool, guided: bool = False) -> Iterator[Said]:
    """Every way to read the whole text, the likeliest first.

    `guided`: only those whose objects, attributes and relations the graph has, as far as labels tell.

    Raises:
        TooAmbiguous: the search was given up.
    """
    reader = _Reader(text, lexicon, strict, guided)
    stack = [iter([(0, Said())])]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
            continue
        at, said = step
        at = reader.past_ends(at)
        if at == len(text):
            yield said
        else:
            stack.append(reader.clause(at, said))


class _Reader:
    def __init__(self, text: Tokens, lexicon: Lexicon, strict: bool, guided: bool) -> None:
        self._text = text
        self._lexicon = lexicon
        self._strict = strict
        self._facts = lexicon.facts if guided else None
        self._steps = 0

    def past_ends(self, at: int) -> int:
        """The place behind full stops; in a loose text also behind commas and connecting words."""
        skipped = _ENDS if self._strict else (*_ENDS, ",", "and", "with", *_BE)
        while at < len(self._text) and self._text[at] in skipped:
            at += 1
        return at

    def clause(self, at: int, said: Said) -> Iterator[Step]:
        """The ways to read one clause from here, each with the place behind it."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise TooAmbiguous
        if self._word(at) == "there" and self._word(at + 1) in _BE:
            yield from self._ended(self._objects(at + 2, said))
            return
        for behind, then in self._subject(at, said):
            yield from self._ended(self._verb_phrases(behind, then))
            yield from self._ended(self._is_attributes(behind, then))
        yield from self._ended(self._objects(at, said))

    def _word(self, at: int) -> str:
        return self._text[at] if at < len(self._text) else ""

    def _ended(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The steps that stand before the end of a clause; in a loose text a clause may end anywhere."""
        for at, said in steps:
            if not self._strict or at == len(self._text) or self._word(at) in _ENDS:
                yield at, said

    def _subject(self, at: int, said: Said) -> Iterator[Step]:
        if not self._strict:
            word = self._word(at)
            if word in PRONOUNS and said.subject >= 0:
                yield at + 1, said
            if word in RELATIVES and said.last >= 0:
                yield at + 1, attrs.evolve(said, subject=said.last)
            if said.subject >= 0 and next(self._lexicon.sayings_at(self._text, at), None) is not None:
                # "..., holding a cup": about the subject, or about what was named last.
                yield at, said
                if said.last not in (-1, said.subject):
                    yield at, attrs.evolve(said, subject=said.last)
        for behind, then in self._object(at, said):
            yield behind, attrs.evolve(then, subject=then.last)

    def _verb_phrases(self, at: int, said: Said) -> Iterator[Step]:
        for behind, then in self._verb_phrase(at, said):
            for following in self._joined(behind):
                yield from self._verb_phrases(following, then)
            yield behind, then

    def _joined(self, at: int) -> Iterator[int]:
        """The place behind "and", "," or ", and"."""
        if self._word(at) == ",":
            if self._word(at + 1) == "and":
                yield at + 2
            yield at + 1
        elif self._word(at) == "and":
            yield at + 1

    def _verb_phrase(self, at: int, said: Said) -> Iterator[Step]:
        for start in self._behind_copula(at):
            for saying in self._lexicon.sayings_at(self._text, start):
                yield from self._targets(start + len(saying.words), said, saying.predicate, saying.is_swapped)

    def _behind_copula(self, at: int) -> Iterator[int]:
        yield at
        if self._word(at) in _BE:
            yield at + 1
            if self._word(at + 1) == "the":  # is the same colour as
                yield at + 2

    def _targets(self, at: int, said: Said, predicate: Tokens, is_swapped: bool) -> Iterator[Step]:
        if is_swapped and self._strict:
            return
        for behind, then in self._object(at, said):
            ends = (said.subject, then.last)
            relation = (ends[is_swapped], predicate, ends[not is_swapped])
            if not self._may_relate(then, relation):
                continue
            now = attrs.evolve(then, relations=(*then.relations, relation), subject=said.subject)
            for following in self._joined(behind):
                yield from self._targets(following, now, predicate, is_swapped)
            yield behind, now

    def _is_attributes(self, at: int, said: Said) -> Iterator[Step]:
        if self._word(at) in _BE:
            yield from self._said_of(at + 1, said, said.subject)

    def _said_of(self, at: int, said: Said, of: int) -> Iterator[Step]:
        """Attributes of an object that was named, joined by "and" and commas."""
        for words in self._lexicon.attributes_at(self._text, at):
            label, known = said.objects[of]
            if self._facts is not None and (label, words) not in self._facts.attributes:
                continue
            objects = (*said.objects[:of], (label, known | {words}), *said.objects[of + 1 :])
            now = attrs.evolve(said, objects=objects)
            for following in self._joined(at + len(words)):
                yield from self._said_of(following, now, of)
            yield at + len(words), now

    def _objects(self, at: int, said: Said) -> Iterator[Step]:
        for behind, then in self._object(at, said):
            for following in self._joined(behind):
                yield from self._objects(following, then)
            yield behind, then

    def _object(self, at: int, said: Said) -> Iterator[Step]:
        """One object, new or mentioned before; `last` of what was said names it."""
        is_known = _ARTICLES.get(self._word(at))
        for start in (at + 1, at) if is_known is not None else (at,):
            number = ordinal_of(self._word(start))
            for begin, counted in ((start + 1, number), (start, None)) if number is not None else ((start, None),):
                yield from self._named(begin, said, bool(is_known) and start > at, counted, frozenset())

    def _named(
        self, at: int, said: Said, is_known: bool, number: int | None, attributes: frozenset[Tokens]
    ) -> Iterator[Step]:
        for words in self._lexicon.attributes_at(self._text, at):
            behind = at + len(words)
            if self._word(behind) in (",", "and") and not self._strict:
                yield from self._named(behind + 1, said, is_known, number, attributes | {words})
            yield from self._named(behind, said, is_known, number, attributes | {words})
        for label in self._lexicon.labels_at(self._text, at):
            for behind, all_words in self._with_later(at + len(label), attributes):
                for then in self._resolved(said, label, is_known, number, all_words):
                    yield behind, then

    def _with_later(self, at: int, attributes: frozenset[Tokens]) -> Iterator[tuple[int, frozenset[Tokens]]]:
        """Attributes behind the label, with what stood before it."""
        for words in self._lexicon.attributes_at(self._text, at):
            behind = at + len(words)
            if self._word(behind) == "and":
                yield from self._with_later(behind + 1, attributes | {words})
            yield behind, attributes | {words}
        yield at, attributes

    def _resolved(
        self, said: Said, label: Tokens, is_known: bool, number: int | None, attributes: frozenset[Tokens]
    ) -> Iterator[Said]:
        alike = [place for place, (name, _) in enumerate(said.objects) if name == label]
        if is_known:
            fitting = [
                place
                for count, place in enumerate(alike, 1)
                if number in (None, count) and attributes <= said.objects[place][1]
            ]
            if len(fitting) == 1 or not self._strict:
                yield from (attrs.evolve(said, last=place) for place in fitting)
            if self._strict or fitting:
                return
        if not self._may_be(label, len(alike) + 1, attributes):
            return
        if number is None or number == len(alike) + 1:
            objects = (*said.objects, (label, attributes))
            yield attrs.evolve(said, objects=objects, last=len(said.objects))

    def _may_relate(self, said: Said, relation: tuple[int, Tokens, int]) -> bool:
        subject, predicate, object_ = relation
        if self._facts is None:
            return True
        return (said.objects[subject][0], predicate, said.objects[object_][0]) in self._facts.triplets

    def _may_be(self, label: Tokens, count: int, attributes: frozenset[Tokens]) -> bool:
        if self._facts is None:
            return True
        known = self._facts.attributes
        return count <= self._facts.counts[label] and all((label, words) in known for words in attributes)
