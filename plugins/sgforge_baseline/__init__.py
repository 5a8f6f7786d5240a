"""The embedded default of every stage: no weights to fetch, no key, no GPU."""

from __future__ import annotations

from sgforge.hookspecs import Register, hookimpl
from sgforge.stages import Needs
from sgforge_baseline.config import (
    BestOfOptions,
    ConsistencyOptions,
    GeometryOptions,
    PriorOptions,
    RegionsOptions,
    ReplayOptions,
    RewardEvaluatorOptions,
    RewardFilterOptions,
    SpatialRewardOptions,
    SpatialRulesOptions,
    SuperpixelsOptions,
    TopFractionOptions,
)

sgforge_api = 1


@hookimpl
def sgforge_register_segmenters(register: Register) -> None:
    """`regions` and `superpixels`."""
    register("regions", "sgforge_baseline.regions:RegionsSegmenter", config=RegionsOptions)
    register(
        "superpixels",
        "sgforge_baseline.superpixels:SuperpixelSegmenter",
        config=SuperpixelsOptions,
        needs=Needs(modules=("skimage",), extra="superpixels"),
    )


@hookimpl
def sgforge_register_teachers(register: Register) -> None:
    """`geometry`."""
    register("geometry", "sgforge_baseline.geometry:GeometryTeacher", config=GeometryOptions, revision=2)


@hookimpl
def sgforge_register_filters(register: Register) -> None:
    """`spatial-rules` and `reward`."""
    register("reward", "sgforge_baseline.rewarding:RewardFilter", config=RewardFilterOptions)
    register(
        "spatial-rules",
        "sgforge_baseline.spatial_rules:SpatialRulesFilter",
        config=SpatialRulesOptions,
        revision=2,
    )


@hookimpl
def sgforge_register_students(register: Register) -> None:
    """`prior`."""
    register(
        "prior",
        "sgforge_baseline.prior:PriorStudent",
        config=PriorOptions,
        needs=Needs(checkpoint=True),
        revision=2,
    )


@hookimpl
def sgforge_register_evaluators(register: Register) -> None:
    """`reward`."""
    register(
        "reward",
        "sgforge_baseline.rewarding:RewardEvaluator",
        config=RewardEvaluatorOptions,
        needs=Needs(truth=True, image=True),
    )


@hookimpl
def sgforge_register_rewards(register: Register) -> None:
    """`spatial`."""
    register("spatial", "sgforge_baseline.spatial_reward:SpatialReward", config=SpatialRewardOptions)


@hookimpl
def sgforge_register_selectors(register: Register) -> None:
    """`best-of` and `top-fraction`."""
    register("best-of", "sgforge_baseline.selecting:BestOfSelector", config=BestOfOptions)
    register("top-fraction", "sgforge_baseline.selecting:TopFractionSelector", config=TopFractionOptions)


@hookimpl
def sgforge_register_editors(register: Register) -> None:
    """`consistency` and `replay`."""
    register("replay", "sgforge_baseline.replay:ReplayEditor", config=ReplayOptions, needs=Needs(by_image="edits"))
    register("consistency", "sgforge_baseline.consistency:ConsistencyEditor", config=ConsistencyOptions, revision=2)
