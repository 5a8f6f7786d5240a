"""`score`: scene-graph metrics from Python, the same as the pipeline's evaluators and the command use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from sgforge.labels import Encoder, Matching
from sgforge.stages import Mode, Report
from sgforge_eval.evaluate import Settings, Vocabulary, evaluate_graphs
from sgforge_eval.intake.inputs import GraphInput
from sgforge_eval.measures.bootstrap import checked_draws
from sgforge_eval.measures.conventions import DEFAULT
from sgforge_eval.report import recall_report

__all__ = ["score"]


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
    bootstrap: int = 0,
    matching: Matching = "strict",
    aliases: Mapping[str, str] | None = None,
    encoder: Encoder | None = None,
    threshold: float | None = None,
) -> Report:
    """Recall of predicted graphs against true ones, in every form, as fractions.

    Both sides: a path of graph JSONL or of a dataset (a text may end in @ref), `GraphColumns`, or Samples. `predicates`
    is the vocabulary that mean recall divides by (default: the union of both sides), `labels` a closed set of region
    labels, `zero_shot` a file of triplets never trained on, `in_order` ranks as listed and not by score, `bootstrap`
    is the number of resamples for 95 % intervals. `matching` says how far a predicted name may be from the vocabulary
    (by default that of the truth, which is then read twice), with `aliases`, and `encoder` and `threshold` for
    similarity; see `sgforge.labels.LabelMapper`.
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
    )
    words = None
    if matching != "strict":
        words = Vocabulary.mapped(
            settings, truth, matching=matching, aliases=aliases, encoder=encoder, threshold=threshold
        )
    return recall_report(evaluate_graphs(predictions, truth, settings, words), draws=bootstrap)
