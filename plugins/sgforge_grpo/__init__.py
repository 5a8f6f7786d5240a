"""Graph rewards (R1-SGG, Chen et al. 2025) and refiners that learn from them, for any student with a policy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from sgforge.hookspecs import Register, hookimpl
from sgforge.stages import Needs
from sgforge_grpo import config

if TYPE_CHECKING:
    from sgforge_grpo import upstream
    from sgforge_grpo.losses import advantages, policy_loss

sgforge_api = 1

__all__ = ["advantages", "policy_loss", "upstream"]

_REWARDS: Final = {
    "format": ("rewards:FormatReward", config.GraphRewardOptions),
    "node-accuracy": ("rewards:NodeAccuracyReward", config.GraphRewardOptions),
    "node-box": ("rewards:NodeBoxReward", config.GraphRewardOptions),
    "edge-soft": ("rewards:EdgeSoftReward", config.GraphRewardOptions),
    "recall-hard": ("rewards:RecallHardReward", config.GraphRewardOptions),
    "recall-relax": ("rewards:RecallRelaxReward", config.GraphRewardOptions),
    "precision": ("rewards:PrecisionReward", config.FamilyOptions),
    "f1": ("rewards:F1Reward", config.FamilyOptions),
    "predicate-rarity": ("rewards:PredicateRarityReward", config.RarityOptions),
    "length": ("rewards:LengthReward", config.LengthOptions),
    "hard": ("presets:HardPreset", config.PresetOptions),
    "hard-relax": ("presets:HardRelaxPreset", config.PresetOptions),
    "soft": ("presets:SoftPreset", config.PresetOptions),
    "hallucination": ("rewards:HallucinationReward", config.HallucinationOptions),
}


@hookimpl
def sgforge_register_rewards(register: Register) -> None:
    """R1-SGG's six, its three presets, and others that look at a graph beside the truth."""
    for name, (target, options) in _REWARDS.items():
        register(name, f"sgforge_grpo.{target}", config=options)
    register("gate", "sgforge_grpo.gate:GateReward", config=config.GateOptions)


@hookimpl
def sgforge_register_students(register: Register) -> None:
    """`vlm`."""
    register(
        "vlm",
        "sgforge_grpo.vlm.student:VlmStudent",
        config=config.VlmOptions,
        needs=Needs(
            modules=("torch", "transformers"),
            extra="grpo",
            gpu="optional",
            checkpoint=True,
            answering=("temperature", "top_p", "max_tokens", "answers_at_once", "relations_per_subject"),
        ),
        offers=("policy",),
    )


@hookimpl
def sgforge_register_refiners(register: Register) -> None:
    """`grpo`, `raft` and `dpo`."""
    needs = Needs(modules=("torch",), extra="grpo", gpu="optional")
    for name, target, options in (
        ("grpo", "GrpoRefiner", config.GrpoOptions),
        ("raft", "RaftRefiner", config.RaftOptions),
        ("dpo", "DpoRefiner", config.DpoOptions),
    ):
        register(name, f"sgforge_grpo.refining.refiners:{target}", config=options, needs=needs)


@hookimpl
def sgforge_register_exporters(register: Register) -> None:
    """Rows for other trainers."""
    for name, target in (("ms-swift", "SwiftExporter"), ("verifiers", "VerifiersExporter"), ("trl", "TrlExporter")):
        register(name, f"sgforge_grpo.trainers.rows:{target}", config=config.RowsOptions)


@hookimpl
def sgforge_register_commands(register: Register) -> None:
    """`sgforge reward`."""
    register("reward", "sgforge_grpo.command:RewardCommand")


def __getattr__(name: str) -> Any:
    if name == "upstream":
        return importlib.import_module("sgforge_grpo.upstream")
    if name in ("advantages", "policy_loss"):
        return getattr(importlib.import_module("sgforge_grpo.losses"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
