"""A graph as a caption: every object, attribute, relation and scene attribute said once, each with its span.

Objects are said in an order in which subjects come before what they are related to, as far as relations allow (they
need not be acyclic). A first mention has a, an or some, or no article in the plural; a later one has the, and what
tells it from others of its label: its attributes, or its number in the order of first mentions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

from sgforge.graph import Caption, SceneGraph, Span
from sgforge_gas.captions.phrases import Phrase, Phrases, numbered, plain
from sgforge_gas.vocabulary import Vocabulary, english, starter

__all__ = ["ElementSpan", "Style", "Writer", "Written"]

Style: TypeAlias = Literal["sentence", "list", "dense"]
Kind: TypeAlias = Literal["object", "attribute", "relation", "scene"]
_SCENE_ORDER: Final = (
    "location",
    "season",
    "time",
    "weather",
    "lighting",
    "style",
    "palette",
    "mood",
    "view",
    "framing",
)
_EMPTY: Final = "An empty scene."


@attrs.frozen(kw_only=True)
class ElementSpan:
    """Characters `start` to `end` (exclusive) say one element.

    `index`: of the region (object, attribute) or relation; None of a scene attribute. `part`: of an attribute its place
    in the region's list, of a scene attribute its name.
    """

    start: int
    end: int
    kind: Kind
    index: int | None = None
    part: int | str | None = None

    def to_json(self) -> dict[str, object]:
        """By field, as the command prints it."""
        found: dict[str, object] = {"start": self.start, "end": self.end, "element": self.kind}
        if self.kind in ("object", "attribute"):
            found["region"] = self.index
        elif self.kind == "relation":
            found["relation"] = self.index
        if self.part is not None:
            found["attribute"] = self.part
        return found


@attrs.frozen
class Written:
    """A caption's text and the span of each element, in the order of the text."""

    text: str
    spans: tuple[ElementSpan, ...]

    def caption(self) -> Caption:
        """As the core's value: the spans of objects alone."""
        return Caption(self.text, [Span(s.start, s.end, s.index) for s in self.spans if s.kind == "object"])  # type: ignore[arg-type]


class Writer:
    """Writes captions of graphs in one style.

    "sentence": clauses one after the other. "list": the objects, then a sentence for each subject. "dense": the
    objects, their attributes in sentences of their own, then relations and scene attributes likewise.
    """

    def __init__(self, vocabulary: Vocabulary | None = None, style: Style = "sentence") -> None:
        self._vocabulary = starter() if vocabulary is None else vocabulary
        self._phrases = Phrases(self._vocabulary)
        self._style = style

    def write(self, graph: SceneGraph) -> Written:
        """The caption of a graph's kept rows; "An empty scene." without objects."""
        text, marks = self._written(graph)
        return Written(
            text,
            tuple(
                ElementSpan(start=start, end=end, kind=kind, index=index, part=part)
                for start, end, kind, index, part in marks
            ),
        )

    def caption(self, graph: SceneGraph) -> Caption:
        """The caption as the core's value, with the spans of objects alone."""
        text, marks = self._written(graph)
        return Caption(text, [Span(start, end, index) for start, end, kind, index, _ in marks if kind == "object"])  # type: ignore[arg-type]

    def _written(self, graph: SceneGraph) -> tuple[str, list[tuple[int, int, Kind, int | None, int | str | None]]]:
        page = _Page(graph, self._phrases, self._style)
        if not graph.regions:
            page.say(_EMPTY)
        elif self._style != "sentence":
            page.say_objects(list(graph.regions))
            page.say_attributes()
        page.say_clauses()
        page.say_objects(page.unsaid())
        page.finish()
        if graph.attributes:
            self._say_scene(page, graph.attributes)
        return page.text(), page.marks

    def _say_scene(self, page: _Page, attributes: Mapping[str, str]) -> None:
        known = {name: place for place, name in enumerate(_SCENE_ORDER)}
        names = sorted(attributes, key=lambda name: (known.get(name, len(known)), name))
        said = [name for name in names if plain(attributes[name])]
        for group in [[name] for name in said] if self._style == "dense" else [said]:
            page.say(" The scene ")
            for place, name in enumerate(group):
                page.say("" if not place else " and " if place == len(group) - 1 else ", ")
                attribute = self._vocabulary.scene_of.get(name)
                before, _, after = (attribute.says if attribute else f"has the {plain(name)} {{}}").partition("{}")
                page.say(before)
                page.mark(plain(attributes[name]), "scene", None, name)
                page.say(after)
            page.say("." if group else "")


class _Page:
    """The text of one caption as it grows."""

    def __init__(self, graph: SceneGraph, phrases: Phrases, style: Style) -> None:
        self.parts: list[str] = []
        self.marks: list[tuple[int, int, Kind, int | None, int | str | None]] = []
        self._capitals = [0]  # places in `parts` where a sentence begins
        self._length = 0
        self._is_open = False  # a clause was said, and no full stop behind it
        self._joint = "; " if style == "sentence" else ". "
        self._is_dense = style == "dense"
        self._phrases = phrases
        self._graph = graph
        self._objects: dict[int, Phrase] = {index: phrases.of(region) for index, region in graph.regions.items()}
        self._alike: dict[str, int] = {}
        for phrase in self._objects.values():
            self._alike[phrase.folded] = self._alike.get(phrase.folded, 0) + 1
        is_told = len(self._alike) == len(self._objects)
        self._numbered = () if is_told else numbered(self._objects, by_label=self._is_dense)
        self._number: dict[int, int] = {}
        self._count: dict[str, int] = {}

    def text(self) -> str:
        """All that was said, sentences with a capital."""
        for place in self._capitals:
            if place < len(self.parts):
                self.parts[place] = _capitalised(self.parts[place])
        return "".join(self.parts)

    def say(self, text: str) -> None:
        """Words that belong to no element."""
        self.parts.append(text)
        self._length += len(text)

    def mark(self, text: str, kind: Kind, index: int | None, part: int | str | None = None) -> None:
        """Words that say an element."""
        start = self._length
        self.say(text)
        self.marks.append((start, self._length, kind, index, part))

    def say_objects(self, indices: Sequence[int]) -> None:
        """These objects in one clause."""
        if not indices:
            return
        self._begin()
        self.say("there are " if self._objects[indices[0]].is_plural else "there is ")
        for place, index in enumerate(indices):
            self.say(_between(place, len(indices)))
            self._say_object(index)

    def say_attributes(self) -> None:
        """In the dense style, the attributes of each object in a clause."""
        for index, phrase in self._objects.items() if self._is_dense else ():
            words = (*phrase.before, *phrase.behind)
            if words:
                self._begin()
                self._say_object(index)
                self.say(" are " if phrase.is_plural else " is ")
                for place, (word, part) in enumerate(words):
                    self.say(_between(place, len(words)))
                    self.mark(word, "attribute", index, part)

    def say_clauses(self) -> None:
        """All relations, a clause for each subject."""
        for subject, verbs in self._in_order():
            self._begin()
            self._say_object(subject)
            self._say_verbs(verbs, self._objects[subject].is_plural)

    def unsaid(self) -> list[int]:
        """The objects that were not mentioned."""
        return [index for index in self._objects if index not in self._number]

    def finish(self) -> None:
        """The full stop."""
        if self._is_open:
            self.say(".")

    def _begin(self) -> None:
        if self._is_open:
            self.say(self._joint)
            if self._joint == ". ":
                self._capitals.append(len(self.parts))
        self._is_open = True

    def _say_object(self, index: int) -> None:
        phrase = self._objects[index]
        is_counted = index in self._numbered
        if index not in self._number:
            number = self._number[index] = self._count[phrase.folded] = self._count.get(phrase.folded, 0) + 1
            before = self._article(phrase, number if is_counted else 1)
            said = phrase.bare if self._is_dense else phrase.whole
        else:
            before = f"the {english.ordinal(self._number[index])} " if is_counted else "the "
            # A counted object is told by its number, any other by its attributes where its label has several.
            is_bare = is_counted or self._is_dense or self._alike[phrase.folded] == 1
            said = phrase.bare if is_bare else phrase.again
        start = self._length + len(before)
        text, marks = said
        self.parts += (before, text) if before else (text,)
        self._length = start + len(text)
        self.marks += [(start + first, start + last, kind, index, part) for first, last, kind, part in marks]

    def _article(self, phrase: Phrase, number: int) -> str:
        if number > 1:
            return f"{'' if phrase.is_plural else 'a '}{english.ordinal(number)} "
        article = phrase.bare_article if self._is_dense else phrase.article
        return f"{article} " if article else ""

    def _say_verbs(self, verbs: Sequence[tuple[str, list[tuple[int, int]]]], is_plural: bool) -> None:
        for place, (predicate, targets) in enumerate(verbs):
            self.say(" " if not place else " and " if place == len(verbs) - 1 else ", ")
            start = self._length
            self.say(self._phrases.verb(predicate, is_plural))
            end = self._length
            self.say(" ")
            for number, (target, relation) in enumerate(targets):
                self.marks.append((start, end, "relation", relation, None))
                self.say(_between(number, len(targets)))
                self._say_object(target)

    def _in_order(self) -> Iterator[tuple[int, list[tuple[str, list[tuple[int, int]]]]]]:
        """Subjects with their relations, by predicate."""
        verbs: dict[int, dict[str, list[tuple[int, int]]]] = {}
        waiting: dict[int, int] = {}
        for number, row in self._graph.relations.items():
            verbs.setdefault(row.subject, {}).setdefault(row.predicate, []).append((row.object, number))
            waiting[row.object] = waiting.get(row.object, 0) + 1
        while verbs:
            subject = min(verbs, key=lambda one: (waiting.get(one, 0) > 0, one not in self._number, one))
            found = list(verbs.pop(subject).items())
            for _, targets in found:
                for target, _ in targets:
                    waiting[target] -= 1
            yield subject, found


def _between(place: int, count: int) -> str:
    return "" if not place else " and " if place == count - 1 else ", "


def _capitalised(text: str) -> str:
    first = text[0].upper()
    return first + text[1:] if len(first) == 1 else text
