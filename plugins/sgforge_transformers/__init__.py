"""Model provider hf/: image-text-to-text models of transformers, in this process."""

from __future__ import annotations

from sgforge.hookspecs import Register, hookimpl
from sgforge.models import ModelSettings
from sgforge.stages import Needs

_LOCAL = Needs(modules=("torch", "transformers"), extra="transformers", gpu="optional")


@hookimpl
def sgforge_register_models(register: Register) -> None:
    """hf/Qwen/Qwen2.5-VL-7B-Instruct, or hf/PATH of a local folder."""
    register("hf", "sgforge_transformers.provider:HfProvider", config=ModelSettings, needs=_LOCAL)
