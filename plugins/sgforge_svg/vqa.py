"""The VQA filter (SVG section 3.1): a judge model answers one yes/no question for each non-spatial relation.

The paper publishes neither question nor threshold; ours are in `prompts` and `VqaConfig`. P(yes) is the verdict's
degree, never the relation's score.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.models import BoundModel, ImagePart
from sgforge.stages import Answer, Resources
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, picture_part
from sgforge_svg.config import VqaConfig
from sgforge_svg.prompts import VERDICT_SCHEMA, ask_many, ask_one
from sgforge_svg.questions import Claim, claims_of, facts_of
from sgforge_svg.view import View, look_at

__all__ = ["VqaFilter"]

_ALL_REGIONS = 10_000
_PROBES = {"absent": "an absent object", "swapped": "subject and object swapped"}
_CLAIM = "Does the image show that this claim is true?"


class VqaFilter:
    """Keeps relations whose P(yes) reaches the threshold, rejects the others as `judge-no`.

    Counts of an image: `probe-absent-yes`, `probe-absent-no`, `probe-swapped-yes`, `probe-swapped-no` for questions
    whose answer is no; `unanswered` for relations the judge left out, which stay as they are.
    """

    def __init__(self, options: VqaConfig) -> None:
        self.options = options
        self._model: BoundModel | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        self._model = bound_model(resources, "the vqa filter")

    async def filter(self, sample: Sample, /) -> Answer:
        """Judges the relations of one image; one without any to judge costs nothing."""
        options = self.options
        view = look_at(sample, _ALL_REGIONS)
        claims = claims_of(sample, view, spatial=options.spatial, probe_rate=options.probe_rate)
        if not claims:
            return Edit()
        failure = cannot_be_shown(view)
        if failure is not None:
            return failure
        picture = await picture_part(view, options.picture, options.max_side)
        degrees = await self._ask(view, claims, picture)
        return _verdicts(claims, degrees, options.threshold)

    async def _ask(self, view: View, claims: Sequence[Claim], picture: ImagePart) -> list[float | None]:
        """P(yes) of each claim, None where the judge gave no answer."""
        assert self._model is not None, "setup() comes first"
        if self._model.capabilities.probabilities:
            return list(await asyncio.gather(*(self._ask_one(view, claim, picture) for claim in claims)))
        size = self.options.questions_per_request
        chunks = [claims[start : start + size] for start in range(0, len(claims), size)]
        answers = await asyncio.gather(*(self._ask_many(view, chunk, picture) for chunk in chunks))
        return [degree for chunk in answers for degree in chunk]

    async def _ask_one(self, view: View, claim: Claim, picture: ImagePart) -> float | None:
        assert self._model is not None
        text = ask_one(_CLAIM, facts_of(view, [claim], single=True), self.options.picture)
        request = chat(picture, text, max_tokens=self.options.max_tokens, choices=("yes", "no"))
        response = await self._model.complete(request)
        if response.yes_probability is not None:
            return response.yes_probability
        return _word(response.text)

    async def _ask_many(self, view: View, claims: Sequence[Claim], picture: ImagePart) -> list[float | None]:
        assert self._model is not None
        text = ask_many(facts_of(view, claims, single=False), self.options.picture)
        request = chat(picture, text, max_tokens=self.options.max_tokens, schema=VERDICT_SCHEMA)
        response = await self._model.complete(request)
        return _read_many(response.parsed, len(claims))

    @staticmethod
    def notes(counts: Mapping[str, int]) -> list[str]:
        """One line on the judge's yes-bias per kind of probe, with a warning where its verdicts are worth nothing."""
        found = []
        for kind, meaning in _PROBES.items():
            yes, no = counts.get(f"probe-{kind}-yes", 0), counts.get(f"probe-{kind}-no", 0)
            if yes + no:
                share = yes / (yes + no)
                warning = ": it says yes to almost anything, do not trust its verdicts" if share > 0.5 else ""
                found.append(
                    f"judge said yes to {yes} of {yes + no} false claims with {meaning} ({share:.0%}){warning}"
                )
        return found


def _word(text: str) -> float | None:
    """1 for an answer that is yes, 0 for no, None for anything else."""
    word = text.strip().lower().rstrip(".!")
    return {"yes": 1.0, "no": 0.0}.get(word)


def _read_many(answer: Any, count: int) -> list[float | None]:
    degrees: list[float | None] = [None] * count
    rows = answer.get("answers", []) if isinstance(answer, Mapping) else []
    for row in rows if isinstance(rows, list) else []:
        number = row.get("question") if isinstance(row, Mapping) else None
        if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= count:
            degrees[number - 1] = _word(str(row.get("answer", "")))
    return degrees


def _verdicts(claims: Sequence[Claim], degrees: Sequence[float | None], threshold: float) -> Edit:
    edits: list[Edit] = []
    counts: Counter[str] = Counter()
    for claim, degree in zip(claims, degrees, strict=True):
        if degree is None:
            counts["unanswered"] += 1
        elif claim.index is None:
            counts[f"probe-{claim.probe}-{'yes' if degree >= threshold else 'no'}"] += 1
        elif degree >= threshold:
            edits.append(Edit.keep(claim.index, None, degree))
        else:
            edits.append(Edit.reject(claim.index, "judge-no", degree))
    return attrs.evolve(Edit.sum(edits), faults=dict(counts))
