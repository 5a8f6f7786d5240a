"""Scene-graph evaluation over two streams of graphs: settings in, an Outcome out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal

import attrs

from sgforge.errors import ConfigError, GraphError
from sgforge.stages import Mode
from sgforge_eval.batch import Codebook, EvalBatch
from sgforge_eval.conventions import DEFAULT, convention_named
from sgforge_eval.dropped import Dropped
from sgforge_eval.inputs import GraphInput, read_chunks
from sgforge_eval.mask_overlap import MaskLocalizer
from sgforge_eval.matching import Localizer
from sgforge_eval.pairing import Meeting, Met, batch_of
from sgforge_eval.report import Outcome
from sgforge_eval.scorer import Measure, Scorer
from sgforge_eval.sides import Names, SideReader
from sgforge_eval.vocabulary import read_triplets

__all__ = ["Settings", "evaluate_graphs"]


@attrs.frozen
class Settings:
    """What to measure: mode, convention, cuts, localisation, vocabularies, ranking.

    `predicates`: the vocabulary mean recall divides by; None takes the union of both sides. `labels`: the closed set
    of region labels, None for any. `in_order`: rank predictions as listed, not by score.
    """

    metric: Mode = "sgdet"
    convention: str = DEFAULT
    k: tuple[int, ...] = (20, 50, 100)
    localization: Literal["box", "mask"] = "box"
    predicates: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    zero_shot: Path | None = None
    in_order: bool = False

    def __attrs_post_init__(self) -> None:
        if self.metric not in ("predcls", "sgcls", "sgdet"):
            raise ConfigError(f"no metric {self.metric!r}; choose sgdet, sgcls or predcls")
        if not self.k or any(cut < 1 for cut in self.k):
            raise ConfigError(f"k = {list(self.k)} must list cuts of 1 or more")


@attrs.frozen(eq=False)
class Vocabulary:
    """The shared codes of an evaluation, and what each side's names are turned into codes by."""

    labels: Codebook
    predicates: Codebook
    predicted_labels: Names
    predicted_predicates: Names

    @classmethod
    def plain(cls, settings: Settings) -> Vocabulary:
        """Names match by equality."""
        labels = Codebook(settings.labels or (), closed=settings.labels is not None)
        predicates = Codebook(settings.predicates or (), closed=settings.predicates is not None)
        return cls(labels, predicates, labels, predicates)


def evaluate_graphs(
    predictions: GraphInput, truth: GraphInput, settings: Settings, vocabulary: Vocabulary | None = None
) -> Outcome:
    """Score `predictions` against `truth`, streaming both; see `Outcome` for what comes of it."""
    words = vocabulary or Vocabulary.plain(settings)
    zero_shot = read_triplets(settings.zero_shot, words.labels, words.predicates) if settings.zero_shot else None
    convention = convention_named(settings.convention)
    measure = Measure(
        settings.metric,
        convention,
        tuple(sorted(set(settings.k))),
        zero_shot,
        settings.in_order,
        detection=settings.localization == "box",
    )
    dropped = Dropped()
    failures: Counter[str] = Counter()
    masks = settings.localization == "mask"
    truths = SideReader("truth", words.labels, words.predicates, masks, dropped)
    others = SideReader("prediction", words.predicted_labels, words.predicted_predicates, masks, dropped)
    meeting, scorer = Meeting(), Scorer(measure)
    for met in meeting.batches(
        truths.sides(read_chunks(truth, dropped, what="truth")),
        others.sides(read_chunks(predictions, dropped, what="prediction")),
    ):
        failures.update(reason for reason in met.prediction.failed if reason is not None)
        batch, pointless = batch_of(met, settings.metric, len(words.labels), len(words.predicates))
        dropped.add("prediction: relation with a region index that the truth does not have", pointless)
        scorer.add(batch, _localizer(met, batch) if masks else None)
    if not meeting.images:
        raise GraphError("the truth holds no image, so there is nothing to evaluate against")
    return Outcome(scorer, words.predicates, dropped, failures, settings.localization, meeting)


def _localizer(met: Met, batch: EvalBatch) -> Localizer:
    truth, predicted = met.truth.masks, met.prediction.masks
    assert truth is not None
    assert predicted is not None
    return MaskLocalizer(truth, truth if batch.aligned else predicted)
