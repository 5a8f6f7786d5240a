"""Scene-graph metrics and the papers' other tasks: evaluators of a pipeline, `sgforge eval`, `score()` in Python."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import sgforge
from sgforge.hookspecs import Register
from sgforge.stages import Needs
from sgforge_eval.config import RecallOptions

if TYPE_CHECKING:
    from sgforge_eval.compare import compare
    from sgforge_eval.evaluate import score
    from sgforge_eval.intake.dense import DenseGraphs, DenseImage

__all__ = ["DenseGraphs", "DenseImage", "compare", "score"]

_HOMES: Final = {
    "DenseGraphs": "sgforge_eval.intake.dense",
    "DenseImage": "sgforge_eval.intake.dense",
    "compare": "sgforge_eval.compare",
    "score": "sgforge_eval.evaluate",
}

sgforge_api = 1

_NEEDS = Needs(truth=True, image=True)


@sgforge.hookimpl
def sgforge_register_evaluators(register: Register) -> None:
    """predcls, sgcls and sgdet: recall of a student that is told boxes and labels, boxes, or nothing."""
    for name, target in (("predcls", "PredclsEvaluator"), ("sgcls", "SgclsEvaluator"), ("sgdet", "SgdetEvaluator")):
        register(
            name,
            f"sgforge_eval.pipeline.evaluators:{target}",
            config=RecallOptions,
            needs=_NEEDS,
            revision=2,  # mean recall divides by the truth's predicates alone
            identity=f"sgforge_eval.evaluators:{target}",
        )


@sgforge.hookimpl
def sgforge_register_commands(register: Register) -> None:
    """`sgforge eval` and `sgforge quality`."""
    register("eval", "sgforge_eval.cli.command:EvalCommand")
    register("quality", "sgforge_eval.quality.cli:QualityCommand")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
