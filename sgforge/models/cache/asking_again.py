"""Asking again what was answered with nothing of use: found again in every run, bought only with `--retry-failed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import attrs

from sgforge.models.errors import NOT_ASKED, ModelError
from sgforge.models.values import ChatRequest, ChatResponse

if TYPE_CHECKING:
    from sgforge.stages import Model

__all__ = ["complete_until", "spare_answer"]

_T = TypeVar("_T")


async def complete_until(
    model: Model, request: ChatRequest, read: Callable[[ChatResponse], _T | None]
) -> tuple[ChatResponse, _T | None]:
    """The first response in which `read` finds something, and what it finds; else the last response, and None.

    An answer that says nothing is kept like any other, so asking the same again would find it again. In its place the
    further samples of the question are looked at; of these one is bought in a run with `--retry-failed`.
    """
    response, number = await model.complete(request), 0
    while (found := read(response)) is None and response.cached:
        number += 1
        following = await spare_answer(model, attrs.evolve(request, ordinal=request.ordinal + number))
        if following is None:
            break
        response = following
    return response, found


async def spare_answer(model: Model, request: ChatRequest) -> ChatResponse | None:
    """The answer to a request that stands in for one answered with nothing of use; None where it is not to be asked."""
    try:
        return await model.complete(attrs.evolve(request, spare=True))
    except ModelError as error:
        if error.reason != NOT_ASKED:
            raise
        return None
