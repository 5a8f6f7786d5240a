"""sgforge: make dense scene-graph data with foundation models, and train on it.

The names below are loaded when first used, so `import sgforge` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "CATEGORIES",
    "Checkpoint",
    "Dataset",
    "Edit",
    "Failure",
    "FieldSet",
    "Judged",
    "Mask",
    "Needs",
    "Pipeline",
    "Ranking",
    "Region",
    "Relation",
    "Report",
    "Resources",
    "Roots",
    "Sample",
    "SceneGraph",
    "Selection",
    "SgforgeError",
    "Snapshot",
    "Step",
    "Use",
    "Verdict",
    "__version__",
    "apply_edit",
    "complete",
    "edit",
    "evaluate",
    "filter",
    "generate",
    "hookimpl",
    "refine",
    "segment",
    "source",
    "train",
    "use",
]

_HOMES = {
    "API_VERSION": "sgforge.hookspecs",
    "CATEGORIES": "sgforge.graph",
    "Checkpoint": "sgforge.stages",
    "Dataset": "sgforge.dataset",
    "Edit": "sgforge.edits",
    "Failure": "sgforge.stages",
    "FieldSet": "sgforge.edits",
    "Judged": "sgforge.stages",
    "Mask": "sgforge.graph",
    "Needs": "sgforge.stages",
    "Pipeline": "sgforge.pipeline",
    "Ranking": "sgforge.stages",
    "Region": "sgforge.graph",
    "Relation": "sgforge.graph",
    "Report": "sgforge.stages",
    "Resources": "sgforge.stages",
    "Roots": "sgforge.images",
    "Sample": "sgforge.graph",
    "SceneGraph": "sgforge.graph",
    "Selection": "sgforge.stages",
    "SgforgeError": "sgforge.errors",
    "Snapshot": "sgforge.dataset",
    "Step": "sgforge.pipeline",
    "Use": "sgforge.stages",
    "Verdict": "sgforge.edits",
    "apply_edit": "sgforge.edits",
    "complete": "sgforge.pipeline",
    "edit": "sgforge.pipeline",
    "evaluate": "sgforge.pipeline",
    "filter": "sgforge.pipeline",
    "generate": "sgforge.pipeline",
    "hookimpl": "sgforge.hookspecs",
    "refine": "sgforge.pipeline",
    "segment": "sgforge.pipeline",
    "source": "sgforge.pipeline",
    "train": "sgforge.pipeline",
    "use": "sgforge.stages",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'sgforge' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from sgforge.dataset import Dataset, Snapshot
    from sgforge.edits import Edit, FieldSet, Verdict, apply_edit
    from sgforge.errors import SgforgeError
    from sgforge.graph import CATEGORIES, Mask, Region, Relation, Sample, SceneGraph
    from sgforge.hookspecs import API_VERSION, hookimpl
    from sgforge.images import Roots
    from sgforge.pipeline import (
        Pipeline,
        Step,
        complete,
        edit,
        evaluate,
        filter,
        generate,
        refine,
        segment,
        source,
        train,
    )
    from sgforge.stages import Checkpoint, Failure, Judged, Needs, Ranking, Report, Resources, Selection, Use, use
