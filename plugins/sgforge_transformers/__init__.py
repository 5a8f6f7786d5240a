"""Models of transformers in this process: provider hf/ for image-text-to-text models, segmenter `depth`."""

from __future__ import annotations

from sgforge.hookspecs import Register, hookimpl
from sgforge.models import ModelSettings
from sgforge.stages import Needs
from sgforge_transformers.config import DEPTH_MAP, DEPTH_RANGE, DepthOptions

_LOCAL = Needs(modules=("torch", "transformers"), extra="transformers", gpu="optional")


@hookimpl
def sgforge_register_models(register: Register) -> None:
    """hf/Qwen/Qwen2.5-VL-7B-Instruct, or hf/PATH of a local folder."""
    register("hf", "sgforge_transformers.provider:HfProvider", config=ModelSettings, needs=_LOCAL)


@hookimpl
def sgforge_register_segmenters(register: Register) -> None:
    """How far each region is."""
    register(
        "depth",
        "sgforge_transformers.depth:DepthSegmenter",
        config=DepthOptions,
        needs=_LOCAL,
        revision=2,
        columns=(DEPTH_MAP, DEPTH_RANGE),
    )
