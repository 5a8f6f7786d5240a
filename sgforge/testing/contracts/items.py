"""What holds for every item component: answers in order, one bad image apart, edits within its role."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import attrs

from sgforge.columns.declared import fitted_edit, known_columns
from sgforge.edits import Edit, apply_edit
from sgforge.graph import Question, Sample
from sgforge.stages import VERBS, Answer, Failure, check_role
from sgforge.testing.contracts.answers import AnswersContract
from sgforge.testing.samples import broken_sample, tiny_samples

__all__ = [
    "CaptionerContract",
    "EditorContract",
    "FilterContract",
    "ItemContract",
    "JudgeContract",
    "QuestionerContract",
    "RendererContract",
    "SegmenterContract",
    "TeacherContract",
    "ask",
]

_TWO_QUESTIONS: Final = (
    Question("entity", "Is there anything in the picture?"),
    Question("attribute", "Is it bright?", dependencies=(0,)),
)


def ask(instance: Any, method: str, samples: Sequence[Sample]) -> list[Any]:
    """The answers of a sync component to one batch, or of an async one to all samples at the same time."""
    function = getattr(instance, method)
    if not inspect.iscoroutinefunction(function):
        return list(function(samples))

    async def gather() -> list[Any]:
        return list(await asyncio.gather(*(function(sample) for sample in samples)))

    return asyncio.run(gather())


class ItemContract(AnswersContract):
    """Samples in, as many answers out. `verb` says the rest: the kind, the method, what its edits may hold."""

    verb: ClassVar[str]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "verb" in vars(cls):
            cls.kind = VERBS[cls.verb].kind

    def samples(self, folder: Path) -> list[Sample]:
        """The samples to try it on; override to show what the component is made for."""
        return tiny_samples(folder)

    def answers(self, folder: Path, samples: Sequence[Sample]) -> list[Answer]:
        """The answers of a new instance."""
        with self.built(folder) as instance:
            return ask(instance, VERBS[self.verb].method, samples)

    def test_answers_come_in_order(self, tmp_path: Path) -> None:
        if not self.registered().needs.deterministic:
            return
        samples = self.samples(tmp_path)
        straight = self.answers(tmp_path, samples)
        turned = self.answers(tmp_path, [*samples[1:], samples[0]])
        for sample, first, second in zip(samples, straight, [turned[-1], *turned[:-1]], strict=True):
            assert first == second, f"{sample.image_id}: its answer depends on its place in the batch"

    def test_one_bad_image_harms_no_other(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        mixed = [samples[0], broken_sample(tmp_path), *samples[1:]]
        answers = self.answers(tmp_path, mixed)
        assert len(answers) == len(mixed), "the broken image took answers of others with it"
        assert isinstance(answers[1], (Edit, Failure)), "a bad image is answered with Failure(reason)"
        if self.registered().needs.deterministic:
            alone = self.answers(tmp_path, samples)
            assert [answers[0], *answers[2:]] == alone, "the broken image changed the answers of others"

    def test_edits_stay_in_their_role(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        for sample, answer in zip(samples, self.answers(tmp_path, samples), strict=True):
            if isinstance(answer, Edit):
                columns = {column.key: column for column in self.registered().columns}
                fault = check_role(self.verb, answer, sample.graph, columns, has_image=sample.uri is not None)
                assert fault is None, f"{sample.image_id}: {fault}"
                fit = fitted_edit(answer, known_columns(columns.values()))
                apply_edit(sample.graph, fit, self.component, may_restore=VERBS[self.verb].may_restore)


class SegmenterContract(ItemContract):
    """Contract of a segmenter."""

    verb = "segment"


class TeacherContract(ItemContract):
    """Contract of a teacher."""

    verb = "complete"


class FilterContract(ItemContract):
    """Contract of a filter."""

    verb = "filter"


class EditorContract(ItemContract):
    """Contract of an editor."""

    verb = "edit"


class CaptionerContract(ItemContract):
    """Contract of a captioner."""

    verb = "caption"


class QuestionerContract(ItemContract):
    """Contract of a questioner."""

    verb = "question"


class JudgeContract(ItemContract):
    """Contract of a judge; its samples have questions, a failing answer for one without is none of a whole batch."""

    verb = "judge"

    def samples(self, folder: Path) -> list[Sample]:
        """Samples with two questions each, the second of which depends on the first."""
        return [attrs.evolve(sample, values={"questions": _TWO_QUESTIONS}) for sample in super().samples(folder)]

    def test_answers_are_chances_and_a_total(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        for sample, answer in zip(samples, self.answers(tmp_path, samples), strict=True):
            for value in answer.values if isinstance(answer, Edit) else ():
                told, where = value.value, sample.image_id
                assert {"yes", "total"} <= set(told), (
                    f'{where}: answers are {{"yes": [...], "total": ...}}, not {told!r}'
                )
                count = len(sample.values["questions"])
                assert len(told["yes"]) == count, f"{where}: {len(told['yes'])} answers to {count} questions"
                chances = [chance for chance in (*told["yes"], told["total"]) if chance is not None]
                assert all(0.0 <= chance <= 1.0 for chance in chances), f"{where}: {told!r} has no chances in [0, 1]"
                assert told["total"] is not None, f"{where}: the total is missing"


class RendererContract(ItemContract):
    """Contract of a renderer; its samples are graphs without an image."""

    verb = "render"

    def samples(self, folder: Path) -> list[Sample]:
        """Layouts: graphs with boxes, and nothing to look at."""
        return [attrs.evolve(sample, uri=None, sha256=None, image=None) for sample in super().samples(folder)]
