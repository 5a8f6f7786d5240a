"""The VQA filter (SVG section 2.1): a judge model answers one yes/no question for each non-spatial relation.

The paper's text gives neither question nor threshold (its appendix E.2 tells of the filters); ours are in `prompts`
and `VqaConfig`. P(yes) is the verdict's degree, never the relation's score.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.models import ImagePart
from sgforge.stages import Answer, Model, Resources
from sgforge.text.wording import counted
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, picture_part
from sgforge_svg.config import VqaConfig
from sgforge_svg.prompts import VERDICT_SCHEMA, ask_many, ask_one
from sgforge_svg.questions import Claim, Round, has_no_rule, many_facts, one_fact, rounds_of

__all__ = ["VqaFilter"]

_PROBES: Final = {"absent": "an absent object", "swapped": "subject and object swapped"}
_ONE_WORD_TOKENS: Final = 16  # room for blanks and quotes around a single word


@attrs.frozen
class _Reply:
    """What the judge said to one claim: P(yes), None without a usable answer. `in_words`: P was wanted, not given."""

    degree: float | None
    in_words: bool = False


class VqaFilter:
    """Keeps relations whose P(yes) reaches the threshold, rejects the others as `judge-no`.

    Counts of an image: `probe-absent-yes`, `probe-absent-no`, `probe-swapped-yes`, `probe-swapped-no` for questions
    whose answer is no; `unanswered` for questions without a usable answer, whose relations stay as they are;
    `no-probability` for answers of a model that should give P(yes) and gave a word, taken as 1 or 0;
    `spatial-without-rule` for relations of place that neither this filter nor a geometric rule judges.
    """

    def __init__(self, options: VqaConfig) -> None:
        self.options = options
        self._model: Model | None = None

    def setup(self, resources: Resources) -> None:
        """Takes the bound model."""
        self._model = bound_model(resources, "the vqa filter")

    async def filter(self, sample: Sample, /) -> Answer:
        """Judges the relations of one image; one without any to judge costs nothing."""
        options = self.options
        rounds = list(
            rounds_of(sample, spatial=options.spatial, probe_rate=options.probe_rate, max_regions=options.max_regions)
        )
        failure = cannot_be_shown(sample) if rounds else None
        if failure is not None:
            return failure
        edits = await asyncio.gather(*(self._judge(each) for each in rounds))
        return Edit.sum([*edits, self._passed_over(sample)])

    def _passed_over(self, sample: Sample) -> Edit:
        rows = sample.graph.relations.values() if self.options.spatial == "never" else ()
        count = sum(has_no_rule(row) for row in rows)
        return Edit(faults={"spatial-without-rule": count} if count else {})

    async def _judge(self, part: Round) -> Edit:
        picture = await picture_part(part.view, self.options.picture, self.options.max_side)
        return _verdicts(part.claims, await self._ask(part, picture), self.options.threshold)

    async def _ask(self, part: Round, picture: ImagePart) -> list[_Reply]:
        assert self._model is not None, "setup() comes first"
        claims = part.claims
        if self.options.probabilities and self._model.capabilities.probabilities:
            return list(await asyncio.gather(*(self._ask_one(part, claim, picture) for claim in claims)))
        size = self.options.questions_per_request
        chunks = [claims[start : start + size] for start in range(0, len(claims), size)]
        answers = await asyncio.gather(*(self._ask_many(part, chunk, picture) for chunk in chunks))
        return [reply for chunk in answers for reply in chunk]

    async def _ask_one(self, part: Round, claim: Claim, picture: ImagePart) -> _Reply:
        assert self._model is not None
        text = ask_one(one_fact(part.view, claim), self.options.picture)
        tokens = min(self.options.max_tokens, _ONE_WORD_TOKENS)
        response = await self._model.complete(chat(picture, text, max_tokens=tokens, choices=("yes", "no")))
        if response.yes_probability is not None:
            return _Reply(response.yes_probability)
        degree = _word(response.text)
        return _Reply(degree, in_words=degree is not None)

    async def _ask_many(self, part: Round, claims: Sequence[Claim], picture: ImagePart) -> list[_Reply]:
        assert self._model is not None
        text = ask_many(many_facts(part.view, claims), self.options.picture)
        request = chat(picture, text, max_tokens=self.options.max_tokens, schema=VERDICT_SCHEMA)
        response = await self._model.complete(request)
        return _read_many(response.parsed, len(claims))

    @staticmethod
    def notes(counts: Mapping[str, int]) -> list[str]:
        """Remarks on a run: the judge's yes-bias per kind of probe, questions without answer, words for P(yes)."""
        return list(_remarks(counts))


def _remarks(counts: Mapping[str, int]) -> Iterator[str]:
    for kind, meaning in _PROBES.items():
        yes, no = counts.get(f"probe-{kind}-yes", 0), counts.get(f"probe-{kind}-no", 0)
        if yes + no:
            share = yes / (yes + no)
            warning = ": it says yes to almost anything, do not trust its verdicts" if share > 0.5 else ""
            yield f"judge said yes to {yes} of {yes + no} false claims with {meaning} ({share:.0%}){warning}"
    if unanswered := counts.get("unanswered", 0):
        yield f"judge left {counted(unanswered, 'question')} without a usable answer: those relations stand unjudged"
    if in_words := counts.get("no-probability", 0):
        answers = counted(in_words, "answer")
        yield f"judge gave no probability for {answers}: their yes or no was taken as P(yes) of 1 or 0"
    if unruled := counts.get("spatial-without-rule", 0):
        yield (
            f"judge was not asked about {counted(unruled, 'spatial relation')} that no rule covers either: "
            'spatial = "without-rule" asks about them'
        )


def _word(text: str) -> float | None:
    """1 for an answer that is yes, 0 for no, None for anything else."""
    word = text.strip().lower().rstrip(".!")
    return {"yes": 1.0, "no": 0.0}.get(word)


def _read_many(answer: Any, count: int) -> list[_Reply]:
    replies = [_Reply(None)] * count
    rows = answer.get("answers", []) if isinstance(answer, Mapping) else []
    for row in rows if isinstance(rows, list) else []:
        number = row.get("question") if isinstance(row, Mapping) else None
        if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= count:
            replies[number - 1] = _Reply(_word(str(row.get("answer", ""))))
    return replies


def _verdicts(claims: Sequence[Claim], replies: Sequence[_Reply], threshold: float) -> Edit:
    edits: list[Edit] = []
    counts: Counter[str] = Counter()
    for claim, reply in zip(claims, replies, strict=True):
        degree = reply.degree
        counts["no-probability"] += reply.in_words
        if degree is None:
            counts["unanswered"] += 1
        elif claim.index is None:
            counts[f"probe-{claim.probe}-{'yes' if degree >= threshold else 'no'}"] += 1
        elif degree >= threshold:
            edits.append(Edit.keep(claim.index, None, degree))
        else:
            edits.append(Edit.reject(claim.index, "judge-no", degree))
    return attrs.evolve(Edit.sum(edits), faults=dict(+counts))
