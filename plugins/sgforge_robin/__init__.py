"""The Robin student (Synthetic Visual Genome): its model, its texts, its trainer. Light to import.

import sgforge_robin
model = sgforge_robin.load_model("checkpoints/robin")
logits, loss, labels, attention_mask = model(images, masks, input_ids, attention_mask, labels)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sgforge.hookspecs import Register, hookimpl
from sgforge.stages import Needs
from sgforge_robin.config import RobinOptions

sgforge_api = 1

__all__ = ["MaskExtractor", "RobinModel", "RobinShape", "image_tensor", "load_model", "save_model", "text"]

_HOMES = {
    "MaskExtractor": "sgforge_robin.model.extractor",
    "RobinModel": "sgforge_robin.model.robin",
    "RobinShape": "sgforge_robin.model.shape",
    "image_tensor": "sgforge_robin.pixels",
    "load_model": "sgforge_robin.model.checkpoint",
    "save_model": "sgforge_robin.model.checkpoint",
}

_ANSWERING = (
    *("mode", "constrained", "temperature", "max_tokens", "relations_per_subject", "min_score"),
    *("ranker", "max_pairs", "predicates", "labels"),
)
"""Options that no training reads."""


@hookimpl
def sgforge_register_students(register: Register) -> None:
    """`robin`."""
    register(
        "robin",
        "sgforge_robin.student:RobinStudent",
        config=RobinOptions,
        needs=Needs(
            modules=("torch", "transformers", "safetensors", "tokenizers"),
            extra="robin",
            gpu="optional",
            checkpoint=True,
            answering=_ANSWERING,
        ),
        offers=("policy",),
    )


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "text":
        return importlib.import_module("sgforge_robin.text")
    raise AttributeError(f"module 'sgforge_robin' has no attribute {name!r}")


if TYPE_CHECKING:
    from sgforge_robin.model.checkpoint import load_model, save_model
    from sgforge_robin.model.extractor import MaskExtractor
    from sgforge_robin.model.robin import RobinModel
    from sgforge_robin.model.shape import RobinShape
    from sgforge_robin.pixels import image_tensor
