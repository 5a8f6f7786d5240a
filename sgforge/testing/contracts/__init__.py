"""Contracts: test classes that a plugin's author subclasses, one per kind of component."""

from __future__ import annotations

from sgforge.testing.contracts.base import HEAVY_MODULES, ComponentContract
from sgforge.testing.contracts.data import ExporterContract, SourceContract
from sgforge.testing.contracts.evaluator import EvaluatorContract
from sgforge.testing.contracts.executor import ExecutorContract
from sgforge.testing.contracts.holder import HolderContract
from sgforge.testing.contracts.items import (
    CaptionerContract,
    EditorContract,
    FilterContract,
    JudgeContract,
    QuestionerContract,
    RendererContract,
    SegmenterContract,
    TeacherContract,
)
from sgforge.testing.contracts.policy import PolicyContract, RendererPolicyContract
from sgforge.testing.contracts.refiner import RefinerContract
from sgforge.testing.contracts.reward import RewardContract
from sgforge.testing.contracts.selector import SelectorContract
from sgforge.testing.contracts.student import StudentContract, TrainedRendererContract

__all__ = [
    "HEAVY_MODULES",
    "CaptionerContract",
    "ComponentContract",
    "EditorContract",
    "EvaluatorContract",
    "ExecutorContract",
    "ExporterContract",
    "FilterContract",
    "HolderContract",
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
]
