"""The editor that names regions: a model says what each numbered region shows.

Segmenters find masks without names; with names the other steps know what they relate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.stages import Answer, Model, Resources
from sgforge_svg.answers import Reader, told_with
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, show
from sgforge_svg.config import NamesConfig
from sgforge_svg.prompts import NAMES_READING, NAMES_SCHEMA, ask_names
from sgforge_svg.view import View, clean_text, look_at

__all__ = ["NamesEditor", "read_names"]


class NamesEditor:
    """Sets the label of regions that have none (or of all), and adds attributes; one request an image."""

    def __init__(self, options: NamesConfig) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        self._model = bound_model(resources, "the names editor")

    async def edit(self, sample: Sample, /) -> Answer:
        """One request for one image, none where every region has its name; a bad item costs that item, counted."""
        assert self._model is not None, "setup() comes first"
        options = self.options
        view = look_at(sample, options.max_regions)
        asked = [index for index, row in view.regions.items() if options.scope == "all" or row.label is None]
        if not asked:
            return Edit()
        failure = cannot_be_shown(sample)
        if failure is not None:
            return failure
        seen, picture = await show(view, self._model, options.picture, options.max_side, as_before=options.prompts == 1)
        text = ask_names(
            seen.naming_facts(asked),
            max_label_words=options.max_label_words,
            max_attributes=options.max_attributes,
            picture=options.picture,
            size=seen.sent,
        )
        response = await self._model.complete(
            chat(
                picture,
                text,
                schema=NAMES_SCHEMA,
                max_tokens=options.room(len(asked)),
                temperature=options.temperature,
                reading=NAMES_READING,
            )
        )
        edit = read_names(
            view,
            asked,
            response.parsed,
            max_label_words=options.max_label_words,
            max_attributes=options.max_attributes,
        )
        return told_with(edit, response)


def read_names(view: View, asked: Iterable[int], answer: Any, *, max_label_words: int, max_attributes: int) -> Edit:
    """The Edit that an answer amounts to; never raises for what a model wrote.

    `asked`: indices of the regions whose names were asked for; no others are named. Of two names of one region the
    first counts.
    """
    reader = Reader(view, max_label_words)
    wanted = set(asked)
    named: dict[int, Edit] = {}
    for item in reader.items(answer, "names"):
        index = reader.region(item.get("region"))
        if index is None:
            continue
        if index in named or index not in wanted:
            reader.fault("duplicate" if index in named else "not-asked")
            continue
        label = _label(reader, item, max_label_words)
        if label is not None:
            named[index] = Edit.set("region", index, label=label, **_attributes(reader, index, item, max_attributes))
    if len(named) < len(wanted):
        reader.fault("unnamed", len(wanted) - len(named))
    return Edit.sum([*named.values(), Edit(faults=dict(reader.faults))])


def _label(reader: Reader, item: Mapping[str, Any], max_words: int) -> str | None:
    value = item.get("label")
    label = clean_text(value).lower() if isinstance(value, str) else ""
    if not label:
        reader.fault("empty-text")
        return None
    if len(label.split()) > max_words:
        reader.fault("long-label")
        return None
    return label


def _attributes(reader: Reader, index: int, item: Mapping[str, Any], limit: int) -> dict[str, tuple[str, ...]]:
    """New attributes behind those that the region has; nothing to set where there are none."""
    told = reader.view.regions[index].attributes
    found = [text for text in reader.texts(item.get("attributes", [])) if text not in told]
    if len(found) > limit:
        reader.fault("too-many-attributes", len(found) - limit)
    new = found[:limit]
    return {"attributes": (*told, *new)} if new else {}
