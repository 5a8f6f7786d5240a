"""The judge `vqascore`: P(yes) to the question whether the picture shows its caption (VQAScore, Lin et al. 2024).

Its question is ours: the paper's asks whether a figure shows the text.
"""

from __future__ import annotations

import asyncio

from sgforge.edits import UNANSWERED, Edit
from sgforge.errors import StepError
from sgforge.graph import Caption, Sample
from sgforge.models import ChatRequest, ChatResponse, ImagePart, Message, TextPart
from sgforge.models.cache.asking_again import complete_until
from sgforge.stages import Answer, Failure, Model, Resources
from sgforge_gas.config import VqaScoreOptions

__all__ = ["VqaScoreJudge"]

_WORD_TOKENS = 16


class VqaScoreJudge:
    """The total is P(yes); of a model without probabilities a yes is 1 and a no is 0, anything else a failure."""

    def __init__(self, options: VqaScoreOptions) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        if resources.model is None:
            raise StepError("the judge vqascore needs a model: run it through a pipeline, or set Resources.model")
        self._model = resources.model

    async def judge(self, sample: Sample, /) -> Answer:
        """The answer about one picture and its caption."""
        caption = sample.values.get("caption")
        if not isinstance(caption, Caption):
            return Failure("no-caption", f"image {sample.image_id} has no caption: put a caption step before")
        if sample.image is None:
            return Failure("no-image", f"image {sample.image_id} has no picture to ask about")
        assert self._model is not None, "setup() comes first"
        picture = ImagePart.from_pil(await asyncio.to_thread(sample.image.pil))
        text = f"Does this picture show what the following text says? Answer yes or no.\nText: {caption.text}"
        request = ChatRequest(
            (Message("user", (picture, TextPart(text))),), max_tokens=_WORD_TOKENS, choices=("yes", "no")
        )
        _, total = await complete_until(self._model, request, _total)
        if total is None:
            return Failure(UNANSWERED, f"image {sample.image_id}: the judge answered neither yes nor no")
        return Edit.value("image", None, "answers", {"yes": [], "total": round(float(total), 6)})


def _total(response: ChatResponse) -> float | None:
    """P(yes), or what the word says; None for neither yes nor no."""
    if response.yes_probability is not None:
        return response.yes_probability
    return {"yes": 1.0, "no": 0.0}.get(response.text.strip().casefold().rstrip(".!"))
