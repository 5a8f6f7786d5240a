"""Scene-graph evaluation over two streams of graphs: settings in, an Outcome out; `score` from Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from sgforge.errors import ConfigError, GraphError
from sgforge.labels import Encoder, LabelMapper, Matching
from sgforge.labels.name_files import NameKind
from sgforge.matching import Localizer, MaskLocalizer
from sgforge.stages import Mode, Report
from sgforge_eval.intake.batch import Codebook, EvalBatch
from sgforge_eval.intake.dropped import Dropped
from sgforge_eval.intake.hints import Hints, case_twins
from sgforge_eval.intake.inputs import GraphInput, read_chunks
from sgforge_eval.intake.pairing import Meeting, Met, batch_of, gathered
from sgforge_eval.intake.reading import Names, SideReader
from sgforge_eval.measures.bootstrap import checked_draws
from sgforge_eval.measures.conventions import DEFAULT, convention_named
from sgforge_eval.measures.lattice import entailments
from sgforge_eval.measures.scorer import COCO_THRESHOLDS, Measure, Scorer
from sgforge_eval.report import Outcome, recall_report
from sgforge_eval.vocabulary_files import Verdict, judged_names, read_seen, read_triplets, read_verdicts

__all__ = ["Settings", "TruthNames", "Vocabulary", "evaluate_graphs", "names_of", "score"]


@attrs.frozen
class Settings:
    """What to measure: mode, convention, cuts, localisation, vocabularies, ranking.

    `predicates`: the vocabulary mean recall divides by; None takes the truth's. `labels`: the closed set
    of region labels, None for any. `in_order`: rank predictions as listed, not by score. `detection`: average precision
    of regions at IoU 0.5 to 0.95 and per label, not at 0.5 alone. `entail`: a predicate also finds what it entails
    (`measures.lattice`). `seen`: a file of the names seen in training.
    """

    metric: Mode = "sgdet"
    convention: str = DEFAULT
    k: tuple[int, ...] = (20, 50, 100)
    localization: Literal["box", "mask"] = "box"
    predicates: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    zero_shot: Path | None = None
    in_order: bool = False
    detection: bool = False
    entail: bool = False
    seen: Path | None = None

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

    @classmethod
    def mapped(
        cls,
        settings: Settings,
        truth: GraphInput,
        *,
        matching: Matching,
        aliases: Mapping[str, str] | None = None,
        encoder: Encoder | None = None,
        threshold: float | None = None,
        verdicts: Sequence[Verdict] = (),
    ) -> Vocabulary:
        """Predicted names are mapped to the closed vocabulary of `settings`, by default the names of the truth.

        An alias belongs to labels or predicates, whichever has the name it stands for. `verdicts`: what a judge said of
        names that no rule matches, as far as it was asked about this vocabulary.
        """
        labels, predicates = settings.labels, settings.predicates
        if labels is None or predicates is None:
            found = names_of(truth)
            labels, predicates = labels or found.labels, predicates or found.predicates
        kinds: tuple[tuple[NameKind, tuple[str, ...]], ...] = (("labels", labels), ("predicates", predicates))
        mappers = [
            LabelMapper(
                names,
                matching=matching,
                aliases={alias: name for alias, name in (aliases or {}).items() if name in set(names)},
                encoder=encoder,
                threshold=threshold,
                judged=judged_names(verdicts, kind, names),
            )
            for kind, names in kinds
        ]
        return cls(Codebook(labels, closed=True), Codebook(predicates, closed=True), *mappers)

    def unjudged(self, predictions: GraphInput) -> dict[NameKind, list[str]]:
        """The names of predictions that match nothing and that no verdict is about; reads the predictions once."""
        found = names_of(predictions, "prediction")
        sides: tuple[tuple[NameKind, Names, tuple[str, ...]], ...] = (
            ("labels", self.predicted_labels, found.labels),
            ("predicates", self.predicted_predicates, found.predicates),
        )
        return {kind: names.unjudged(given) for kind, names, given in sides if isinstance(names, LabelMapper)}

    def remarks(self) -> tuple[str, ...]:
        """How predicted names were matched, where they were mapped."""
        sides = (("labels", self.predicted_labels), ("predicates", self.predicted_predicates))
        return tuple(
            f"unique {what} not in the vocabulary as they stand: {names.summary()}"
            for what, names in sides
            if isinstance(names, LabelMapper)
        )


@attrs.frozen
class TruthNames:
    """The names of a truth, or of predictions, sorted."""

    labels: tuple[str, ...]
    predicates: tuple[str, ...]


def names_of(graphs: GraphInput, role: Literal["truth", "prediction"] = "truth") -> TruthNames:
    """The labels and predicates of a truth or of predictions, of rows that take part; reads it once.

    A pipe, which could not be read again to be scored, is a `ConfigError`.
    """
    if isinstance(graphs, (str, Path)) and Path(graphs).is_fifo():
        hint = ", or give --labels and --predicates" if role == "truth" else ""
        raise ConfigError(f"{role} {graphs} is a pipe, and its names are looked up first: give a file{hint}")
    labels, predicates = Codebook(), Codebook()
    for _ in SideReader(role, labels, predicates).sides(read_chunks(graphs, Dropped(), what=role)):
        pass
    return TruthNames(tuple(sorted(labels.names)), tuple(sorted(predicates.names)))


def evaluate_graphs(
    predictions: GraphInput, truth: GraphInput, settings: Settings, vocabulary: Vocabulary | None = None
) -> Outcome:
    """Score `predictions` against `truth`, streaming both; see `Outcome` for what comes of it."""
    words = vocabulary or Vocabulary.plain(settings)
    zero_shot = read_triplets(settings.zero_shot, words.labels, words.predicates) if settings.zero_shot else None
    measure = Measure.of(
        settings.metric,
        convention_named(settings.convention),
        settings.k,
        zero_shot=zero_shot,
        in_order=settings.in_order,
        localization=settings.localization,
        thresholds=COCO_THRESHOLDS if settings.detection else (0.5,),
        entails=(lambda: entailments(words.predicates.names)) if settings.entail else None,
        seen=None if settings.seen is None else read_seen(settings.seen, words.labels, words.predicates),
    )
    dropped = Dropped()
    failures: Counter[str] = Counter()
    masks = settings.localization == "mask"
    truths = SideReader(role="truth", labels=words.labels, predicates=words.predicates, masks=masks, dropped=dropped)
    located = settings.metric == "sgdet"
    others = SideReader(
        role="prediction",
        labels=words.predicted_labels,
        predicates=words.predicted_predicates,
        masks=masks,
        dropped=dropped,
        located=located,
    )
    meeting, scorer, hints = Meeting(), Scorer(measure), Hints()
    named: set[int] = set()
    for met in meeting.batches(
        truths.sides(read_chunks(truth, dropped, what="truth")),
        gathered(others.sides(read_chunks(predictions, dropped, what="prediction"))),
    ):
        failures.update(reason for reason in met.prediction.failed if reason is not None)
        hints.see(met.truth, met.prediction)
        named.update(np.unique(met.truth.labels).tolist())
        batch = batch_of(met, settings.metric, len(words.labels), len(words.predicates), dropped)
        scorer.add(batch, _localizer(met, batch, strict=measure.convention.strict) if masks else None)
    _check_truth(truths, meeting, dropped, settings.localization)
    outcome = Outcome(
        scorer=scorer,
        book=words.predicates,
        dropped=dropped,
        failures=failures,
        localization=settings.localization,
        meeting=meeting,
        remarks=words.remarks(),
        invented=not words.predicates.closed,
        labels=words.labels,
    )
    said = (*outcome.remarks, *hints.lines(dropped), *_twins(words, named, set(outcome.predicates)))
    return attrs.evolve(outcome, remarks=said)


def _twins(words: Vocabulary, labels: set[int], predicates: set[str]) -> Iterator[str]:
    """Hints at predicted names that are names of the truth but for their case; `labels` are the truth's codes."""
    if words.predicted_labels is words.labels:
        book = words.labels
        known = {name for code, name in enumerate(book.names) if book.closed or code in labels}
        yield from case_twins("labels", known, [name for name in (*book.names, *book.strangers) if name not in known])
    if words.predicted_predicates is words.predicates:
        others = (*words.predicates.names, *words.predicates.strangers)
        yield from case_twins("predicates", predicates, [name for name in others if name not in predicates])


def _check_truth(truths: SideReader, meeting: Meeting, dropped: Dropped, localization: str) -> None:
    if not meeting.images:
        left_out = "".join(f"; {line}" for line in dropped.lines() if " x truth: " in line)
        raise GraphError(f"the truth holds no image, so there is nothing to evaluate against{left_out}")
    if truths.placeless and truths.placeless == truths.regions:
        raise GraphError(f"no region of the truth has a {localization}, so nothing can be found by {localization}")


def _localizer(met: Met, batch: EvalBatch, *, strict: bool) -> Localizer:
    truth, predicted = met.truth.masks, met.prediction.masks
    assert truth is not None
    assert predicted is not None
    return MaskLocalizer(truth, truth if batch.aligned else predicted, strict=strict)


def score(
    predictions: GraphInput,
    truth: GraphInput,
    *,
    metric: Mode = "sgdet",
    convention: str = DEFAULT,
    k: Sequence[int] = (20, 50, 100),
    localization: Literal["box", "mask"] = "box",
    predicates: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    zero_shot: Path | None = None,
    in_order: bool = False,
    detection: bool = False,
    seen: Path | None = None,
    bootstrap: int = 0,
    matching: Matching | Literal["entail", "judge"] = "strict",
    verdicts: Path | None = None,
    aliases: Mapping[str, str] | None = None,
    encoder: Encoder | None = None,
    threshold: float | None = None,
) -> Report:
    """Recall of predicted graphs against true ones, in every form, as fractions.

    Both sides: a path of graph JSONL or of a dataset (a text may end in @ref), `GraphColumns`, or Samples. Predictions
    may also be arrays: `DenseGraphs`, an iterator of `DenseImage`, an .npz or .zarr file of them, or a mapping of image
    ids to `Ranking`s; full distributions over predicates are scored as one table whatever form they come in.

    `predicates` is the vocabulary that mean recall divides by (default: the truth's), `labels` a closed set of region
    labels, `zero_shot` a file of triplets never trained on, `in_order` ranks as listed and not by score, `detection`
    adds average precision of regions at IoU 0.5 to 0.95 and per label, `seen` (a file) recall of names seen in
    training, `bootstrap` is the number of resamples for 95 % intervals. `matching` says how far a predicted name may be
    from the vocabulary (by default that of the truth, which is then read twice), with `aliases`, and `encoder` and
    `threshold` for similarity (see `sgforge.labels.LabelMapper`), or "entail", or "judge" with a file of `verdicts`.
    """
    checked_draws(bootstrap)
    settings = Settings(
        metric=metric,
        convention=convention,
        k=tuple(k),
        localization=localization,
        predicates=None if predicates is None else tuple(predicates),
        labels=None if labels is None else tuple(labels),
        zero_shot=zero_shot,
        in_order=in_order,
        detection=detection,
        entail=matching == "entail",
        seen=seen,
    )
    if (matching == "judge") != (verdicts is not None):
        raise ConfigError('matching="judge" and verdicts, a file of what a judge said, belong together')
    words = None
    if matching not in ("strict", "entail"):
        words = Vocabulary.mapped(
            settings,
            truth,
            matching="exact" if matching == "judge" else matching,
            aliases=aliases,
            encoder=encoder,
            threshold=threshold,
            verdicts=() if verdicts is None else read_verdicts(verdicts),
        )
    return recall_report(evaluate_graphs(predictions, truth, settings, words), draws=bootstrap)
