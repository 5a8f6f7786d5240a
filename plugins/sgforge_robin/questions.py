"""Free questions about whole pictures: what evaluations of question answering ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from sgforge.errors import ImageError
from sgforge.graph import Sample, SceneGraph
from sgforge.images import ImageSource
from sgforge.stages import Failure
from sgforge_robin.decoding.decode import Ask, Sampling, decode
from sgforge_robin.encoding import ask_ids
from sgforge_robin.learnt import TrainedRobin
from sgforge_robin.looking import Look, look_at, see_sample
from sgforge_robin.text.plain import plain_sentence

__all__ = ["Prompted", "answer_prompts"]

_ANSWER: Final = "Answer: "
"""Behind it stands the answer of a Robin that learnt to give the graph first."""


class Prompted(Protocol):
    """A question: its text, and the picture that it is about."""

    @property
    def text(self) -> str: ...

    @property
    def image(self) -> ImageSource | None: ...


def answer_prompts(robin: TrainedRobin, prompts: Sequence[Prompted], sampling: Sampling) -> list[str | Failure]:
    """An answer to each question, all as one batch; a question without a picture that can be read is a `Failure`."""
    looks = [_look(robin, place, prompt) for place, prompt in enumerate(prompts)]
    seen = [(prompt, look) for prompt, look in zip(prompts, looks, strict=True) if isinstance(look, Look)]
    asks = [
        Ask(place, ask_ids(robin.tokenizer, plain_sentence(prompt.text)), f"prompt/{prompt.text}")
        for place, (prompt, _) in enumerate(seen)
    ]
    said = iter(decode(robin.model, [look.prefix for _, look in seen], asks, sampling))
    return [
        look if isinstance(look, Failure) else _answer(robin.tokenizer.text(next(said).ids, special=False))
        for look in looks
    ]


def _look(robin: TrainedRobin, place: int, prompt: Prompted) -> Look | Failure:
    if prompt.image is None:
        return Failure("image-missing", "a Robin looks at pixels, and this question has no picture")
    try:
        width, height = prompt.image.size()
        sample = Sample(f"prompt-{place}", SceneGraph(width, height), image=prompt.image)
        return look_at(robin, see_sample(robin, sample))
    except ImageError as error:
        return Failure(error.code, str(error))


def _answer(text: str) -> str:
    return text.rpartition(_ANSWER)[2].strip()
