"""A vocabulary as values: nouns with types, attributes and relations with what they fit, scene attributes, counts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final, Literal, TypeAlias

import attrs

from sgforge.graph import Category
from sgforge_gas.vocabulary import english

__all__ = ["ANY", "Adjective", "Counts", "Noun", "Predicate", "RelationKind", "SceneAttribute", "Vocabulary"]

RelationKind: TypeAlias = Literal["prepositional", "participle", "finite"]
ANY: Final[frozenset[str]] = frozenset()
"""Of types: every type fits."""


@attrs.frozen(kw_only=True)
class Noun:
    """A kind of object: its word, type, plural; `is_plural` of one that is always a plural, as scissors."""

    word: str
    type: str = "thing"
    plural: str = ""
    article: str = ""
    is_plural: bool = False


@attrs.frozen
class Adjective:
    """A value of an attribute: its category (an object has one of each) and the types that it fits."""

    word: str
    category: str
    fits: frozenset[str] = ANY


@attrs.frozen(kw_only=True, eq=False)
class Predicate:
    """A relation: how it stands in a sentence, its category, what it fits, and the predicate that says it backwards."""

    word: str
    kind: RelationKind
    category: Category = "unknown"
    subjects: frozenset[str] = ANY
    objects: frozenset[str] = ANY
    inverse: str | None = None

    def fits(self, subject: str, object_: str) -> bool:
        """Whether these types may stand in it."""
        return (not self.subjects or subject in self.subjects) and (not self.objects or object_ in self.objects)


@attrs.frozen
class SceneAttribute:
    """An attribute of the whole scene: how it is said ("is lit by {}") and its values."""

    name: str
    says: str
    values: tuple[str, ...]


@attrs.frozen(eq=False)
class Counts:
    """What was seen together in real graphs.

    `objects`: how often each label. `attributes`: (label, attribute). `triplets`: (subject, predicate, object).
    `sizes`: (objects, relations, attributes) of each graph.
    """

    objects: Mapping[str, int] = attrs.field(factory=dict)
    attributes: Mapping[tuple[str, str], int] = attrs.field(factory=dict)
    triplets: Mapping[tuple[str, str, str], int] = attrs.field(factory=dict)
    sizes: Mapping[tuple[int, int, int], int] = attrs.field(factory=dict)


@attrs.frozen(slots=False, eq=False, kw_only=True)
class Vocabulary:
    """Words to make graphs of, and how they are said. `licence` and `source`: where they come from.

    `families`: by category, sets of attributes; words of different sets exclude each other.
    """

    name: str
    nouns: tuple[Noun, ...]
    adjectives: tuple[Adjective, ...] = ()
    predicates: tuple[Predicate, ...] = ()
    scene: tuple[SceneAttribute, ...] = ()
    families: Mapping[str, tuple[frozenset[str], ...]] = attrs.field(factory=dict)
    counts: Counts = attrs.field(factory=Counts)
    licence: str = ""
    source: str = ""

    @cached_property
    def noun_of(self) -> Mapping[str, Noun]:
        """Nouns by word."""
        return {noun.word: noun for noun in self.nouns}

    @cached_property
    def predicate_of(self) -> Mapping[str, Predicate]:
        """Predicates by word."""
        return {predicate.word: predicate for predicate in self.predicates}

    @cached_property
    def adjective_of(self) -> Mapping[str, tuple[Adjective, ...]]:
        """Attributes by word; one word may belong to several categories."""
        found: dict[str, list[Adjective]] = {}
        for adjective in self.adjectives:
            found.setdefault(adjective.word, []).append(adjective)
        return {word: tuple(rows) for word, rows in found.items()}

    @cached_property
    def scene_of(self) -> Mapping[str, SceneAttribute]:
        """Scene attributes by name."""
        return {attribute.name: attribute for attribute in self.scene}

    def excluded_by(self, word: str) -> tuple[str, ...]:
        """The attributes that nothing which has this one can have, in order."""
        found: list[str] = []
        for families in self.families.values():
            if any(word in family for family in families):
                found += [other for family in families if word not in family for other in sorted(family)]
        return tuple(dict.fromkeys(found))

    def is_plural(self, label: str) -> bool:
        """Whether a label takes a plural verb; by rule where it is not in the vocabulary."""
        noun = self.noun_of.get(label)
        return english.looks_plural(label) if noun is None else noun.is_plural

    def plural(self, label: str) -> str:
        """The plural of a label."""
        noun = self.noun_of.get(label)
        if noun is None or not noun.plural:
            return label if self.is_plural(label) else english.plural(label)
        return noun.plural

    def kind(self, predicate: str) -> RelationKind:
        """How a predicate stands in a sentence; by rule where it is not in the vocabulary."""
        known = self.predicate_of.get(predicate)
        return known.kind if known is not None else english.relation_kind(predicate)  # type: ignore[return-value]
