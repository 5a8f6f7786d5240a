"""What plugin authors test with: contracts to subclass, tiny samples, and registries cut off from what is installed.

    from sgforge.testing import TeacherContract

    class TestEcho(TeacherContract):
        component = "echo"
        options = {"predicate": "near"}

Nothing here is loaded by pytest on its own. `sgforge.testing.scenes` makes pictures with exact graphs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "CaptionerContract",
    "ComponentContract",
    "EditorContract",
    "EvaluatorContract",
    "ExecutorContract",
    "ExporterContract",
    "FilterContract",
    "HolderContract",
    "IsolatedPlugins",
    "JudgeContract",
    "PolicyContract",
    "QuestionerContract",
    "RefinerContract",
    "RendererContract",
    "RendererPolicyContract",
    "RewardContract",
    "SegmenterContract",
    "SelectorContract",
    "SourceContract",
    "StudentContract",
    "TeacherContract",
    "TrainedRendererContract",
    "tiny_samples",
]

_HOMES = {"IsolatedPlugins": "sgforge.testing.isolation", "tiny_samples": "sgforge.testing.samples"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sgforge.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "sgforge.testing.contracts")), name)


if TYPE_CHECKING:
    from sgforge.testing.contracts import (
        CaptionerContract,
        ComponentContract,
        EditorContract,
        EvaluatorContract,
        ExecutorContract,
        ExporterContract,
        FilterContract,
        HolderContract,
        JudgeContract,
        PolicyContract,
        QuestionerContract,
        RefinerContract,
        RendererContract,
        RendererPolicyContract,
        RewardContract,
        SegmenterContract,
        SelectorContract,
        SourceContract,
        StudentContract,
        TeacherContract,
        TrainedRendererContract,
    )
    from sgforge.testing.isolation import IsolatedPlugins
    from sgforge.testing.samples import tiny_samples
