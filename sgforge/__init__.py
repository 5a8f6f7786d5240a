"""sgforge: make dense scene-graph data with foundation models, and train on it.

The names below are loaded when first used, so `import sgforge` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgforge.lazy import names_from

__version__ = "0.1.0"

__all__ = [
    "API_VERSION",
    "CATEGORIES",
    "Caption",
    "Checkpoint",
    "Column",
    "Dataset",
    "Edit",
    "Failure",
    "FieldSet",
    "ImageRef",
    "Judged",
    "Mask",
    "Needs",
    "Pipeline",
    "Question",
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
    "Span",
    "Step",
    "Use",
    "Value",
    "Verdict",
    "__version__",
    "apply_edit",
    "caption",
    "complete",
    "edit",
    "evaluate",
    "executor",
    "filter",
    "generate",
    "hookimpl",
    "judge",
    "question",
    "refine",
    "render",
    "segment",
    "select",
    "source",
    "train",
    "use",
]

_HOMES = {
    "API_VERSION": "sgforge.hookspecs",
    "CATEGORIES": "sgforge.graph",
    "Caption": "sgforge.graph",
    "Checkpoint": "sgforge.stages",
    "Column": "sgforge.columns.declared",
    "Dataset": "sgforge.dataset",
    "Edit": "sgforge.edits",
    "Failure": "sgforge.stages",
    "FieldSet": "sgforge.edits",
    "ImageRef": "sgforge.graph",
    "Judged": "sgforge.stages",
    "Mask": "sgforge.graph",
    "Needs": "sgforge.stages",
    "Pipeline": "sgforge.pipeline",
    "Question": "sgforge.graph",
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
    "Span": "sgforge.graph",
    "Step": "sgforge.pipeline",
    "Use": "sgforge.stages",
    "Value": "sgforge.edits",
    "Verdict": "sgforge.edits",
    "apply_edit": "sgforge.edits",
    "caption": "sgforge.pipeline",
    "complete": "sgforge.pipeline",
    "edit": "sgforge.pipeline",
    "evaluate": "sgforge.pipeline",
    "executor": "sgforge.pipeline",
    "filter": "sgforge.pipeline",
    "generate": "sgforge.pipeline",
    "hookimpl": "sgforge.hookspecs",
    "judge": "sgforge.pipeline",
    "question": "sgforge.pipeline",
    "refine": "sgforge.pipeline",
    "render": "sgforge.pipeline",
    "segment": "sgforge.pipeline",
    "select": "sgforge.pipeline",
    "source": "sgforge.pipeline",
    "train": "sgforge.pipeline",
    "use": "sgforge.stages",
}


__getattr__ = names_from(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from sgforge.columns.declared import Column
    from sgforge.dataset import Dataset, Snapshot
    from sgforge.edits import Edit, FieldSet, Value, Verdict, apply_edit
    from sgforge.errors import SgforgeError
    from sgforge.graph import CATEGORIES, Caption, ImageRef, Mask, Question, Region, Relation, Sample, SceneGraph, Span
    from sgforge.hookspecs import API_VERSION, hookimpl
    from sgforge.images import Roots
    from sgforge.pipeline import (
        Pipeline,
        Step,
        caption,
        complete,
        edit,
        evaluate,
        executor,
        filter,
        generate,
        judge,
        question,
        refine,
        render,
        segment,
        select,
        source,
        train,
    )
    from sgforge.stages import Checkpoint, Failure, Judged, Needs, Ranking, Report, Resources, Selection, Use, use
