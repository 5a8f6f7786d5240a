"""What is said and asked about an image: Caption, with the spans that name regions, and Question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from sgforge.errors import GraphError
from sgforge.graph.checks import to_rows, to_texts
from sgforge.text.wording import shortened

__all__ = ["Caption", "Question", "Span"]


def _check_text(value: Any, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise GraphError(f"{what} must be a non-empty text, not {shortened(value)}")


def _check_whole(value: Any, what: str) -> None:
    if type(value) is not int or value < 0:
        raise GraphError(f"{what} must be a whole number from 0, not {shortened(value)}")


@attrs.frozen
class Span:
    """Characters `start` to `end` (exclusive) of a caption name the region with this index."""

    start: int
    end: int
    region: int

    def __attrs_post_init__(self) -> None:
        start, end, region = self.start, self.end, self.region
        # In one go: captions are made by the million, and each has some.
        if not (type(start) is type(end) is type(region) is int and 0 <= start < end and region >= 0):
            self._refuse()

    def _refuse(self) -> None:
        for value, what in ((self.start, "start"), (self.end, "end"), (self.region, "region")):
            _check_whole(value, f"{what} of a span")
        raise GraphError(f"a span must end behind its start, not at {self.end} after {self.start}")


@attrs.frozen
class Caption:
    """A text about the whole image; `spans` say which of its words name which regions."""

    text: str
    spans: tuple[Span, ...] = attrs.field(default=(), converter=to_rows)

    def __attrs_post_init__(self) -> None:
        _check_text(self.text, "the text of a caption")
        length = len(self.text)
        for span in self.spans:
            if type(span) is not Span and not isinstance(span, Span):
                raise GraphError(f"a caption has spans, not {shortened(span)}")
            if span.end > length:
                raise GraphError(f"a span ends at {span.end}; the caption has {length} characters")

    def to_json(self) -> dict[str, Any]:
        """The caption as JSON: `{"text": ..., "spans": [[start, end, region], ...]}`."""
        spans = [[span.start, span.end, span.region] for span in self.spans]
        return {"text": self.text, **({"spans": spans} if spans else {})}

    @classmethod
    def from_json(cls, value: Any) -> Caption:
        """The caption that `to_json` wrote; anything else is a `GraphError`."""
        text, spans = _fields(value, "caption", "text", "spans")
        return cls(text, [Span(*_numbers(span, 3, "a span")) for span in _listed(spans, "spans")])


@attrs.frozen
class Question:
    """A question about the image.

    `kind`: what it asks for, such as "entity", "attribute", "relation". `choices`: the answers that are offered, none
    for a free one; `answer`: the right one, where it is known. `references`: indices of the regions that it asks
    about. `dependencies`: places, in the list of questions, of those that must be answered with yes before this one
    has a meaning (Cho et al. 2024, Davidsonian Scene Graph, section 3).
    """

    kind: str
    text: str
    answer: str | None = None
    choices: tuple[str, ...] = attrs.field(default=(), converter=to_texts)
    references: tuple[int, ...] = attrs.field(default=(), converter=to_rows)
    dependencies: tuple[int, ...] = attrs.field(default=(), converter=to_rows)

    def __attrs_post_init__(self) -> None:
        _check_text(self.kind, "the kind of a question")
        _check_text(self.text, "the text of a question")
        if self.answer is not None and not isinstance(self.answer, str):
            raise GraphError(f"the answer of a question must be a text, not {shortened(self.answer)}")
        for what in ("references", "dependencies"):
            for index in getattr(self, what):
                _check_whole(index, f"{what} of a question")

    def to_json(self) -> dict[str, Any]:
        """The question as JSON, by field; fields without a value are left out."""
        given = attrs.asdict(self, value_serializer=lambda _, __, value: list(value) if _is_listed(value) else value)
        return {name: value for name, value in given.items() if value is not None and value != []}

    @classmethod
    def from_json(cls, value: Any) -> Question:
        """The question that `to_json` wrote; anything else is a `GraphError`."""
        names = [field.name for field in attrs.fields(cls)]
        kind, text, answer, *lists = _fields(value, "question", *names)
        choices, references, dependencies = (_listed(item, name) for item, name in zip(lists, names[3:], strict=True))
        return cls(
            kind=kind,
            text=text,
            answer=answer,
            choices=choices,
            references=references,
            dependencies=dependencies,
        )


def _is_listed(value: Any) -> bool:
    return isinstance(value, tuple)


def _fields(value: Any, what: str, *names: str) -> list[Any]:
    """The values of an object's fields in order, None where there is none; another field is refused."""
    if not isinstance(value, dict):
        raise GraphError(f"a {what} is an object, not {shortened(value)}")
    unknown = sorted(map(str, set(value) - set(names)))
    if unknown:
        raise GraphError(f"a {what} has no {unknown[0]!r}; it has {', '.join(names)}")
    return [value.get(name) for name in names]


def _listed(value: Any, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise GraphError(f"{what} must be a list, not {shortened(value)}")
    return value


def _numbers(value: Any, count: int, what: str) -> Iterable[int]:
    if not (isinstance(value, list) and len(value) == count):
        raise GraphError(f"{what} is a list of {count} whole numbers, not {shortened(value)}")
    return value
