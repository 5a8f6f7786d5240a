"""The reward `scene-questions`: how much of its graph a picture shows, asked question by question.

The paper (Generate Any Scene, section 5) rewards the share of questions that a model answers rightly. Ours gates them
by their dependencies and weighs questions with the answer no as much as the others, so that no judge can be flattered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from sgforge.graph import Question, Sample, SceneGraph
from sgforge.images import ImageSource
from sgforge.stages import Credit, Failure, Outcome, Resources
from sgforge.stages.rewards import Scored
from sgforge_gas.config import SceneQuestionsOptions
from sgforge_gas.questions.asking import Asker
from sgforge_gas.questions.scoring import Scores, rightness, score_answers
from sgforge_gas.vocabulary import load_vocabulary

__all__ = ["SceneQuestionsReward", "credit_of", "trl_reward"]

Answers = Sequence[float | None]


class SceneQuestionsReward:
    """A total in [0, 1] over the answers of a judge; parts by kind of question; credit of regions and relations.

    Without a judge the answers that stand with the sample count (a judge step before). Questions are those that stand
    with the sample, else all that its graph answers.
    """

    range = (0.0, 1.0)

    def __init__(self, options: SceneQuestionsOptions) -> None:
        self.options = options
        self._judge: Any = None

    def setup(self, resources: Resources) -> None:
        """Take the judge."""
        held = resources.parts.get("judge", ())
        self._judge = held[0].component if held else None
        options = self.options
        self._asker = Asker(load_vocabulary(options.vocabulary), counts=options.counts, negatives=options.negatives)

    def score(self, samples: Sequence[Sample], outcomes: Sequence[Sequence[Outcome]]) -> list[list[Scored]]:
        """The credits of all outcomes; those without a picture, and those that the judge failed, are failures."""
        asked = [self._questions(sample) for sample in samples]
        shown = [
            (row, place, attrs.evolve(samples[row], image=outcome.image, values=_with(samples[row], asked[row])))
            for row, group in enumerate(outcomes)
            for place, outcome in enumerate(group)
            if self._judge is not None and outcome.image is not None and asked[row]
        ]
        answers: dict[tuple[int, int], Any] = {}
        if shown:
            judged = self._judge.judge([sample for _, _, sample in shown])
            answers = {(row, place): answer for (row, place, _), answer in zip(shown, judged, strict=True)}
        return [
            [
                self._credit(samples[row], asked[row], outcome, answers.get((row, place)))
                for place, outcome in enumerate(group)
            ]
            for row, group in enumerate(outcomes)
        ]

    def _questions(self, sample: Sample) -> Sequence[Question]:
        given: Sequence[Question] | None = sample.values.get("questions")
        return self._asker.ask(sample.graph) if given is None and sample.graph.regions else given or ()

    def _credit(self, sample: Sample, questions: Sequence[Question], outcome: Outcome, answer: Any) -> Scored:
        if not questions:
            return Failure("no-objects", f"image {sample.image_id} has no object to ask about")
        if isinstance(answer, Failure):
            return answer
        if answer is None and self._judge is not None:
            return Failure("no-image", f"image {sample.image_id}: what was made of it has no picture")
        given = sample.values.get("answers") if answer is None else answer.values[0].value
        yes = given.get("yes") if isinstance(given, Mapping) else None
        if yes is None or len(yes) != len(questions):
            return Failure("no-answers", f"image {sample.image_id} has no answers: name a judge, or judge before")
        return credit_of(questions, yes, self.options.score, outcome.graph)


def _with(sample: Sample, questions: Sequence[Question]) -> dict[str, Any]:
    return {**sample.values, "questions": tuple(questions)}


def credit_of(questions: Sequence[Question], yes: Answers, figure: str, graph: SceneGraph | None = None) -> Credit:
    """The credit of one set of answers; of the rows of `graph` what the questions about each are worth, in the mean."""
    scores: Scores = score_answers(questions, yes)
    parts = {**{f"kind.{kind}": value for kind, value in scores.by_kind.items()}, "gated": scores.gated}
    if graph is None:
        return Credit(scores.named(figure), parts)
    regions: dict[int, list[float]] = {}
    pairs: dict[tuple[int, ...], list[float]] = {}
    for question, value in zip(questions, yes, strict=True):
        right = rightness(question, value)
        if question.kind == "relation":
            pairs.setdefault(tuple(sorted(question.references)), []).append(right)
        for index in question.references if len(question.references) == 1 else ():
            regions.setdefault(index, []).append(right)
    rows = graph.all
    return Credit(
        scores.named(figure),
        parts,
        tuple(_mean(regions.get(index)) for index in range(len(rows.regions))),
        tuple(_mean(pairs.get(tuple(sorted((row.subject, row.object))))) for row in rows.relations),
    )


def _mean(values: Sequence[float] | None) -> float:
    return sum(values) / len(values) if values else 0.0


def trl_reward(
    render: Callable[[Any], ImageSource | None],
    judge: Callable[[ImageSource, Sequence[Question]], Answers],
    *,
    figure: str = "balanced",
    asker: Asker | None = None,
) -> Callable[..., list[float | None]]:
    """A reward function for TRL's trainers: `reward_funcs=trl_reward(render, judge)`.

    The data set has a column `graph`, a line of graph JSONL each. `render` makes the picture of a completion, None of
    one that makes none (worth 0); `judge` answers questions about a picture with P(yes). A row without a graph gets
    None, which TRL leaves out.
    """
    from sgforge.jsonl import parse_line

    ask = (asker or Asker(counts=False)).ask

    def scene_questions(completions: Sequence[Any], graph: Sequence[str | None], **columns: Any) -> list[float | None]:
        found: list[float | None] = []
        for completion, line in zip(completions, graph, strict=True):
            questions = [] if line is None else ask(parse_line(line, "graph").graph)
            picture = render(completion) if questions else None
            if not questions:
                found.append(None)
            else:
                found.append(0.0 if picture is None else credit_of(questions, judge(picture, questions), figure).total)
        return found

    return scene_questions
