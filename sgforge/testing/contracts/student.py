"""What holds for what is trained, students and renderers: training writes only its folder, and what it learnt works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from sgforge.graph import Sample
from sgforge.stages import Checkpoint, Failure, Ranking, Resources, Selection
from sgforge.testing.contracts.data import publish_samples
from sgforge.testing.contracts.items import ItemContract, RendererContract, ask
from sgforge.testing.samples import broken_sample, tiny_samples

__all__ = ["StudentContract", "TrainedContract", "TrainedRendererContract"]


class TrainedContract(ItemContract):
    """Contract of what is trained: on `training_samples`, and then held to the contract of item components."""

    def training_samples(self, folder: Path) -> list[Sample]:
        """What it is trained on; override for a student that needs more than four images."""
        return tiny_samples(folder)

    def train(self, folder: Path, out_dir: Path) -> Checkpoint:
        """A checkpoint of a new instance, trained on the images of split train."""
        out_dir.mkdir(parents=True, exist_ok=True)
        snapshot = publish_samples(folder / f"{out_dir.name}-data", self.training_samples(folder))
        with super().built(folder) as student:
            checkpoint = student.train(snapshot.path, Selection(splits=("train",)), out_dir, self.resources(folder))
        assert isinstance(checkpoint, Checkpoint)
        return checkpoint

    def checkpoint(self, folder: Path) -> Checkpoint:
        """The trained weights, trained once for a folder."""
        place = folder / "weights.txt"
        if place.exists():
            return Checkpoint.of(Path(place.read_text()))
        checkpoint = self.train(folder, folder / "weights")
        place.write_text(str(checkpoint.path))
        return checkpoint

    @contextmanager
    def built(self, folder: Path) -> Iterator[Any]:
        """An instance with trained weights."""
        trained: Resources = attrs.evolve(self.resources(folder), checkpoint=self.checkpoint(folder))
        instance = self.registered().build(self.typed_options(folder))
        try:
            if hasattr(instance, "setup"):
                instance.setup(trained)
            yield instance
        finally:
            if hasattr(instance, "close"):
                instance.close()

    def test_checkpoint_is_its_folder(self, tmp_path: Path) -> None:
        checkpoint = self.train(tmp_path, tmp_path / "out")
        assert checkpoint.path.resolve().is_relative_to((tmp_path / "out").resolve())
        assert Checkpoint.of(checkpoint.path).sha256 == checkpoint.sha256, "the digest is not that of its files"

    def test_training_again_gives_the_same_weights(self, tmp_path: Path) -> None:
        if self.registered().needs.deterministic:
            first = self.train(tmp_path, tmp_path / "first")
            assert first.sha256 == self.train(tmp_path, tmp_path / "second").sha256

    def test_training_resumes_from_what_it_finds(self, tmp_path: Path) -> None:
        first = self.train(tmp_path, tmp_path / "out")
        again = self.train(tmp_path, tmp_path / "out")
        if self.registered().needs.deterministic:
            assert again.sha256 == first.sha256, "a finished training that is started again must not change its weights"


class StudentContract(TrainedContract):
    """Contract of a student."""

    verb = "generate"

    def test_rankings_are_whole(self, tmp_path: Path) -> None:
        samples = [*self.samples(tmp_path), broken_sample(tmp_path)]
        with self.built(tmp_path) as student:
            rankings = ask(student, "rank", samples)
        assert len(rankings) == len(samples)
        for sample, ranking in zip(samples, rankings, strict=True):
            if not isinstance(ranking, Failure):
                _check_ranking(sample, ranking)


class TrainedRendererContract(TrainedContract, RendererContract):
    """Contract of a renderer that is trained: it offers `train`."""

    def test_it_says_that_it_is_trained(self) -> None:
        assert "train" in self.registered().offers, 'register it with offers=("train",)'


def _check_ranking(sample: Sample, ranking: Any) -> None:
    where, shown = sample.image_id, sample.graph.regions.values()
    assert isinstance(ranking, Ranking), f"{where}: {ranking!r} is neither Ranking nor Failure"
    if shown:
        given = [(region.box, region.mask) for region in ranking.regions]
        assert given == [(region.box, region.mask) for region in shown], f"{where}: it ranks other regions than shown"
    pairs, scores = np.asarray(ranking.pairs), np.asarray(ranking.scores)
    assert pairs.shape == (len(scores), 2), f"{where}: pairs {pairs.shape} for scores {scores.shape}"
    assert scores.ndim == 2, f"{where}: scores have {scores.ndim} dimensions, not 2"
    assert scores.shape[1] == len(ranking.predicates), f"{where}: {scores.shape[1]} columns of scores"
    if pairs.size:
        assert pairs.min() >= 0, f"{where}: a pair has a negative index"
        assert pairs.max() < len(ranking.regions), f"{where}: a pair names a region that is not there"
        assert (pairs[:, 0] != pairs[:, 1]).all(), f"{where}: a region is related to itself"
        assert len(np.unique(pairs, axis=0)) == len(pairs), f"{where}: a pair is ranked twice"
    assert np.isfinite(scores).all(), f"{where}: a score is not finite"
    assert ((scores >= 0) & (scores <= 1)).all(), f"{where}: scores are probabilities in [0, 1]"
