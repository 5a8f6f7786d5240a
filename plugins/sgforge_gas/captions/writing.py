"""A graph as a caption: every object, attribute, relation and scene attribute said once, each with its span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, starmap
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

import attrs

from sgforge.graph import KEPT, Caption, Relation, SceneGraph, Span
from sgforge_gas.captions.phrases import FIRST, Phrase, Phrases, Thing, numbered, plain
from sgforge_gas.captions.plans import Mention, Plan, Style, Word, plan_of
from sgforge_gas.kept import Kept
from sgforge_gas.populating import DrawnRows
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
_SPANS: Final = Kept[tuple[int, int, int], Span](lambda place: Span(*place), 2**15)
"""Spans are values: of many captions most are there already."""
T = TypeVar("T", covariant=True)


class ByNumber(Protocol[T]):
    """Rows by their numbers: all of them, or the kept ones."""

    def __getitem__(self, number: int, /) -> T: ...


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
        self._plan_of_edges = lru_cache(maxsize=20_000)(self._make_plan_of_edges)
        self._scene = lru_cache(maxsize=20_000)(self._make_scene)
        self._scene_part = lru_cache(maxsize=20_000)(self._make_scene_part)

    def write(self, graph: SceneGraph) -> Written:
        """The caption of a graph's kept rows; "An empty scene." without objects."""
        page = self._page(graph)
        scene = self._scene(tuple(graph.attributes.items())) if graph.attributes else _Scene("", ())
        body = page.text
        return Written(body + scene.text, (*page.spans(), *scene.spans(len(body))))

    def caption(self, graph: SceneGraph) -> Caption:
        """The caption as the core's value, with the spans of objects alone."""
        page, attributes = self._page(graph), graph.attributes
        text = page.text + self._scene(tuple(attributes.items())).text if attributes else page.text
        return Caption(text, page.object_spans())

    def _page(self, graph: SceneGraph) -> _Page:
        drawn = graph.deferred
        if type(drawn) is DrawnRows:
            return self._page_of_all(drawn.things, drawn.relations, drawn.structure.edges)
        rows = graph.all
        if {row.status for row in (*rows.regions, *rows.relations)} <= _ALL_KEPT:
            things = [(region.label, region.attributes) for region in rows.regions]
            edges = tuple([(row.subject, row.object) for row in rows.relations])
            return self._page_of_all(things, rows.relations, edges)
        of = self._phrases.of
        phrases = {index: of(region.label, region.attributes) for index, region in graph.regions.items()}
        return _Page(self._plan(phrases, graph.relations), phrases, graph.relations, self._phrases)

    def _page_of_all(
        self,
        things: Sequence[Thing],
        relations: Sequence[Relation],
        edges: tuple[tuple[int, int], ...],
    ) -> _Page:
        """Of a graph all of whose rows are kept, so that their numbers are their places."""
        kept, made = self._phrases.kept, self._phrases.made
        phrases = [kept[thing] if len(thing[1]) < 2 else made(thing) for thing in things]
        is_told = len({phrase.folded for phrase in phrases}) == len(phrases)
        # Where no label stands twice, nor two objects behind one verb, numbers alone decide, but for words that have
        # sentences of their own.
        if is_told and self._style != "dense" and (len(edges) < 2 or not _has_shared_verb(relations)):
            plan = self._plan_of_edges(len(phrases), edges)
        else:
            plan = self._plan(dict(enumerate(phrases)), dict(enumerate(relations)))
        return _Page(plan, phrases, relations, self._phrases)

    def _make_plan_of_edges(self, objects: int, edges: tuple[tuple[int, int], ...]) -> Plan:
        rows = tuple((number, *pair, number) for number, pair in enumerate(edges))
        return plan_of(self._style, tuple(range(objects)), rows)

    def _plan(self, phrases: Mapping[int, Phrase], relations: Mapping[int, Relation]) -> Plan:
        rows: list[tuple[int, int, int, int]] = []
        firsts: dict[tuple[int, str], int] = {}
        for number, row in relations.items():
            subject = row.subject
            rows.append((number, subject, row.object, firsts.setdefault((subject, row.predicate), number)))
        labels = [phrase.folded for phrase in phrases.values()]
        is_told = len(set(labels)) == len(labels)
        is_dense = self._style == "dense"
        return plan_of(
            self._style,
            tuple(phrases),
            tuple(rows),
            () if is_told else tuple(map(labels.index, labels)),
            _NONE if is_told else numbered(phrases, by_label=is_dense),
            tuple(len(one.placed) for one in phrases.values()) if is_dense else (),
        )

    def _make_scene(self, attributes: Sequence[tuple[str, str]]) -> _Scene:
        said = sorted(filter(None, starmap(self._scene_part, attributes)))
        text = ""
        marks: list[tuple[int, int, str]] = []
        for group in [[one] for one in said] if self._style == "dense" else [said]:
            text += " The scene "
            for place, (_, name, before, value, after) in enumerate(group):
                text += "" if not place else " and " if place == len(group) - 1 else ", "
                start = len(text) + len(before)
                text += f"{before}{value}{after}"
                marks.append((start, start + len(value), name))
            text += "." if group else ""
        return _Scene(text, tuple(marks))

    def _make_scene_part(self, name: str, value: str) -> tuple[int, str, str, str, str] | None:
        """Of a scene attribute its place among others, its name, what is said before it, itself, what behind it."""
        text = plain(value)
        attribute = self._vocabulary.scene_of.get(name)
        before, _, after = (attribute.says if attribute else f"has the {plain(name)} {{}}").partition("{}")
        place = _SCENE_ORDER.index(name) if name in _SCENE_ORDER else len(_SCENE_ORDER)
        return (place, name, before, text, after) if text else None


def _has_shared_verb(relations: Sequence[Relation]) -> bool:
    """Whether two relations have one subject and one predicate."""
    return len({(row.subject, row.predicate) for row in relations}) < len(relations)


_NONE: Final[frozenset[int]] = frozenset()
_ALL_KEPT: Final = frozenset({KEPT})


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


class _Page:
    """A plan with the words of a graph."""

    __slots__ = ("_mentions", "_phrases", "_plan", "_starts", "_verbs", "text")

    def __init__(self, plan: Plan, phrases: ByNumber[Phrase], relations: ByNumber[Relation], known: Phrases) -> None:
        self._plan = plan
        self._phrases = phrases
        self._mentions = mentions = []
        self._verbs = verbs = []
        texts = list(plan.texts)
        for place, index, form in plan.mentions:
            phrase = phrases[index]
            if form is FIRST:
                said = phrase.first
            else:
                said = (phrase.noun if form.is_bare else phrase).said.get(form) or phrase.say(form)
            mentions.append(said)
            texts[place] = said[0]
        for place, number, subject, lead in plan.verbs:
            said = known.verb(relations[number].predicate, phrases[subject].is_plural, lead)
            verbs.append(said)
            texts[place] = said[0]
        for place, index, forms in plan.bes:
            texts[place] = forms[phrases[index].is_plural]
        for place, index, number in plan.words:
            texts[place] = self._word(index, number)[0]
        self._starts = list(accumulate(map(len, texts), initial=0))
        self.text = "".join(texts) if texts else _EMPTY

    def object_spans(self) -> tuple[Span, ...]:
        """Of each mention of an object."""
        starts = self._starts
        said = zip(self._plan.mentions, self._mentions, strict=True)
        return tuple(
            [_SPANS[starts[at] + first, starts[at] + last, index] for (at, index, _), (_, first, last) in said]
        )

    def spans(self) -> Iterator[ElementSpan]:
        """Of every element but those of the scene."""
        for start, step in zip(self._starts, self._plan.steps, strict=False):
            if isinstance(step, Word):
                text, part = self._word(step.object, step.place)
                yield ElementSpan(start=start, end=start + len(text), kind="attribute", index=step.object, part=part)
            elif isinstance(step, Mention):
                if step.relation is not None:
                    yield self._verb_span(step.verb, step.relation)
                for first, last, kind, part in self._phrases[step.object].marks(step.form):
                    yield ElementSpan(start=start + first, end=start + last, kind=kind, index=step.object, part=part)

    def _word(self, index: int, place: int) -> tuple[str, int]:
        """An attribute that is said alone, and its place in the region."""
        return self._phrases[index].placed[place]

    def _verb_span(self, place: int, relation: int) -> ElementSpan:
        start = self._starts[place]
        said = next(said for (at, *_), said in zip(self._plan.verbs, self._verbs, strict=True) if at == place)
        return ElementSpan(start=start + said[1], end=start + said[2], kind="relation", index=relation)
