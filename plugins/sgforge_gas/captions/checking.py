"""Whether a caption says its graph: every element, and every one where it belongs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, Literal, TypeAlias

import attrs

from sgforge.graph import SceneGraph
from sgforge_gas.captions.reading import Said, TooAmbiguous, readings
from sgforge_gas.captions.words import NEGATIONS, PRONOUNS, RELATIVES, Lexicon, Tokens, label_tokens, ordinal_of, tokens
from sgforge_gas.vocabulary import Vocabulary, starter

__all__ = ["Code", "Finding", "check_caption"]

Code: TypeAlias = Literal[
    "missing-object", "missing-attribute", "missing-relation", "missing-scene", "negation", "binding", "unread"
]
_MOST_READINGS: Final = 2000
_SCENE: Final = ("the", "scene")
_EMPTY: Final = tokens("An empty scene.")


@attrs.frozen
class Finding:
    """What is wrong with a caption: a short code, and what it is about."""

    code: Code
    detail: str


def check_caption(
    graph: SceneGraph, text: str, *, strict: bool = True, vocabulary: Vocabulary | None = None
) -> list[Finding]:
    """What a caption lost or swapped; an empty list if it says the graph and nothing else about its objects.

    It is read by a grammar of its own (`reading`), and what it says is compared with the graph: as many objects, with
    the same attributes, in the same relations. `strict`: every word must be read, as of our own captions; without it,
    for paraphrases, words that say no element are passed over, and inverse predicates of the vocabulary count. A text
    that this grammar cannot read is found at fault, however right it may be.
    """
    words = tokens(text)
    inverses = _inverses(starter() if vocabulary is None else vocabulary)
    lexicon = Lexicon(graph, {} if strict else inverses)
    body, scene = _split(words, bool(graph.attributes))
    missing = [*_missing(graph, body, lexicon), *_missing_scene(graph, scene if strict else words)]
    if missing:
        return missing
    if not strict:
        body = tuple(_elements_alone(words, lexicon))
        denied = [word for word in body if word in NEGATIONS]
        if denied:
            return [Finding("negation", f"it says {denied[0]!r}")]
    if not graph.regions:
        return [] if body in (_EMPTY, ()) or not strict else [Finding("unread", "it says more than an empty scene")]
    return _compared(graph, body, lexicon, strict)


def _compared(graph: SceneGraph, body: Tokens, lexicon: Lexicon, strict: bool) -> list[Finding]:
    try:
        guided = readings(body, lexicon, strict=strict, guided=True)
        if any(_is_same(graph, said) for said in islice(guided, _MOST_READINGS)):
            return []
        is_read = any(True for _ in readings(body, lexicon, strict=strict))
    except TooAmbiguous:
        return [Finding("unread", "it can be read in too many ways")]
    if is_read:
        return [Finding("binding", "it gives an attribute or a relation to another object than the graph does")]
    return [Finding("unread", "it cannot be read as a description of objects, attributes and relations")]


def _inverses(vocabulary: Vocabulary) -> Mapping[str, str]:
    return {word: one.inverse for word, one in vocabulary.predicate_of.items() if one.inverse and one.inverse != word}


def _split(words: Tokens, has_scene: bool) -> tuple[Tokens, Tokens]:
    """The words before those about the whole scene, and these."""
    if has_scene:
        for at in range(len(words)):
            if words[at : at + 2] == _SCENE and (at == 0 or words[at - 1] == "."):
                return words[:at], words[at:]
    return words, ()


def _missing_scene(graph: SceneGraph, words: Tokens) -> Iterator[Finding]:
    for name, value in graph.attributes.items():
        if tokens(value) and not _count(words, tokens(value)):
            yield Finding("missing-scene", f"{name} {value!r} is not said")


def _missing(graph: SceneGraph, words: Tokens, lexicon: Lexicon) -> Iterator[Finding]:
    """Elements whose words are nowhere."""
    for label in dict.fromkeys(label_tokens(region.label) for region in graph.regions.values()):
        if not _count(words, label):
            yield Finding("missing-object", f"{' '.join(label)!r} is not said")
    attributes = (tokens(word) for region in graph.regions.values() for word in region.attributes)
    for word in dict.fromkeys(attributes):
        if not _count(words, word):
            yield Finding("missing-attribute", f"{' '.join(word)!r} is not said")
    said = {one.predicate for at in range(len(words)) for one in lexicon.sayings_at(words, at)}
    for predicate in dict.fromkeys(row.predicate for row in graph.relations.values()):
        if tokens(predicate) not in said and tokens(predicate):
            yield Finding("missing-relation", f"{predicate!r} is not said")


def _count(words: Tokens, phrase: Tokens) -> int:
    size = len(phrase)
    return sum(words[at : at + size] == phrase for at in range(len(words) - size + 1))


_JOINING: Final = frozenset(("is", "are", "and", ",", ".", ";", "!", "?"))
_ENDS: Final = frozenset((".", ";", "!", "?"))
_BEFORE_OBJECT: Final = frozenset(("a", "an", "some", "another", "one", "the"))


def _elements_alone(words: Tokens, lexicon: Lexicon) -> Iterator[str]:
    """The words of elements, what joins them, articles and ordinals that lead to one, and negations.

    Sentences about none of the objects are left out.
    """
    sentence: list[tuple[str, bool]] = []  # each word with whether it belongs to an element
    about = False
    at = 0
    while at < len(words):
        length = lexicon.covers(words, at)
        about = about or next(lexicon.labels_at(words, at), None) is not None
        about = about or (bool(length) and any(word in PRONOUNS for word, _ in sentence))
        sentence += [(word, bool(length)) for word in words[at : at + max(1, length)] if length or _joins(word)]
        at += max(1, length)
        if at >= len(words) or (not length and words[at - 1] in _ENDS):
            if about:
                yield from _leading(sentence)
            sentence, about = [], False


def _leading(sentence: list[tuple[str, bool]]) -> list[str]:
    """The words without those that lead to none of an element."""
    behind: tuple[str, bool] = (".", False)
    found: list[str] = []
    for word, is_element in reversed(sentence):
        if is_element or word in _JOINING or word in NEGATIONS or _leads(word, *behind):
            found.append(word)
            behind = (word, is_element)
    return found[::-1]


def _joins(word: str) -> bool:
    known = word in _JOINING or word in _BEFORE_OBJECT or word in NEGATIONS or word in PRONOUNS or word in RELATIVES
    return known or word == "there" or ordinal_of(word) is not None


def _leads(word: str, behind: str, is_element: bool) -> bool:
    """Whether a word that is none of an element leads to what stands behind it."""
    if word in PRONOUNS or word in RELATIVES or word == "there":
        return behind in ("is", "are") or (is_element and word != "there")
    return is_element or ordinal_of(behind) is not None


def _is_same(graph: SceneGraph, said: Said) -> bool:
    """Whether what was said is the graph, whatever the order of its objects."""
    regions = list(graph.regions)
    place = {index: number for number, index in enumerate(regions)}
    objects = [
        (label_tokens(row.label), frozenset(filter(None, map(tokens, row.attributes))))
        for row in graph.regions.values()
    ]
    relations = frozenset(
        (place[row.subject], tokens(row.predicate), place[row.object]) for row in graph.relations.values()
    )
    if Counter(objects) != Counter(said.objects) or len(relations) != len(said.relations):
        return False
    return _matched(objects, relations, said)


def _matched(
    objects: list[tuple[Tokens, frozenset[Tokens]]], relations: frozenset[tuple[int, Tokens, int]], said: Said
) -> bool:
    """Search for a one-to-one map of objects under which all relations are the same."""
    theirs = frozenset(said.relations)
    ours, others = _signatures(objects, relations), _signatures(said.objects, theirs)
    candidates = [[other for other, sign in enumerate(others) if sign == own] for own in ours]
    order = sorted(range(len(objects)), key=lambda number: len(candidates[number]))
    touching: dict[int, list[tuple[int, Tokens, int]]] = {number: [] for number in order}
    for relation in relations:
        touching[relation[0]].append(relation)
        touching[relation[2]].append(relation)
    image: dict[int, int] = {}

    def fits(number: int) -> bool:
        return all(
            (image[a], predicate, image[b]) in theirs
            for a, predicate, b in touching[number]
            if a in image and b in image
        )

    trail = [iter(candidates[order[0]])]
    while trail:
        number = order[len(trail) - 1]
        image.pop(number, None)
        for other in trail[-1]:
            if other in image.values():
                continue
            image[number] = other
            if fits(number):
                break
            del image[number]
        if number not in image:
            trail.pop()
        elif len(trail) == len(order):
            return True
        else:
            trail.append(iter(candidates[order[len(trail)]]))
    return False


def _signatures(objects: object, relations: frozenset[tuple[int, Tokens, int]]) -> list[tuple[object, ...]]:
    """Of each object its words, and its relations with the words of what they lead to."""
    rows: list[tuple[Tokens, frozenset[Tokens]]] = list(objects)  # type: ignore[call-overload]
    around: list[Counter[tuple[object, ...]]] = [Counter() for _ in rows]
    for subject, predicate, object_ in relations:
        around[subject]["out", predicate, rows[object_]] += 1
        around[object_]["in", predicate, rows[subject]] += 1
    return [(row, frozenset(found.items())) for row, found in zip(rows, around, strict=True)]
