"""What holds wherever images are answered with edits: one for each, none for none, the same ones again."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from sgforge.edits import Edit
from sgforge.graph import Sample
from sgforge.stages import Answer, Failure
from sgforge.testing.contracts.base import ComponentContract

__all__ = ["AnswersContract"]


class AnswersContract(ComponentContract):
    """Samples in, as many answers out; how they are asked for says the contract of the kind."""

    @abstractmethod
    def samples(self, folder: Path) -> list[Sample]:
        """The samples to try it on."""

    @abstractmethod
    def answers(self, folder: Path, samples: Sequence[Sample]) -> list[Answer]:
        """The answers of a new instance."""

    def test_every_sample_gets_an_answer(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        answers = self.answers(tmp_path, samples)
        assert len(answers) == len(samples), f"{len(samples)} samples, {len(answers)} answers"
        for sample, answer in zip(samples, answers, strict=True):
            assert isinstance(answer, (Edit, Failure)), f"{sample.image_id}: {answer!r} is neither Edit nor Failure"

    def test_empty_batch(self, tmp_path: Path) -> None:
        assert self.answers(tmp_path, []) == []

    def test_same_input_same_answer(self, tmp_path: Path) -> None:
        if not self.registered().needs.deterministic:
            return
        samples = self.samples(tmp_path)
        assert self.answers(tmp_path, samples) == self.answers(tmp_path, samples), (
            "two instances differ: declare Needs(deterministic=False), or take randomness from resources.seed"
        )

    def test_samples_are_left_alone(self, tmp_path: Path) -> None:
        samples = self.samples(tmp_path)
        self.answers(tmp_path, samples)
        assert samples == self.samples(tmp_path), "a component answers with an Edit and changes nothing itself"
