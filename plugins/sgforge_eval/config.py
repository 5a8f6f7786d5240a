"""Options of the evaluators."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import attrs

__all__ = ["MODES", "RecallOptions"]


@attrs.frozen
class RecallOptions:
    """How scene-graph recall is counted.

    `convention`: one of the named ways of counting (sgforge, sgb, openpsg, maelic, svg, asmv2, oi). `k`: the cuts.
    `localization`: regions overlap by box or by mask. `predicates`: a file with the vocabulary that mean recall
    divides by, one a line (default: what truth and predictions use). `zero_shot`: a JSON list of
    [subject, predicate, object] names never seen in training. `truth`: the relations the source gave, or all kept ones
    of the graph. `bootstrap`: resamples for the 95 % intervals, 0 for none.

    For a student with words of its own: `labels`, a file with the closed set of region labels; `match`, how far its
    names may be from `labels` and `predicates`; `aliases`, a JSON object of further names; `encoder` and `threshold`
    (least cosine) of similarity.
    """

    convention: str = "sgforge"
    k: tuple[int, ...] = (20, 50, 100)
    localization: Literal["box", "mask"] = "box"
    predicates: Path | None = None
    zero_shot: Path | None = None
    truth: Literal["source", "graph"] = "source"
    bootstrap: int = 1000
    labels: Path | None = None
    match: Literal["strict", "exact", "lemma", "similarity"] = "strict"
    aliases: Path | None = None
    encoder: str = "minilm"
    threshold: float | None = None


MODES: Final = ("sgdet", "sgcls", "predcls")
"""The modes of scene-graph recall; every other metric is a task."""
