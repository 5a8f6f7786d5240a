"""What holds for refiners: whatever student they refine, on one rank and on two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from sgforge.config import structure_options
from sgforge.graph import Sample
from sgforge.plugins import unmet_needs
from sgforge.stages import KINDS, Checkpoint, Selection
from sgforge.testing.contracts.base import ComponentContract
from sgforge.testing.contracts.data import publish_samples
from sgforge.testing.contracts.items import ask
from sgforge.testing.ranks import RankOrders, folders_of, run_ranks
from sgforge.testing.samples import tiny_samples

__all__ = ["RefinerContract"]


class RefinerContract(ComponentContract):
    """Contract of a refiner: `student` is the name of one that offers a policy, trained and then refined; a student, or
    a renderer if `student_kind` says so.

    The test on two ranks starts processes, in which both must be an installed plugin's.
    """

    kind = "refiner"
    student: ClassVar[str]
    student_kind: ClassVar[str] = "student"
    student_options: ClassVar[Mapping[str, Any]] = {}

    def samples(self, folder: Path) -> list[Sample]:
        """What the student is trained on and refined with."""
        return tiny_samples(folder)

    @contextmanager
    def a_student(self) -> Iterator[Any]:
        """A new instance of the student, not set up."""
        component = self.registry().lookup(self.student_kind, self.student)
        unmet = unmet_needs(component)
        if unmet:
            pytest.skip(f"{component}: {'; '.join(unmet)}")
        instance = component.build(structure_options(component, self.student_options, "student_options"))
        try:
            yield instance
        finally:
            if hasattr(instance, "close"):
                instance.close()

    def trained(self, folder: Path) -> Checkpoint:
        """The student's weights before."""
        out_dir = folder / "trained"
        out_dir.mkdir(exist_ok=True)
        snapshot = publish_samples(folder / "training-data", self.samples(folder))
        with self.a_student() as student:
            checkpoint = student.train(snapshot.path, Selection(splits=("train",)), out_dir, self.resources(folder))
        assert isinstance(checkpoint, Checkpoint)
        return checkpoint

    def refine(self, folder: Path, trained: Checkpoint, out_dir: Path) -> Checkpoint:
        """The student's weights after."""
        out_dir.mkdir(exist_ok=True)
        snapshot = publish_samples(folder / f"{out_dir.name}-data", self.samples(folder))
        with self.a_student() as student, self.built(folder) as refiner:
            resources = attrs.evolve(self.resources(folder), checkpoint=trained, student=student)
            checkpoint = refiner.refine(snapshot.path, Selection(splits=("train",)), out_dir, resources)
        assert isinstance(checkpoint, Checkpoint)
        return checkpoint

    def test_checkpoint_is_its_folder(self, tmp_path: Path) -> None:
        checkpoint = self.refine(tmp_path, self.trained(tmp_path), tmp_path / "out")
        assert checkpoint.path.resolve().is_relative_to((tmp_path / "out").resolve())
        assert Checkpoint.of(checkpoint.path).sha256 == checkpoint.sha256, "the digest is not that of its files"

    def test_the_student_loads_what_it_leaves(self, tmp_path: Path) -> None:
        checkpoint = self.refine(tmp_path, self.trained(tmp_path), tmp_path / "out")
        samples = self.samples(tmp_path)
        with self.a_student() as student:
            student.setup(attrs.evolve(self.resources(tmp_path), checkpoint=checkpoint))
            assert len(ask(student, KINDS[self.student_kind].all_methods[0], samples)) == len(samples)

    def test_refining_again_gives_the_same_weights(self, tmp_path: Path) -> None:
        if self.registered().needs.deterministic:
            trained = self.trained(tmp_path)
            first = self.refine(tmp_path, trained, tmp_path / "first")
            assert first.sha256 == self.refine(tmp_path, trained, tmp_path / "second").sha256

    def test_refining_resumes_from_what_it_finds(self, tmp_path: Path) -> None:
        trained = self.trained(tmp_path)
        first = self.refine(tmp_path, trained, tmp_path / "out")
        again = self.refine(tmp_path, trained, tmp_path / "out")
        if self.registered().needs.deterministic:
            assert again.sha256 == first.sha256, "a finished training that is started again must not change its weights"

    def test_two_ranks_make_the_same_calls(self, tmp_path: Path) -> None:
        resources = self.resources(tmp_path)
        trained = self.trained(tmp_path)
        # As many images as two ranks cannot share evenly.
        samples = self.samples(tmp_path)
        snapshot = publish_samples(tmp_path / "ranks-data", samples[: len(samples) - 1 + len(samples) % 2])
        first, second = run_ranks(
            RankOrders(
                kind=self.student_kind,
                student=self.student,
                student_options=self.student_options,
                refiner=self.component,
                refiner_options=self.options_in(tmp_path),
                checkpoint=str(trained.path),
                snapshot=str(snapshot.path),
                roots=folders_of(resources.roots),
                devices=resources.devices,
                folder=str(tmp_path / "ranks"),
            )
        )
        assert first["calls"] == second["calls"], "what a policy does in a call may need all ranks at once"
        assert any(call == "policy.rollouts" for call in first["calls"]), "nothing was sampled"
        samples = self.samples(tmp_path)
        with self.a_student() as student:
            checkpoint = Checkpoint.of(Path(first["checkpoint"]))
            student.setup(attrs.evolve(self.resources(tmp_path), checkpoint=checkpoint))
            assert len(ask(student, KINDS[self.student_kind].all_methods[0], samples)) == len(samples)
