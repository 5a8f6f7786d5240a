"""The captioner that lists what an image shows, as nouns that a segmenter can look for.

Segmenters that find what a text names (`sam-text`, `sam-concepts`) need such a list for images that nobody described.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import attrs

from sgforge.edits import Edit
from sgforge.errors import ImageError
from sgforge.graph import Caption, Sample
from sgforge.stages import Answer, Failure, Model, Resources
from sgforge_svg.answers import told_with
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, show
from sgforge_svg.config import NounsConfig
from sgforge_svg.prompts import NOUNS_SCHEMA, NOUNS_SYSTEM, ask_nouns
from sgforge_svg.view import View, clean_text

__all__ = ["NounsCaptioner", "read_nouns"]

_BETWEEN: Final = re.compile(r"[,;:]")
"""What parts nouns in the caption: an item that has it names several."""


class NounsCaptioner:
    """Writes a caption that is a list of nouns, "dog, wooden chair, sky"; one request an image."""

    def __init__(self, options: NounsConfig) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        self._model = bound_model(resources, "the nouns captioner")

    async def caption(self, sample: Sample, /) -> Answer:
        """One request for one image, which shows the plain picture; a bad item costs that item, counted."""
        assert self._model is not None, "setup() comes first"
        options = self.options
        failure = cannot_be_shown(sample)
        if failure is not None:
            return failure
        try:
            _, picture = await show(View(sample, {}, 0), self._model, "plain", options.max_side, as_before=False)
        except ImageError as error:
            return Failure(error.code, str(error))
        response = await self._model.complete(
            chat(
                picture,
                ask_nouns(max_nouns=options.max_nouns, max_words=options.max_label_words),
                system=NOUNS_SYSTEM,
                schema=NOUNS_SCHEMA,
                max_tokens=options.room(),
                temperature=options.temperature,
            )
        )
        edit = read_nouns(response.parsed, max_nouns=options.max_nouns, max_words=options.max_label_words)
        return told_with(edit, response)


def read_nouns(answer: Any, *, max_nouns: int, max_words: int) -> Edit:
    """The Edit that an answer amounts to, no caption where no noun is left; never raises for what a model wrote."""
    faults: Counter[str] = Counter()
    found: dict[str, None] = {}
    for noun in _items(answer, faults):
        fault = _fault(noun, max_words, found)
        if fault is not None:
            faults[fault] += 1
        elif len(found) == max_nouns:
            faults["too-many-nouns"] += 1
        else:
            found[noun] = None
    if not found:
        faults["no-nouns"] += 1
        return Edit(faults=dict(faults))
    return attrs.evolve(Edit.value("image", None, "caption", Caption(", ".join(found))), faults=dict(faults))


def _items(answer: Any, faults: Counter[str]) -> Iterator[str]:
    """The texts of the answer's list, in lower case and without full stops, which would end a noun."""
    rows = answer.get("nouns") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        faults["not-an-object"] += 1
        return
    for row in rows:
        if isinstance(row, str):
            yield from (" ".join(part.replace(".", " ").split()) for part in _BETWEEN.split(clean_text(row).lower()))
        else:
            faults["not-an-object"] += 1


def _fault(noun: str, max_words: int, found: dict[str, None]) -> str | None:
    if not any(sign.isalnum() for sign in noun):
        return "empty-text"
    if noun in found:
        return "duplicate"
    return "long-label" if len(noun.split()) > max_words else None
