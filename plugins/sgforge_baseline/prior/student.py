"""Student `prior`: trains by counting, proposes and ranks relations of labelled regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.edits import Edit
from sgforge.errors import ImageError, StepError
from sgforge.graph import Category, Region, Relation, Sample
from sgforge.spatial import Geometry
from sgforge.stages import Answer, Checkpoint, Failure, Ranking, Resources, Selection
from sgforge.text.wording import counted
from sgforge_baseline.config import PriorOptions
from sgforge_baseline.known import KnownRelations
from sgforge_baseline.prior.estimate import candidate_pairs, pair_rates
from sgforge_baseline.prior.labels import LabelModel, region_features
from sgforge_baseline.prior.storage import TrainedPrior, load, save
from sgforge_baseline.prior.training import fit

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["PriorStudent"]

_MOST_REGIONS: Final = 20_000
_LEAST_SCORE: Final = 1e-9


class PriorStudent:
    """P(predicate | labels and layout of the pair), from counts.

    Regions without a label are ranked with the likeliest label of the label model, where there is one; the pair's
    layout speaks for them otherwise.
    """

    def __init__(self, options: PriorOptions) -> None:
        self.options = options
        self._trained: TrainedPrior | None = None

    def setup(self, resources: Resources) -> None:
        """Load the weights: the step's, else those of the option `checkpoint`."""
        folder = resources.checkpoint.path if resources.checkpoint is not None else self.options.checkpoint
        self._trained = None if folder is None else load(Path(folder))

    def train(self, snapshot_path: Path, selection: Selection, out_dir: Path, resources: Resources) -> Checkpoint:
        """Count the kept relations of the selected images; a selection without any relation is a `StepError`."""
        from sgforge.dataset import Snapshot

        snapshot = Snapshot.open(snapshot_path)
        rows = np.asarray(snapshot.rows(selection), np.int64)
        fitted = fit(snapshot, rows, self.options.strength)
        if not fitted.relations:
            raise StepError(
                f"{counted(len(rows), 'selected image')} without any kept relation: complete them first, or select "
                "others"
            )
        labels, unreadable = self._fit_labels(snapshot, rows, resources)
        save(TrainedPrior(fitted.model, labels), out_dir)
        metrics = {"images": len(rows), "relations": fitted.relations, "unreadable_images": unreadable}
        return Checkpoint.of(out_dir, metrics)

    def _fit_labels(
        self, snapshot: Snapshot, rows: NDArray[np.int64], resources: Resources
    ) -> tuple[LabelModel | None, int]:
        """The label model, and how many images it had to leave out because they cannot be read."""
        chosen = rows[np.linspace(0, len(rows) - 1, min(self.options.label_images, len(rows))).astype(np.int64)]
        features, labels, unreadable = [], [], 0
        for row in chosen.tolist():
            sample = snapshot.sample(row, resources.roots)
            regions = [region for region in sample.graph.regions.values() if region.label is not None]
            if not regions:
                continue
            try:
                features.append(region_features(sample, regions, _pixels(sample)))
            except ImageError:
                unreadable += 1
                continue
            labels.extend([region.label or "" for region in regions])
        return LabelModel.fit(np.concatenate(features), labels) if labels else None, unreadable

    def generate(self, samples: Sequence[Sample], /) -> list[Answer]:
        """At most `relations_per_subject` new relations of each region, the likeliest first.

        One pair may get several predicates, each with its own probability: a label that keeps the likeliest alone would
        tell the next student that the others do not hold. What a kept relation excludes, and what was rejected, itself
        or as its inverse, is not said.
        """
        return [_attempt(self._generate, sample) for sample in samples]

    def rank(self, samples: Sequence[Sample], /) -> list[Ranking | Failure]:
        """Every candidate pair with the score of every predicate."""
        return [_attempt(self._rank, sample) for sample in samples]

    def _rank(self, sample: Sample) -> Ranking:
        trained = self._weights()
        regions = self._labelled(sample, list(sample.graph.regions.values()))
        pairs, scores = self._scores(regions)
        return Ranking(tuple(regions), pairs.astype(np.int32), trained.relations.predicates, scores.astype(np.float32))

    def _generate(self, sample: Sample) -> Edit:
        model = self._weights().relations
        indices = list(sample.graph.regions)
        pairs, scores = self._scores(self._labelled(sample, [sample.graph.regions[index] for index in indices]))
        known = KnownRelations.of(sample.graph)
        left = dict.fromkeys(indices, self.options.relations_per_subject)
        added: list[Relation] = []
        for row, column in _likeliest(scores, max(self.options.min_score, _LEAST_SCORE)):
            subject, object_ = (indices[end] for end in pairs[row].tolist())
            predicate = model.predicates[column]
            if not left[subject] or known.has_row(subject, predicate, object_):
                continue
            if known.is_rejected(subject, predicate, object_) or known.denies(subject, predicate, object_):
                continue
            category = cast(Category, model.categories[column])
            added.append(
                Relation(
                    subject=subject,
                    predicate=predicate,
                    object=object_,
                    category=category,
                    score=float(scores[row, column]),
                )
            )
            known.add(added[-1:])
            left[subject] -= 1
        return Edit(relations=added)

    def _labelled(self, sample: Sample, regions: list[Region]) -> list[Region]:
        """The regions, those without a label with the likeliest one and its probability times their own score."""
        model = self._weights().labels
        missing = [place for place, region in enumerate(regions) if region.label is None]
        if model is None or not missing:
            return regions
        features = region_features(sample, [regions[place] for place in missing], _pixels(sample))
        answer = list(regions)
        for place, (label, probability) in zip(missing, model.best(features), strict=True):
            score = regions[place].score
            answer[place] = attrs.evolve(
                regions[place], label=label, score=probability * (1.0 if score is None else score)
            )
        return answer

    def _scores(self, regions: Sequence[Region]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(P, 2) candidate pairs and (P, C) scores."""
        geometry = Geometry.of_regions(attrs.evolve(region, parent=None) for region in regions)
        pairs = candidate_pairs(geometry.boxes, self.options.max_pairs)
        return pairs, pair_rates(self._weights().relations, regions, geometry, pairs)

    def _weights(self) -> TrainedPrior:
        if self._trained is None:
            raise StepError("the prior has no weights: put a train step before it, or give it a checkpoint = PATH")
        return self._trained


def _likeliest(scores: NDArray[np.float64], least: float) -> Iterator[tuple[int, int]]:
    """(row, column) of every score of at least `least`, the highest first, of equals the earlier."""
    rows, columns = np.nonzero(scores >= least)
    order = np.argsort(-scores[rows, columns], kind="stable")
    yield from zip(rows[order].tolist(), columns[order].tolist(), strict=True)


_T = TypeVar("_T")


def _attempt(answer: Callable[[Sample], _T], sample: Sample) -> _T | Failure:
    """The answer, or the failure of an image that cannot be read or has too many regions."""
    if (count := len(sample.graph.regions)) > _MOST_REGIONS:
        return Failure("too-many-regions", f"{count} regions, at most {_MOST_REGIONS} are related to each other")
    try:
        return answer(sample)
    except ImageError as error:
        return Failure("bad-image", str(error))


def _pixels(sample: Sample) -> NDArray[np.uint8] | None:
    """The pixels; None for a graph without an image: colours are then unknown. A broken image is an `ImageError`."""
    return None if sample.image is None else sample.image.array()
