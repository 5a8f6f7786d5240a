"""The counterfactual filter: does a judge say yes because of what it sees, or because of the words?

It is asked about a relation as it is, and again with the subject or the object painted over. Where P(yes) stays, the
picture was no evidence: what the judge knows is which words go together. The idea of hiding what a claim is about to
find priors of language is old in visual question answering (Goyal et al., "Making the V in VQA Matter", CVPR 2017,
balance pictures for it); the measure and its threshold are ours.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from sgforge.edits import UNANSWERED, Edit
from sgforge.graph import Sample
from sgforge.models import ChatResponse, ImagePart, ModelError
from sgforge.models.cache.asking_again import complete_until
from sgforge.models.errors import DEFERRED
from sgforge.stages import Answer, Failure, Model, Resources
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, show
from sgforge_svg.config import CounterfactualConfig
from sgforge_svg.prompts import ask_one
from sgforge_svg.questions import Claim, one_fact, rounds_of
from sgforge_svg.view import View, clean_text
from sgforge_svg.yes_no import degree_of_word

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["CounterfactualFilter", "hidden"]

_Drop: TypeAlias = tuple[float | str, int]
"""How far P(yes) fell, or why that cannot be told; and how many questions got no answer."""

_MOST_TOLD: Final = 10
_ASKED: Final = "asked about: "
_PRIOR: Final = "prior: "


class CounterfactualFilter:
    """Rejects relations whose P(yes) stays with their subject or object hidden, as `language-prior`.

    The degree is the drop of P(yes), the larger of the two. Relations that the judge denies as they are stay as they
    are. Counts of an image: `asked about: PREDICATE` and `prior: PREDICATE`, `judge-no` for denied ones, `unanswered`.
    """

    def __init__(self, options: CounterfactualConfig) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        self._model = bound_model(resources, "the counterfactual filter")

    async def filter(self, sample: Sample, /) -> Answer:
        """Two or three questions a relation; those about the picture as it is are the same as the vqa filter's."""
        options = self.options
        rounds = list(rounds_of(sample, spatial=options.spatial, probe_rate=0.0, max_regions=options.max_regions))
        failure = cannot_be_shown(sample) if rounds else None
        if failure is not None:
            return failure
        edits: list[Edit] = []
        counts: Counter[str] = Counter()
        for part in rounds:
            assert self._model is not None, "setup() comes first"
            view, picture = await show(part.view, self._model, options.picture, options.max_side, as_before=False)
            drops = await asyncio.gather(*(self._drop(view, claim, picture) for claim in part.claims))
            edits += _verdicts(part.claims, drops, options, counts)
        if rounds and counts[UNANSWERED] and not (edits or counts["judge-no"]):
            told = f"image {sample.image_id}: no question got a usable answer; --retry-failed asks again"
            return Failure(UNANSWERED, told)
        return attrs.evolve(Edit.sum(edits), faults=dict(+counts))

    async def _drop(self, view: View, claim: Claim, picture: ImagePart) -> _Drop:
        """How much P(yes) falls with an end hidden; a reason where that cannot be told."""
        seen = await self._degree(view, claim, picture)
        if seen is None:
            return UNANSWERED, 1
        if seen < self.options.threshold:
            return "judge-no", 0
        ends = [end for end in self._ends(claim) if end in view.regions]
        without = await asyncio.gather(*(self._without(view, claim, end) for end in ends))
        known = [degree for degree in without if degree is not None]
        return (seen - min(known) if known else UNANSWERED), len(without) - len(known)

    def _ends(self, claim: Claim) -> Iterator[int]:
        if self.options.hide != "object":
            yield claim.subject
        if self.options.hide != "subject" and isinstance(claim.object, int):
            yield claim.object

    async def _without(self, view: View, claim: Claim, end: int) -> float | None:
        """P(yes) with one region painted over."""
        assert self._model is not None
        part = await asyncio.to_thread(hidden, view, end, self.options.picture, max(view.sent or (1,)))
        return await self._degree(view, claim, part)

    async def _degree(self, view: View, claim: Claim, picture: ImagePart) -> float | None:
        assert self._model is not None
        text = ask_one(one_fact(view, claim), self.options.picture, view.sent)
        request = chat(picture, text, max_tokens=self.options.judge_max_tokens, choices=("yes", "no"))
        try:
            _, degree = await complete_until(self._model, request, self._read)
        except ModelError as error:
            if error.stops_run or error.goes_back or error.reason == DEFERRED:
                raise
            return None
        return degree

    def _read(self, response: ChatResponse) -> float | None:
        if response.yes_probability is not None and response.decided_mass >= self.options.least_mass:
            return response.yes_probability
        return degree_of_word(response.text)

    @staticmethod
    def notes(counts: Mapping[str, int]) -> list[str]:
        """The share of language priors among what was asked about, by predicate, most asked first."""
        asked = {name.removeprefix(_ASKED): n for name, n in counts.items() if name.startswith(_ASKED)}
        told = []
        for predicate, count in sorted(asked.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TOLD]:
            prior = counts.get(f"{_PRIOR}{predicate}", 0)
            told.append(
                f"'{predicate}': the judge's yes was language prior in {prior} of {count} ({prior / count:.0%})"
            )
        return told


def _verdicts(
    claims: tuple[Claim, ...], drops: list[_Drop], options: CounterfactualConfig, counts: Counter[str]
) -> Iterator[Edit]:
    for claim, (drop, unanswered) in zip(claims, drops, strict=True):
        counts[UNANSWERED] += unanswered
        if isinstance(drop, str):
            counts[drop] += drop != UNANSWERED
            continue
        assert claim.index is not None, "without probes every claim is a relation's"
        predicate = clean_text(claim.predicate)
        counts[f"{_ASKED}{predicate}"] += 1
        if drop >= options.least_drop:
            yield Edit.keep(claim.index, None, max(0.0, drop))
        else:
            counts[f"{_PRIOR}{predicate}"] += 1
            yield Edit.reject(claim.index, "language-prior", max(0.0, drop))


def hidden(view: View, end: int, style: str, side: int) -> ImagePart:
    """The picture of a view with one region painted over in the mean colour of the image around it, marks above it."""
    from sgforge_svg.view import picture_of

    image = view.sample.image
    assert image is not None, "an image that cannot be shown is not asked about"
    painted = _painted(image.pil(), view, end)
    return ImagePart.from_pil(picture_of(view, style, side, image=painted))


def _painted(image: Image.Image, view: View, end: int) -> Image.Image:
    import numpy as np
    from PIL import Image as Pictures

    pixels = np.array(image)
    x0, y0, x1, y1 = view.sample.graph.box_of(end)
    # The whole box and a little more: a silhouette would still tell what was there.
    grow = 0.05 * max(x1 - x0, y1 - y0)
    rows = slice(max(0, int(y0 - grow)), int(y1 + grow) + 1)
    columns = slice(max(0, int(x0 - grow)), int(x1 + grow) + 1)
    around = np.ones(pixels.shape[:2], bool)
    around[rows, columns] = False
    color = pixels[around].mean(axis=0) if around.any() else np.full(3, 127.0)
    pixels[rows, columns] = color.astype(np.uint8)
    return Pictures.fromarray(pixels)
