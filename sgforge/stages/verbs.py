"""The verbs of a pipeline and the kinds of components they name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import attrs

__all__ = ["KINDS", "VERBS", "Kind", "Mode", "Verb"]

Kind = Literal[
    "segmenter", "teacher", "filter", "student", "editor", "evaluator", "refiner", "model", "source", "exporter"
]
Mode = Literal["predcls", "sgcls", "sgdet"]


@attrs.frozen
class Verb:
    """One verb of a pipeline: the kind of component it names, the method it calls, whether it is an item step."""

    name: str
    kind: Kind
    method: str
    is_item: bool


VERBS: Final[Mapping[str, Verb]] = {
    verb.name: verb
    for verb in (
        Verb("segment", "segmenter", "segment", True),
        Verb("complete", "teacher", "complete", True),
        Verb("filter", "filter", "filter", True),
        Verb("generate", "student", "generate", True),
        Verb("edit", "editor", "edit", True),
        Verb("train", "student", "train", False),
        Verb("refine", "refiner", "refine", False),
        Verb("evaluate", "evaluator", "evaluate", False),
    )
}
KINDS: Final[tuple[str, ...]] = (
    *("segmenter", "teacher", "filter", "student", "editor", "evaluator", "refiner", "model", "source", "exporter"),
)
