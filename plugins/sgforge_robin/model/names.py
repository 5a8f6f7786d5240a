"""Names of weights: those of the public checkpoint, and those of the modules here."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COMPARING",
    "EXTRACTOR",
    "HEAD",
    "PAIR_HEAD",
    "PROJECTOR",
    "REFERENCES",
    "TRUNK",
    "VISUAL",
    "module_name",
    "public_name",
]

VISUAL: Final = "model.vision_tower.vision_tower.visual."
TRUNK: Final = f"{VISUAL}trunk."
HEAD: Final = f"{VISUAL}head.mlp."
PROJECTOR: Final = "model.mm_projector."
EXTRACTOR: Final = "mask_extractor."
PAIR_HEAD: Final = "pair_head."
COMPARING: Final = "comparing_layer."
REFERENCES: Final = "reference_layer."
"""Parts that the public model does not have; they keep their names."""

_PARTS: Final = (("tower.", VISUAL), ("projector.", PROJECTOR), ("extractor.", EXTRACTOR), ("language.", ""))


def public_name(name: str) -> str:
    """The public name of a weight of `RobinModel`."""
    for here, there in _PARTS:
        if name.startswith(here):
            return there + name.removeprefix(here)
    return name


def module_name(public: str) -> str:
    """The name in `RobinModel` of a public weight."""
    if public.startswith((PAIR_HEAD, COMPARING, REFERENCES)):
        return public
    for here, there in _PARTS:
        if public.startswith(there):
            return here + public.removeprefix(there)
    raise AssertionError("the last part takes all names")
