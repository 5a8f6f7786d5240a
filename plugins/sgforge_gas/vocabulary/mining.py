"""Mining: the vocabulary of real graphs, with what was seen together, so that data feeds the synthesis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

from sgforge.errors import ConfigError
from sgforge.graph import Category, SceneGraph
from sgforge_gas.vocabulary import english
from sgforge_gas.vocabulary.values import Adjective, Counts, Noun, Predicate, SceneAttribute, Vocabulary

__all__ = ["mine"]


@attrs.define
class _Seen:
    """What was seen so far."""

    objects: Counter[str] = attrs.field(factory=Counter)
    attributes: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    triplets: Counter[tuple[str, str, str]] = attrs.field(factory=Counter)
    sizes: Counter[tuple[int, int, int]] = attrs.field(factory=Counter)
    categories: dict[str, Counter[Category]] = attrs.field(factory=dict)
    scene: dict[str, Counter[str]] = attrs.field(factory=dict)

    def add(self, graph: SceneGraph) -> None:
        """Count a graph's kept rows; regions without a label count for sizes alone."""
        labels = {index: _plain(region.label) for index, region in graph.regions.items()}
        attributes = 0
        for index, region in graph.regions.items():
            words = [word for word in map(_plain, region.attributes) if word]
            attributes += len(words)
            if label := labels[index]:
                self.objects[label] += 1
                self.attributes.update((label, word) for word in words)
        for relation in graph.relations.values():
            word = _plain(relation.predicate)
            subject, object_ = labels[relation.subject], labels[relation.object]
            if subject and object_ and word:
                self.triplets[subject, word, object_] += 1
                self.categories.setdefault(word, Counter())[relation.category] += 1
        for name, value in graph.attributes.items():
            if _plain(name) and _plain(value):
                self.scene.setdefault(_plain(name), Counter())[_plain(value)] += 1
        if graph.regions:
            self.sizes[len(graph.regions), len(graph.relations), attributes] += 1


def mine(graphs: Iterable[SceneGraph], name: str, *, least: int = 1, words: Vocabulary | None = None) -> Vocabulary:
    """The objects, attributes, relations and scene attributes of graphs that were seen `least` times or more.

    `words` says how known words are said (kinds of relations, inverses, plurals, types); the others go by rule. Which
    attribute fits which object, and which relation which objects, is what was seen (`counts`).

    Raises:
        ConfigError: no label was seen so often.
    """
    seen = _Seen()
    for graph in graphs:
        seen.add(graph)
    objects = {label: count for label, count in _ordered(seen.objects) if count >= least}
    if not objects:
        raise ConfigError(f"{name}: no label was seen {least} times or more, so there is nothing to make graphs of")
    attributes = {k: n for k, n in _ordered(seen.attributes) if k[0] in objects and n >= least}
    triplets = {k: n for k, n in _ordered(seen.triplets) if k[0] in objects and k[2] in objects and n >= least}
    return Vocabulary(
        name=f"mined from {name}",
        nouns=tuple(_noun(label, words) for label in objects),
        adjectives=tuple(_adjectives(attributes, words)),
        predicates=tuple(_predicates(triplets, seen.categories, words)),
        scene=tuple(_scene(seen.scene, least, words)),
        families={} if words is None else words.families,
        counts=Counts(objects, attributes, triplets, dict(_ordered(seen.sizes))),
        licence="that of the dataset",
        source=name,
    )


def _plain(text: str | None) -> str:
    """A text with single blanks and nothing that a terminal obeys."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text or "").split())


def _ordered(counts: Counter) -> list:  # type: ignore[type-arg]
    """The most frequent first, then by name, whatever the order of images."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _noun(label: str, words: Vocabulary | None) -> Noun:
    known = None if words is None else words.noun_of.get(label)
    if known is not None:
        return known
    is_plural = english.looks_plural(label)
    return Noun(word=label, plural=label if is_plural else english.plural(label), is_plural=is_plural)


def _adjectives(attributes: Iterable[tuple[str, str]], words: Vocabulary | None) -> Iterator[Adjective]:
    for word in dict.fromkeys(word for _, word in attributes):
        known = () if words is None else words.adjective_of.get(word, ())
        # A word of which nothing is known is a category of its own: it rules out no other.
        yield Adjective(word, known[0].category if known else word)


def _predicates(
    triplets: Iterable[tuple[str, str, str]], categories: dict[str, Counter[Category]], words: Vocabulary | None
) -> Iterator[Predicate]:
    for word in dict.fromkeys(word for _, word, _ in triplets):
        known = None if words is None else words.predicate_of.get(word)
        category = max(sorted(categories[word]), key=categories[word].__getitem__)
        yield Predicate(
            word=word,
            kind=known.kind if known else english.relation_kind(word),  # type: ignore[arg-type]
            category=category,
            inverse=known.inverse if known else None,
        )


def _scene(scene: dict[str, Counter[str]], least: int, words: Vocabulary | None) -> Iterator[SceneAttribute]:
    for name, values in sorted(scene.items()):
        known = None if words is None else words.scene_of.get(name)
        kept = tuple(value for value, count in _ordered(values) if count >= least)
        if kept:
            yield SceneAttribute(
                name, known.says if known else f"has the {name.replace('{', '').replace('}', '')} {{}}", kept
            )
