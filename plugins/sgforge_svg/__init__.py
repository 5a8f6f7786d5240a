"""Synthetic Visual Genome: a teacher that completes relations, a VQA filter, and the SG-Edit editor."""

from __future__ import annotations

from sgforge.hookspecs import Register, hookimpl
from sgforge.stages import Needs
from sgforge_svg.config import CompletionConfig, CounterfactualConfig, EditConfig, NamesConfig, NounsConfig, VqaConfig

_ASKS_A_MODEL = Needs(model=True, deterministic=False)


@hookimpl
def sgforge_register_teachers(register: Register) -> None:
    """Completes the relations of an annotated image."""
    register(
        "svg", "sgforge_svg.completion:CompletionTeacher", config=CompletionConfig, needs=_ASKS_A_MODEL, revision=3
    )


@hookimpl
def sgforge_register_filters(register: Register) -> None:
    """Asks a judge model about each relation, and again with its regions hidden."""
    register(
        "counterfactual",
        "sgforge_svg.counterfactual:CounterfactualFilter",
        config=CounterfactualConfig,
        needs=_ASKS_A_MODEL,
    )
    register("vqa", "sgforge_svg.vqa:VqaFilter", config=VqaConfig, needs=_ASKS_A_MODEL, revision=3)


@hookimpl
def sgforge_register_editors(register: Register) -> None:
    """Corrects what a student proposed; names regions that were found without names."""
    register("svg", "sgforge_svg.editor:SgEditor", config=EditConfig, needs=_ASKS_A_MODEL, revision=3)
    register("names", "sgforge_svg.names:NamesEditor", config=NamesConfig, needs=_ASKS_A_MODEL, revision=2)


@hookimpl
def sgforge_register_captioners(register: Register) -> None:
    """Lists what an image shows, for segmenters that look for what is named."""
    register("nouns", "sgforge_svg.nouns:NounsCaptioner", config=NounsConfig, needs=_ASKS_A_MODEL)


@hookimpl
def sgforge_register_commands(register: Register) -> None:
    """Chooses the threshold of the vqa filter on labelled relations."""
    register("calibrate", "sgforge_svg.calibrate")
