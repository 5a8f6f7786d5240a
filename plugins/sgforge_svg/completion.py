"""The completion teacher (SVG section 2.1): a strong model adds the relations that annotators left out.

Completion, not generation: the model is given the regions and the known relations, and names what is missing.
"""

from __future__ import annotations

from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Model, Resources
from sgforge_svg.answers import read_completion, told_with
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, show
from sgforge_svg.config import CompletionConfig
from sgforge_svg.prompts import COMPLETION_READING, COMPLETION_SCHEMA, ask_completion
from sgforge_svg.view import look_at

__all__ = ["CompletionTeacher"]


class CompletionTeacher:
    """Asks for at least K subjects, each with a description and its missing relations in five categories."""

    def __init__(self, options: CompletionConfig) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        self._model = bound_model(resources, "the svg teacher")

    async def complete(self, sample: Sample, /) -> Answer:
        """One request for one image; what cannot be used of its answer is counted in the Edit's faults."""
        assert self._model is not None, "setup() comes first"
        options = self.options
        view = look_at(sample, options.max_regions)
        if len(view.regions) < 2:
            return Failure("too-few-regions", f"image {sample.image_id} has no two regions to relate")
        failure = cannot_be_shown(sample)
        if failure is not None:
            return failure
        seen, picture = await show(view, self._model, options.picture, options.max_side, as_before=options.prompts == 2)
        text = ask_completion(
            seen.facts(view.relations().values()),
            subjects=options.subjects,
            most_subjects=options.most_subjects(),
            relations_per_subject=options.relations_per_subject,
            picture=options.picture,
            size=seen.sent,
        )
        response = await self._model.complete(
            chat(
                picture,
                text,
                schema=COMPLETION_SCHEMA,
                max_tokens=options.room(),
                temperature=options.temperature,
                reading=COMPLETION_READING,
            )
        )
        edit = read_completion(
            view,
            response.parsed,
            subjects=options.subjects,
            relations_per_subject=options.relations_per_subject,
            max_predicate_words=options.max_predicate_words,
        )
        return told_with(edit, response)
