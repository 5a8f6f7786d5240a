"""A graph as a caption: every object, attribute, relation and scene attribute said once, each with its span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, Literal, TypeAlias

import attrs

from sgforge.graph import Caption, Relation, SceneGraph, Span
from sgforge_gas.captions.phrases import Phrase, Phrases, Said, numbered, plain
from sgforge_gas.captions.plans import Be, Mention, Plan, Step, Style, Text, Verb, Word, plan_of
from sgforge_gas.vocabulary import Vocabulary, starter

__all__ = ["ElementSpan", "Style", "Writer", "Written"]

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
        self._scene = lru_cache(maxsize=20_000)(self._make_scene)

    def write(self, graph: SceneGraph) -> Written:
        """The caption of a graph's kept rows; "An empty scene." without objects."""
        page = self._page(graph)
        scene = self._scene(tuple(graph.attributes.items())) if graph.attributes else _Scene("", ())
        body = page.text
        return Written(body + scene.text, (*page.spans(), *scene.spans(len(body))))

    def caption(self, graph: SceneGraph) -> Caption:
        """The caption as the core's value, with the spans of objects alone."""
        page = self._page(graph)
        text = page.text
        if graph.attributes:
            text += self._scene(tuple(graph.attributes.items())).text
        return Caption(text, page.object_spans())

    def _page(self, graph: SceneGraph) -> _Page:
        of = self._phrases.of
        phrases = {index: of(region.label, region.attributes) for index, region in graph.regions.items()}
        relations = graph.relations
        return _Page(self._plan(phrases, relations), _Words(phrases, relations, self._phrases))

    def _plan(self, phrases: Mapping[int, Phrase], relations: Mapping[int, Relation]) -> Plan:
        rows: list[tuple[int, int, int, int]] = []
        firsts: dict[tuple[int, str], int] = {}
        for number, row in relations.items():
            subject = row.subject
            rows.append((number, subject, row.object, firsts.setdefault((subject, row.predicate), number)))
        labels = [phrase.folded for phrase in phrases.values()]
        is_told = len(set(labels)) == len(labels)
        if is_told and self._style == "sentence":
            return plan_of("sentence", tuple(phrases), tuple(rows))
        is_dense = self._style == "dense"
        return plan_of(
            self._style,
            tuple(phrases),
            tuple(rows),
            () if is_told else tuple(map(labels.index, labels)),
            _NONE if is_told else numbered(phrases, by_label=is_dense),
            tuple(len(one.before) + len(one.behind) for one in phrases.values()) if is_dense else (),
        )

    def _make_scene(self, attributes: Sequence[tuple[str, str]]) -> _Scene:
        values = dict(attributes)
        known = {name: place for place, name in enumerate(_SCENE_ORDER)}
        names = sorted(values, key=lambda name: (known.get(name, len(known)), name))
        said = [name for name in names if plain(values[name])]
        text = ""
        marks: list[tuple[int, int, str]] = []
        for group in [[name] for name in said] if self._style == "dense" else [said]:
            text += " The scene "
            for place, name in enumerate(group):
                text += "" if not place else " and " if place == len(group) - 1 else ", "
                attribute = self._vocabulary.scene_of.get(name)
                before, _, after = (attribute.says if attribute else f"has the {plain(name)} {{}}").partition("{}")
                start = len(text) + len(before)
                text += f"{before}{plain(values[name])}{after}"
                marks.append((start, start + len(plain(values[name])), name))
            text += "." if group else ""
        return _Scene(text, tuple(marks))


_NONE: Final[frozenset[int]] = frozenset()


@attrs.frozen(eq=False)
class _Scene:
    """What is said of scene attributes, and where each is: start, end, name."""

    text: str
    marks: tuple[tuple[int, int, str], ...]

    def spans(self, shift: int) -> list[ElementSpan]:
        """Of each attribute, where the text stands behind so many characters."""
        return [
            ElementSpan(start=shift + start, end=shift + end, kind="scene", part=name)
            for start, end, name in self.marks
        ]


@attrs.frozen(eq=False)
class _Words:
    """The words of a graph that a plan is filled with."""

    phrases: Mapping[int, Phrase]
    relations: Mapping[int, Relation]
    known: Phrases

    def said(self, step: Step) -> Said:
        """What a step says."""
        if type(step) is Mention:
            phrase = self.phrases[step.object]
            return phrase.said.get(step.form) or phrase.say(step.form)
        if type(step) is Verb:
            predicate = self.relations[step.relation].predicate
            return self.known.verb(predicate, self.phrases[step.subject].is_plural, step.lead)
        if type(step) is Text:
            return step.text, 0, 0
        if type(step) is Be:
            return step.texts[self.phrases[step.object].is_plural], 0, 0
        return self.word(step)[0], 0, 0

    def word(self, step: Word) -> tuple[str, int]:
        """An attribute that is said alone, and its place in the region."""
        phrase = self.phrases[step.object]
        return (*phrase.before, *phrase.behind)[step.place]


class _Page:
    """A plan with its words."""

    def __init__(self, plan: Plan, words: _Words) -> None:
        self._plan = plan
        self._words = words
        self._said = list(map(words.said, plan.steps))
        texts = [one[0] for one in self._said]
        self._starts = list(accumulate(map(len, texts), initial=0))
        self.text = "".join(texts) if texts else _EMPTY

    def object_spans(self) -> tuple[Span, ...]:
        """Of each mention of an object."""
        found = []
        for place, index in self._plan.mentions:
            start = self._starts[place]
            _, first, last = self._said[place]
            found.append(Span(start + first, start + last, index))
        return tuple(found)

    def spans(self) -> Iterator[ElementSpan]:
        """Of every element but those of the scene."""
        for start, step in zip(self._starts, self._plan.steps, strict=False):
            if isinstance(step, Word):
                text, part = self._words.word(step)
                yield ElementSpan(start=start, end=start + len(text), kind="attribute", index=step.object, part=part)
            elif isinstance(step, Mention):
                if step.relation is not None:
                    yield self._verb_span(step.verb, step.relation)
                for first, last, kind, part in self._words.phrases[step.object].marks(step.form):
                    yield ElementSpan(start=start + first, end=start + last, kind=kind, index=step.object, part=part)

    def _verb_span(self, place: int, relation: int) -> ElementSpan:
        start = self._starts[place]
        _, first, last = self._said[place]
        return ElementSpan(start=start + first, end=start + last, kind="relation", index=relation)
