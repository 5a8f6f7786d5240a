"""The options of the baseline components, with their defaults; light to import."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

import attrs
from attrs import validators

from sgforge.stages import Mode, Use, parts

__all__ = [
    "BestOfOptions",
    "ConsistencyOptions",
    "GeometryOptions",
    "PriorOptions",
    "RegionsOptions",
    "RewardEvaluatorOptions",
    "RewardFilterOptions",
    "SpatialRewardOptions",
    "SpatialRulesOptions",
    "SuperpixelsOptions",
    "TopFractionOptions",
]

_UNIT = validators.and_(validators.ge(0.0), validators.le(1.0))
_POSITIVE = validators.ge(1)


def _check_levels(instance: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    falls = all(first > second for first, second in pairwise(value))
    if not value or not falls or value[-1] < 1:
        raise ValueError(f"{attribute.name} must be falling numbers of regions, such as [64, 16]; got {list(value)}")


def _check_spatial(instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    from sgforge.spatial import predicate_named

    for text in value:
        predicate_named(text)


@attrs.frozen
class RegionsOptions:
    """`regions` takes the annotated regions as they are; it has no options."""


@attrs.frozen
class SuperpixelsOptions:
    """`superpixels`: nested regions by colour.

    `levels`: how many regions each level of the hierarchy has, finest first. `segments`: superpixels before merging.
    `compactness`: weight of distance against colour when superpixels are made. `working_side`: the longer side, in
    pixels, of the reduced image that superpixels are computed on. `only_without_regions`: leave images alone that have
    regions already.
    """

    levels: tuple[int, ...] = attrs.field(default=(64, 32, 16, 8), converter=tuple, validator=_check_levels)
    segments: int = attrs.field(default=400, validator=validators.ge(2))
    compactness: float = attrs.field(default=10.0, validator=validators.gt(0.0))
    working_side: int = attrs.field(default=320, validator=validators.ge(16))
    only_without_regions: bool = False


@attrs.frozen
class GeometryOptions:
    """`geometry`: spatial relations of the most salient regions, read off boxes, masks and depth.

    `subjects`: how many regions are subjects (K of SVG section 2.1: at least 5). `relations_per_subject`: at most so
    many new relations each (R). `min_degree`: how firmly a predicate must hold, in [0, 1]. `predicates`: which may be
    proposed; empty means all but "overlapping", "touching" and "far from", which say little.
    """

    subjects: int = attrs.field(default=5, validator=_POSITIVE)
    relations_per_subject: int = attrs.field(default=6, validator=_POSITIVE)
    min_degree: float = attrs.field(default=0.5, validator=_UNIT)
    predicates: tuple[str, ...] = attrs.field(default=(), converter=tuple, validator=_check_spatial)


@attrs.frozen
class SpatialRulesOptions:
    """`spatial-rules`: judges spatial relations by geometry.

    `min_degree`: a relation whose predicate holds to a lower degree, in [0, 1], is rejected. `duplicates`: reject all
    but the first of equal triplets, spatial or not; spatial synonyms count as equal. `contradictions`: of two relations
    that cannot both hold, reject the one that holds less.
    """

    min_degree: float = attrs.field(default=0.1, validator=_UNIT)
    duplicates: bool = True
    contradictions: bool = True


@attrs.frozen
class PriorOptions:
    """`prior`: P(predicate | labels of the pair, layout of their boxes), counted, with back-off.

    `relations_per_subject`: `generate` adds at most so many (R); where another student learns from these, what was cut
    off counts as false, so let it be more than people say of one thing. `min_score`: and none with a lower score, in
    [0, 1]. `strength`: how many observations the next coarser estimate weighs as, at every step of the back-off.
    `max_pairs`: candidate pairs scored per image; where there are more, each region is paired with those nearest to it.
    `label_images`: the label model reads at most so many training images; 0 trains none. `checkpoint`: a folder with
    trained weights, where no training runs before.
    """

    relations_per_subject: int = attrs.field(default=4, validator=_POSITIVE)
    min_score: float = attrs.field(default=0.1, validator=_UNIT)
    strength: float = attrs.field(default=4.0, validator=validators.gt(0.0))
    max_pairs: int = attrs.field(default=40_000, validator=_POSITIVE)
    label_images: int = attrs.field(default=500, validator=validators.ge(0))
    checkpoint: Path | None = None


_INVERSES = (
    ("holding", "held by"),
    ("wearing", "worn by"),
    ("riding", "ridden by"),
    ("carrying", "carried by"),
    ("talking to", "talking to"),
)
_CLOSE = (
    *("holding", "wearing", "riding", "carrying", "sitting on", "standing on", "lying on", "touching", "eating"),
    *("attached to", "mounted on", "hanging from", "leaning on"),
)


@attrs.frozen
class ReplayOptions:
    """`replay`: does edits again that were written as lines of text, such as those of a review.

    `edits`: the file, one edit a line (docs/graph-jsonl.md). Each line is rebased onto the graph as it is now; one
    whose rows are gone, or no longer clear, is left out and counted as `stale`: `sgforge edits FILE DATASET` lists what
    has changed. A line more re-does the image that it is about.
    """

    edits: Path


@attrs.frozen
class ConsistencyOptions:
    """`consistency`: rejects what geometry and the prior both doubt, adds missing inverses.

    `min_degree` and `min_prior`, both in [0, 1]: a relation below both is rejected; by default what geometry
    contradicts and the prior holds for more likely false than true. `close`: non-spatial predicates whose two regions
    must be near each other; their degree is that of "near". `inverses`: couples of non-spatial predicates that hold
    with subject and object exchanged; a predicate coupled with itself is symmetric. `add_inverses`: add what is
    missing, at most `max_added` relations an image. `checkpoint`: a folder with the weights of a trained `prior`;
    without it the prior is the score that each relation came with.
    """

    min_degree: float = attrs.field(default=0.1, validator=_UNIT)
    min_prior: float = attrs.field(default=0.5, validator=_UNIT)
    close: tuple[str, ...] = attrs.field(default=_CLOSE, converter=tuple)
    inverses: tuple[tuple[str, str], ...] = _INVERSES
    add_inverses: bool = True
    max_added: int = attrs.field(default=200, validator=validators.ge(0))
    checkpoint: Path | None = None


@attrs.frozen
class RewardFilterOptions:
    """`reward`: rejects what rewards give too little credit.

    `rewards`: their credits are weighed and added. `least`: what has less is rejected, with the credit as its degree.
    `judges`: "relations", "regions" (by the credit that rewards give to each of them), or "images", which are then left
    out as a whole. The outcome that is scored is the graph as it stands, with its image, and so is the truth that a
    reward sees: one that compares the two has nothing to say here.
    """

    rewards: tuple[Use, ...] = parts("reward", some=True)
    least: float = 0.5
    judges: Literal["relations", "regions", "images"] = "relations"


@attrs.frozen
class RewardEvaluatorOptions:
    """`reward`: the mean credit of a student's graphs on held-out images.

    `rewards`: their credits are weighed and added. `mode`: what the student may see of an image. `relations`: of its
    ranking the best predicate of each pair is taken, and the best so many of these by the product of its score and
    those of its two regions. `truth`: "source", or "graph" for all that the steps made. `image`: what the student is
    shown, the picture itself or a grey one of its size.
    """

    rewards: tuple[Use, ...] = parts("reward", some=True)
    mode: Mode = "sgdet"
    relations: int = attrs.field(default=100, validator=_POSITIVE)
    truth: Literal["source", "graph"] = "source"
    image: Literal["given", "blank"] = "given"


@attrs.frozen
class BestOfOptions:
    """`best-of`: of the images of each group, which `copies` of a source makes, those with the most credit.

    `rewards`: their credits are weighed and added, as the filter `reward` does. `keep`: how many of each group are
    chosen, of equal ones the first by id. `others`: what becomes of the rest, "drop", or "keep" with column `chosen`
    saying that they were not. That column has of each image whether it is chosen, its credit, and its rank of how many.
    """

    rewards: tuple[Use, ...] = parts("reward", some=True)
    keep: int = attrs.field(default=1, validator=_POSITIVE)
    others: Literal["drop", "keep"] = "drop"


@attrs.frozen
class TopFractionOptions:
    """`top-fraction`: of all images those with the most credit.

    `fraction`: how many of those that can be scored, in (0, 1], rounded up. `rewards`, `others` and what is said in
    column `chosen` as in `best-of`.
    """

    rewards: tuple[Use, ...] = parts("reward", some=True)
    fraction: float = attrs.field(default=0.5, validator=validators.and_(validators.gt(0.0), validators.le(1.0)))
    others: Literal["drop", "keep"] = "drop"


@attrs.frozen
class SpatialRewardOptions:
    """`spatial`: the degree to which the spatial relations of an outcome hold on its boxes, masks and depth.

    `untold`: the credit, in [0, 1], of relations that are not spatial or that geometry cannot tell.
    """

    untold: float = attrs.field(default=1.0, validator=_UNIT)
