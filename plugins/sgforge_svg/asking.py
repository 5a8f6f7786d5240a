"""What the components share when they ask a model about one sample."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs

from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge.models import ChatRequest, ImagePart, Message, Reading, TextPart
from sgforge.stages import Failure, Model, Resources
from sgforge_svg.prompts import SYSTEM
from sgforge_svg.view import View, picture_of

__all__ = ["bound_model", "cannot_be_shown", "chat", "show"]


def bound_model(resources: Resources, component: str) -> Model:
    """The model the engine bound to the option `model`."""
    if resources.model is None:
        raise StepError(f"{component} needs a model: run it through a pipeline, or set Resources.model")
    return resources.model


def cannot_be_shown(sample: Sample) -> Failure | None:
    """Why the sample cannot be asked about at all; None if it can."""
    if sample.image is None:
        return Failure("no-image", f"image {sample.image_id} has no picture to show to a model")
    return None


async def show(view: View, model: Model, style: str, max_side: int, *, as_before: bool) -> tuple[View, ImagePart]:
    """The picture of a view, drawn and encoded once, off the event loop; and the view in that picture's pixels.

    `as_before`: as revision 2 drew it, with boxes in pixels of the graph.
    """
    limit = model.capabilities.max_image_side
    side = max_side if as_before or limit is None else min(max_side, limit)

    def draw() -> ImagePart:
        return ImagePart.from_pil(picture_of(view, style, side, as_before=as_before))

    part = await asyncio.to_thread(draw)
    return (view if as_before else attrs.evolve(view, sent=part.size)), part


def chat(
    picture: ImagePart,
    text: str,
    *,
    max_tokens: int,
    schema: Mapping[str, Any] | None = None,
    temperature: float | None = None,
    choices: tuple[str, ...] = (),
    reading: Reading = Reading(),
    system: str = SYSTEM,
) -> ChatRequest:
    """One question: the instructions, by default the common ones, the picture, the text."""
    return ChatRequest(
        (Message("system", system), Message("user", (picture, TextPart(text)))),
        schema=schema,
        max_tokens=max_tokens,
        temperature=temperature,
        choices=choices,
        reading=reading,
    )
