"""The SG-Edit editor (SVG section 2.2): a strong model corrects what a student proposed."""

from __future__ import annotations

from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Model, Resources
from sgforge_svg.answers import told_with
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, show
from sgforge_svg.config import EditConfig
from sgforge_svg.corrections import read_corrections
from sgforge_svg.prompts import EDIT_READING, EDIT_SCHEMA, ask_edit
from sgforge_svg.view import look_at

__all__ = ["SgEditor"]


class SgEditor:
    """Removes relations with a reason, adds missing ones, sharpens descriptions and attributes; regions stay."""

    def __init__(self, options: EditConfig) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        self._model = bound_model(resources, "the svg editor")

    async def edit(self, sample: Sample, /) -> Answer:
        """One request for one image; what cannot be used of its answer is counted in the Edit's faults."""
        assert self._model is not None, "setup() comes first"
        options = self.options
        view = look_at(sample, options.max_regions)
        if not view.regions:
            return Failure("too-few-regions", f"image {sample.image_id} has no regions")
        failure = cannot_be_shown(sample)
        if failure is not None:
            return failure
        shown = view.relations()
        # Without a step's name a relation is the source's own: known, and not this editor's to remove.
        proposed = [index for index, row in shown.items() if options.scope == "all" or row.made_by is not None]
        known = [row for index, row in shown.items() if index not in proposed]
        seen, picture = await show(view, self._model, options.picture, options.max_side, as_before=options.prompts == 2)
        facts = seen.facts(known, [shown[index] for index in proposed])
        text = ask_edit(facts, max_additions=options.max_additions, picture=options.picture, size=seen.sent)
        response = await self._model.complete(
            chat(
                picture,
                text,
                schema=EDIT_SCHEMA,
                max_tokens=options.room(len(view.regions), len(proposed)),
                temperature=options.temperature,
                reading=EDIT_READING,
            )
        )
        edit = read_corrections(
            view,
            proposed,
            response.parsed,
            max_additions=options.max_additions,
            max_predicate_words=options.max_predicate_words,
        )
        return told_with(edit, response)
