"""SAM and its relatives: segmenters that find masks, from points, boxes or nothing but the image."""

from __future__ import annotations

from sgforge.hookspecs import Register, hookimpl
from sgforge.stages import Needs
from sgforge_sam.config import (
    COLUMNS,
    PRESENCE,
    STABILITY,
    SamConceptsOptions,
    SamOptions,
    SamTextOptions,
    SelectOptions,
    SemanticSamOptions,
)

sgforge_api = 1

_TORCH = Needs(modules=("torch", "segment_anything", "transformers"), extra="sam", gpu="optional")


@hookimpl
def sgforge_register_segmenters(register: Register) -> None:
    """`sam`, `sam-text`, `sam-concepts`, `semantic-sam` and `select-regions`."""
    register("sam", "sgforge_sam.sam:SamSegmenter", config=SamOptions, needs=_TORCH, revision=2, columns=(STABILITY,))
    register("sam-text", "sgforge_sam.sam_text:SamTextSegmenter", config=SamTextOptions, needs=_TORCH)
    register(
        "sam-concepts",
        "sgforge_sam.concepts:ConceptSegmenter",
        config=SamConceptsOptions,
        needs=Needs(modules=("torch", "transformers"), extra="sam", gpu="optional"),
        revision=2,
        columns=(PRESENCE,),
    )
    register(
        "semantic-sam",
        "sgforge_sam.semantic_sam:SemanticSamSegmenter",
        config=SemanticSamOptions,
        needs=Needs(modules=("torch",), extra="sam", gpu="optional"),
        revision=2,
        columns=(STABILITY,),
    )
    register("select-regions", "sgforge_sam.select_regions:RegionSelector", config=SelectOptions, columns=COLUMNS)
