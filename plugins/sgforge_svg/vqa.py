"""The VQA filter (SVG section 2.1): a judge model answers one yes/no question for each non-spatial relation.

The paper's text gives neither question nor threshold (its appendix E.2 tells of the filters); ours are in `prompts`
and `VqaConfig`. P(yes) is the verdict's degree, never the relation's score.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from sgforge.edits import UNANSWERED, Edit
from sgforge.graph import Sample
from sgforge.models import ChatRequest, ChatResponse, ImagePart, ModelError
from sgforge.models.cache.asking_again import complete_until, spare_answer
from sgforge.models.errors import DEFERRED
from sgforge.stages import Answer, Failure, Model, Resources
from sgforge.text.wording import counted
from sgforge_svg.asking import bound_model, cannot_be_shown, chat, show
from sgforge_svg.config import VqaConfig
from sgforge_svg.prompts import VERDICT_READING, VERDICT_SCHEMA, ask_many, ask_one
from sgforge_svg.questions import Claim, Round, has_no_rule, many_facts, one_fact, rounds_of
from sgforge_svg.yes_no import degree_of_word

__all__ = ["VqaFilter"]

_PROBES: Final = {"absent": "an absent object", "swapped": "subject and object swapped"}
_ROUNDING: Final = 1e-6  # of probabilities that were logarithms
_UNANSWERED: Final[Mapping[str, str]] = {"truncated": "cut-off", "refused": "refused"}
"""Why a question has no answer, where it is worth a count of its own."""


@attrs.frozen
class _Reply:
    """What the judge said to one claim: P(yes), None without a usable answer. `counted`: what else is to be counted."""

    degree: float | None
    counted: Mapping[str, int] = attrs.field(factory=dict)

    def followed_by(self, other: _Reply) -> _Reply:
        """What came of asking again in this one's place; counts of both."""
        return _Reply(other.degree, Counter(self.counted) + Counter(other.counted))


def _without_answer(error: ModelError) -> _Reply:
    """What being refused, empty, cut off or failed comes to; raises what concerns more than the question."""
    if error.stops_run or error.goes_back or error.reason == DEFERRED:
        raise error
    why = _UNANSWERED.get(error.reason, "counted-from-0" if "count from 0" in error.detail else "failed")
    return _Reply(None, {why: 1})


class VqaFilter:
    """Keeps relations whose P(yes) reaches the threshold, rejects the others as `judge-no`.

    Counts of an image: `probe-absent-yes`, `probe-absent-no`, `probe-swapped-yes`, `probe-swapped-no` for questions
    whose answer is no; `unanswered` for questions without a usable answer, whose relations stay as they are until
    `--retry-failed` asks them again; `no-probability` for answers of a model that should give P(yes) and gave a word,
    taken as 1 or 0; `word-decided` for those whose probabilities lie on other words than yes and no; `refused`,
    `cut-off`, `counted-from-0` and `clash` for why questions are unanswered; `mended` for answers that were not quite
    what was asked for; `spatial-without-rule` for relations of place that neither this filter nor a geometric rule
    judges.
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
        judged = await asyncio.gather(*(self._judge(each) for each in rounds))
        replies = [reply for _, given in judged for reply in given]
        if replies and all(reply.degree is None for reply in replies):
            return _unanswered(sample, replies)
        verdicts = [
            _verdicts(part.claims, given, options.threshold) for part, (_, given) in zip(rounds, judged, strict=True)
        ]
        return Edit.sum([*verdicts, self._passed_over(sample)])

    def _passed_over(self, sample: Sample) -> Edit:
        rows = sample.graph.relations.values() if self.options.spatial == "never" else ()
        count = sum(has_no_rule(row) for row in rows)
        return Edit(faults={"spatial-without-rule": count} if count else {})

    async def _judge(self, part: Round) -> tuple[Round, list[_Reply]]:
        options = self.options
        view, picture = await show(
            part.view, self._bound(), options.picture, options.max_side, as_before=options.prompts == 2
        )
        return part, await self._ask(attrs.evolve(part, view=view), picture)

    async def _ask(self, part: Round, picture: ImagePart) -> list[_Reply]:
        claims = part.claims
        if self.options.probabilities and self._bound().capabilities.probabilities:
            return list(await asyncio.gather(*(self._ask_one(part, claim, picture) for claim in claims)))
        size = self.options.questions_per_request
        chunks = [claims[start : start + size] for start in range(0, len(claims), size)]
        answers = await asyncio.gather(*(self._ask_many(part, chunk, picture) for chunk in chunks))
        return [reply for chunk in answers for reply in chunk]

    async def _ask_one(self, part: Round, claim: Claim, picture: ImagePart) -> _Reply:
        """One question. Whatever becomes of it, the other verdicts of the image stand."""
        options = self.options
        text = ask_one(one_fact(part.view, claim), options.picture, part.view.sent)
        request = chat(picture, text, max_tokens=options.judge_max_tokens, choices=("yes", "no"))
        try:
            _, reply = await complete_until(self._bound(), request, self._read_one)
        except ModelError as error:
            return _without_answer(error)
        return _Reply(None) if reply is None else reply

    def _read_one(self, response: ChatResponse) -> _Reply | None:
        degree = response.yes_probability
        if degree is not None and response.decided_mass >= self.options.least_mass - _ROUNDING:
            return _Reply(degree)
        word = degree_of_word(response.text)
        why = "no-probability" if degree is None else "word-decided"
        return _Reply(word, {why: 1}) if word is not None else None

    async def _ask_many(self, part: Round, claims: Sequence[Claim], picture: ImagePart) -> list[_Reply]:
        """Several questions in one request; those that it leaves open are asked on their own where failed ones are."""
        replies = [_Reply(None)] * len(claims)
        model, left, attempt = self._bound(), list(range(len(claims))), 0
        while left:
            request = self._of_many(part, [claims[place] for place in left], picture, attempt)
            try:
                response = await (spare_answer(model, request) if attempt else model.complete(request))
            except ModelError as error:
                replies[left[0]] = replies[left[0]].followed_by(_without_answer(error))
                break
            if response is None:
                break
            for place, reply in zip(left, _read_many(response, len(left)), strict=True):
                replies[place] = replies[place].followed_by(reply)
            if not response.cached:
                break
            left, attempt = [place for place in left if replies[place].degree is None], attempt + 1
        return replies

    def _of_many(self, part: Round, claims: Sequence[Claim], picture: ImagePart, attempt: int) -> ChatRequest:
        text = ask_many(many_facts(part.view, claims), self.options.picture, part.view.sent)
        room = self.options.max_tokens
        request = chat(picture, text, max_tokens=room, schema=VERDICT_SCHEMA, reading=VERDICT_READING)
        return attrs.evolve(request, ordinal=attempt)

    def _bound(self) -> Model:
        assert self._model is not None, "setup() comes first"
        return self._model

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
        left = f"judge left {counted(unanswered, 'question')} without a usable answer"
        yield f"{left}: those relations stand unjudged; --retry-failed asks again"
    if cut := counts.get("cut-off", 0):
        yield f"judge was cut off {counted(cut, 'time')}: judge_max_tokens, or for lists max_tokens, gives it room"
    if decided := counts.get("word-decided", 0):
        answers = counted(decided, "answer")
        yield f"judge gave yes and no too little probability in {answers}: the word decided, as P(yes) of 1 or 0"
    if in_words := counts.get("no-probability", 0):
        answers = counted(in_words, "answer")
        yield f"judge gave no probability for {answers}: their yes or no was taken as P(yes) of 1 or 0"
    if unruled := counts.get("spatial-without-rule", 0):
        yield (
            f"judge was not asked about {counted(unruled, 'spatial relation')} that no rule covers either: "
            'spatial = "without-rule" asks about them'
        )


def _unanswered(sample: Sample, replies: Sequence[_Reply]) -> Failure:
    """An image none of whose questions was answered: it is not done, and is asked again."""
    reasons = _counted(replies)
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    cut = "; give the judge room by judge_max_tokens, or set probabilities = false" if reasons.get("cut-off") else ""
    return Failure(
        UNANSWERED,
        f"image {sample.image_id}: none of {counted(len(replies), 'question')} got a usable answer"
        f"{f' ({told})' if told else ''}{cut}; --retry-failed asks again",
    )


def _counted(replies: Sequence[_Reply]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for reply in replies:
        counts.update(reply.counted)
    return counts


def _read_many(response: ChatResponse, count: int) -> list[_Reply]:
    """Answers by their numbers, which the gateway has seen to: none counts from 0, no question has two."""
    replies = [_Reply(None)] * count
    rows = response.parsed.get("answers", ()) if isinstance(response.parsed, Mapping) else ()
    unknown = 0
    for row in rows:
        number = row["question"]
        if type(number) is int and 1 <= number <= count:
            replies[number - 1] = _Reply(degree_of_word(row["answer"]))
        else:
            unknown += 1
    dropped = Counter(response.dropped)
    notes = {
        "mended": response.mended,
        "clash": dropped["clash"],
        "not-an-object": dropped.total() - dropped["clash"],
        "unknown-question": unknown,
        "cut-off": int(response.truncated),
    }
    # On the first of them, as they concern the answer as a whole.
    replies[0] = attrs.evolve(replies[0], counted={name: number for name, number in notes.items() if number})
    return replies


def _verdicts(claims: Sequence[Claim], replies: Sequence[_Reply], threshold: float) -> Edit:
    edits: list[Edit] = []
    counts = _counted(replies)
    for claim, reply in zip(claims, replies, strict=True):
        degree = reply.degree
        if degree is None:
            counts[UNANSWERED] += 1
        elif claim.index is None:
            counts[f"probe-{claim.probe}-{'yes' if degree >= threshold else 'no'}"] += 1
        elif degree >= threshold:
            edits.append(Edit.keep(claim.index, None, degree))
        else:
            edits.append(Edit.reject(claim.index, "judge-no", degree))
    return attrs.evolve(Edit.sum(edits), faults=dict(+counts))
