"""Captioners: `gas` writes captions from graphs; `gas-paraphrase` lets a model say them otherwise, and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from sgforge.edits import Edit
from sgforge.errors import StepError
from sgforge.graph import Caption, Sample, Span
from sgforge.models import ChatRequest, Message, TextPart
from sgforge.stages import Answer, Failure, Model, Resources
from sgforge_gas.captions.checking import check_caption
from sgforge_gas.captions.phrases import noun_text
from sgforge_gas.captions.writing import ElementSpan, Writer, Written
from sgforge_gas.config import CaptionerOptions, ParaphraseOptions
from sgforge_gas.vocabulary import load_vocabulary

__all__ = ["SPANS", "GasCaptioner", "ParaphrasingCaptioner", "span_rows"]

SPANS: Final = "gas.spans"
"""The column that keeps the span of every element, not of objects alone."""
_TOKENS_A_CHARACTER: Final = 1.0
_INSTRUCTION: Final = (
    "You reword descriptions of pictures. Keep every object, every attribute on its own object and every relation in "
    "its direction, with the same words for each of them; you may change the order of clauses, join or part sentences, "
    "and add linking words. Add no object and no attribute, leave none out. Answer with the new description alone."
)


def span_rows(spans: Sequence[ElementSpan]) -> list[list[Any]]:
    """As the column keeps them: [start, end, kind, index of the row, part], the latter two where there is one."""
    rows = []
    for span in spans:
        row: list[Any] = [span.start, span.end, span.kind]
        row += [value for value in (span.index, span.part) if value is not None]
        rows.append(row)
    return rows


class GasCaptioner:
    """Writes the caption of each graph, with the spans of objects in it and those of all elements in gas.spans."""

    def __init__(self, options: CaptionerOptions) -> None:
        self.options = options
        self._writer: Writer | None = None

    def setup(self, resources: Resources) -> None:
        """Read the vocabulary."""
        self._writer = Writer(load_vocabulary(self.options.vocabulary), self.options.style)

    def caption(self, samples: Sequence[Sample]) -> list[Answer]:
        """One caption each, of the graph alone."""
        return [self._answer(sample) for sample in samples]

    def _answer(self, sample: Sample) -> Answer:
        assert self._writer is not None, "setup() comes first"
        if not self.options.spans:
            return Edit.value("image", None, "caption", self._writer.caption(sample.graph))
        return _edit(self._writer.write(sample.graph))


def _edit(written: Written) -> Edit:
    edit = Edit.value("image", None, "caption", written.caption())
    rows = span_rows(written.spans)
    return edit + Edit.value("image", None, SPANS, rows) if rows else edit


class ParaphrasingCaptioner:
    """Lets a model reword our caption; what lost or swapped an element is asked again, then ours stands.

    Counts of an image: `paraphrase-CODE` for each rejected one, by what was wrong (see `check_caption`), and
    `kept-own` where none was right.
    """

    def __init__(self, options: ParaphraseOptions) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        if resources.model is None:
            raise StepError("gas-paraphrase needs a model: run it through a pipeline, or set Resources.model")
        self._model = resources.model
        self._vocabulary = load_vocabulary(self.options.vocabulary)
        self._writer = Writer(self._vocabulary, self.options.style)

    async def caption(self, sample: Sample, /) -> Answer:
        """The first paraphrase that says the graph."""
        if not sample.graph.regions:
            return Failure("no-objects", f"image {sample.image_id} has no object to write about")
        written = self._writer.write(sample.graph)
        faults: dict[str, int] = {}
        for attempt in range(self.options.tries):
            text = await self._reworded(written.text, attempt)
            wrong = check_caption(sample.graph, text, strict=False, vocabulary=self._vocabulary) if text else None
            if wrong == []:
                caption = Caption(text, _found_spans(sample, written, text))
                return attrs.evolve(Edit.value("image", None, "caption", caption), faults=faults)
            code = f"paraphrase-{wrong[0].code}" if wrong else "paraphrase-empty"
            faults[code] = faults.get(code, 0) + 1
        return attrs.evolve(_edit(written), faults={**faults, "kept-own": 1})

    async def _reworded(self, text: str, attempt: int) -> str:
        assert self._model is not None, "setup() comes first"
        request = ChatRequest(
            (Message("system", (TextPart(_INSTRUCTION),)), Message("user", (TextPart(text),))),
            max_tokens=max(64, int(len(text) * _TOKENS_A_CHARACTER)),
            temperature=self.options.temperature,
            ordinal=attempt,
        )
        response = await self._model.complete(request)
        return " ".join(response.text.split())

    @staticmethod
    def notes(counts: Mapping[str, int]) -> list[str]:
        """How many paraphrases were rejected, and how many captions stayed as they were."""
        rejected = sum(count for code, count in counts.items() if code.startswith("paraphrase-"))
        if not rejected:
            return []
        kept = counts.get("kept-own", 0)
        return [
            f"paraphrases that lost or swapped an element: {rejected}, rejected; captions left in our words: {kept}"
        ]


def _found_spans(sample: Sample, written: Written, text: str) -> list[Span]:
    """Where a reworded text names objects whose label no other object has."""
    small = text.casefold()
    found = []
    labels = [written.text[span.start : span.end].casefold() for span in written.spans if span.kind == "object"]
    for index, region in sample.graph.regions.items():
        label = noun_text(region.label).casefold()
        start = small.find(label) if label and len(small) == len(text) else -1
        alike = sum(noun_text(other.label).casefold() == label for other in sample.graph.regions.values())
        if start >= 0 and alike == 1 and label in labels:
            found.append(Span(start, start + len(label), index))
    return sorted(found, key=lambda span: span.start)
