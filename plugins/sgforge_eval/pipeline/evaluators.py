"""The evaluators of a pipeline: recall of a student's rankings in the three classic modes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from sgforge.labels import encoder_named
from sgforge.labels.name_files import read_names
from sgforge.matching import MaskLocalizer
from sgforge.stages import Judged, Mode, Report
from sgforge_eval.config import RecallOptions
from sgforge_eval.evaluate import Settings, Vocabulary
from sgforge_eval.measures.conventions import convention_named
from sgforge_eval.measures.scorer import Measure, Scorer
from sgforge_eval.pipeline.reader import JudgedReader
from sgforge_eval.report import Outcome, recall_report
from sgforge_eval.vocabulary_files import read_aliases, read_triplets

__all__ = ["PredclsEvaluator", "SgclsEvaluator", "SgdetEvaluator"]


class _RecallEvaluator:
    mode: ClassVar[Mode]

    def __init__(self, options: RecallOptions) -> None:
        self.options = options
        self._convention = convention_named(options.convention)

    def evaluate(self, judged: Iterable[Judged], /) -> Report:
        """Recall, mean recall and their kin over `judged`, with intervals, per predicate and per category."""
        options, words = self.options, self._vocabulary()
        zero_shot = (
            None if options.zero_shot is None else read_triplets(options.zero_shot, words.labels, words.predicates)
        )
        measure = Measure.of(
            self.mode, self._convention, options.k, zero_shot=zero_shot, localization=options.localization
        )
        reader = JudgedReader(measure, words, masks=options.localization == "mask")
        scorer = Scorer(measure)
        for item in reader.batches(judged):
            localizer = None
            if item.truth_masks is not None and item.predicted_masks is not None:
                localizer = MaskLocalizer(item.truth_masks, item.predicted_masks, strict=self._convention.strict)
            scorer.add(item.batch, localizer)
        if scorer.is_empty:
            return Report(self.mode, {}, self._convention.name, notes=("there were no images to evaluate",))
        outcome = Outcome(
            scorer=scorer,
            book=words.predicates,
            dropped=reader.dropped,
            failures=reader.failures,
            localization=options.localization,
            remarks=words.remarks(),
            invented=not words.predicates.closed,
            labels=words.labels,
        )
        return recall_report(outcome, draws=options.bootstrap)

    def _vocabulary(self) -> Vocabulary:
        options = self.options
        settings = Settings(
            self.mode,
            predicates=None if options.predicates is None else read_names(options.predicates, "predicates"),
            labels=None if options.labels is None else read_names(options.labels, "labels"),
        )
        if options.match == "strict":
            return Vocabulary.plain(settings)
        return Vocabulary.mapped(
            settings,
            (),
            matching=options.match,
            aliases=None if options.aliases is None else read_aliases(options.aliases),
            encoder=encoder_named(options.encoder) if options.match == "similarity" else None,
            threshold=options.threshold,
        )


class PredclsEvaluator(_RecallEvaluator):
    """The student is told boxes, masks and labels."""

    mode: ClassVar[Mode] = "predcls"


class SgclsEvaluator(_RecallEvaluator):
    """The student is told boxes and masks and names the regions itself."""

    mode: ClassVar[Mode] = "sgcls"


class SgdetEvaluator(_RecallEvaluator):
    """The student is told the image alone; regions are the segmenter's or its own."""

    mode: ClassVar[Mode] = "sgdet"
