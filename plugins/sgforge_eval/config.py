"""Options of the evaluators."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs import validators

from sgforge.errors import ConfigError

__all__ = ["MODES", "RecallOptions"]


def _check_localization(instance: RecallOptions, attribute: attrs.Attribute[str], value: str) -> None:
    if value == "mask" and instance.convention.partition("+")[0] == "oi":
        raise ValueError("convention oi is defined by box: it has no scores by mask")


def _check_convention(instance: Any, attribute: attrs.Attribute[str], value: str) -> None:
    from sgforge_eval.measures.conventions import convention_named

    try:
        convention_named(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _check_match(instance: RecallOptions, attribute: attrs.Attribute[str], value: str) -> None:
    if value != "strict" and (instance.labels is None or instance.predicates is None):
        raise ValueError(f"match = {value!r} needs the closed vocabularies: give labels and predicates")
    if value == "strict" and instance.aliases is not None:
        raise ValueError("aliases change nothing with match = 'strict'")
    if value != "similarity" and instance.threshold is not None:
        raise ValueError(f"threshold changes nothing with match = {value!r}: it is the least cosine of similarity")


@attrs.frozen
class RecallOptions:
    """How scene-graph recall is counted.

    `convention`: one of the named ways of counting (sgforge, sgb, egtr, openpsg, single, maelic, svg, asmv2, r1, oi),
    with switches on top of it where wanted, such as "sgb+unanswered=zero". `k`: the cuts.
    `localization`: regions overlap by box or by mask. `predicates`: a file with the vocabulary that mean recall
    divides by, one a line (default: what the truth uses). `zero_shot`: a JSON list of
    [subject, predicate, object] names never seen in training. `truth`: the relations the source gave, or all kept ones
    of the graph. `bootstrap`: resamples for the 95 % intervals, 0 for none. `image`: what the student is shown, the
    picture itself or a grey one of its size, which tells how much of a score needs no picture at all.

    For a student with words of its own: `labels`, a file with the closed set of region labels; `match`, how far its
    names may be from `labels` and `predicates`; `aliases`, a JSON object of further names; `encoder` and `threshold`
    (least cosine) of similarity.
    """

    convention: str = attrs.field(default="sgforge", validator=_check_convention)
    k: tuple[int, ...] = attrs.field(
        default=(20, 50, 100), validator=[validators.min_len(1), validators.deep_iterable(validators.ge(1))]
    )
    localization: Literal["box", "mask"] = attrs.field(default="box", validator=_check_localization)
    predicates: Path | None = None
    zero_shot: Path | None = None
    truth: Literal["source", "graph"] = "source"
    bootstrap: int = attrs.field(default=1000, validator=validators.ge(0))
    labels: Path | None = None
    match: Literal["strict", "exact", "lemma", "similarity"] = attrs.field(default="strict", validator=_check_match)
    aliases: Path | None = None
    encoder: str = "minilm"
    threshold: float | None = attrs.field(
        default=None, validator=validators.optional([validators.ge(-1.0), validators.le(1.0)])
    )
    image: Literal["given", "blank"] = "given"


MODES: Final = ("sgdet", "sgcls", "predcls")
"""The modes of scene-graph recall; every other metric is a task."""
