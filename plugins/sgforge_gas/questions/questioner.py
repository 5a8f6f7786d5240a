"""The questioner `gas`: all questions that a graph answers."""

from __future__ import annotations

from collections.abc import Sequence

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure, Resources
from sgforge_gas.config import QuestionerOptions
from sgforge_gas.questions.asking import Asker
from sgforge_gas.vocabulary import load_vocabulary

__all__ = ["GasQuestioner", "asker_of"]


def asker_of(options: QuestionerOptions) -> Asker:
    """What asks as the options say."""
    return Asker(
        load_vocabulary(options.vocabulary),
        counts=options.counts,
        negatives=options.negatives,
        choices=options.choices,
        seed=options.seed,
    )


class GasQuestioner:
    """Asks about each graph; one without any object is a failure with reason no-objects."""

    def __init__(self, options: QuestionerOptions) -> None:
        self.options = options
        self._asker: Asker | None = None

    def setup(self, resources: Resources) -> None:
        """Read the vocabulary."""
        self._asker = asker_of(self.options)

    def question(self, samples: Sequence[Sample]) -> list[Answer]:
        """The questions of each, from its graph alone."""
        return [self._answer(sample) for sample in samples]

    def _answer(self, sample: Sample) -> Answer:
        assert self._asker is not None, "setup() comes first"
        if not sample.graph.regions:
            return Failure("no-objects", f"image {sample.image_id} has no object to ask about")
        return Edit.value("image", None, "questions", self._asker.ask(sample.graph))
