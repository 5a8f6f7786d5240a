"""The options of the components, with their defaults; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import attrs
from attrs import validators

from sgforge.stages import Use, parts

__all__ = [
    "MAX_PIXELS",
    "MIN_PIXELS",
    "PATCH",
    "UNITS",
    "Family",
    "FamilyOptions",
    "GateOptions",
    "GraphRewardOptions",
    "HallucinationOptions",
    "LengthOptions",
    "Mode",
    "PresetOptions",
    "RarityOptions",
    "Unit",
]

Mode = Literal["robust", "upstream", "upstream-head"]
Family = Literal["hard", "relax", "soft"]
Unit: TypeAlias = Literal["pixels", "thousand", "unit", "processed"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)

PATCH: Final = 28
"""Sides of a processed picture are multiples of this, in pixels (Qwen2-VL and Qwen2.5-VL: 14 times 2)."""
MAX_PIXELS: Final = 512 * PATCH * PATCH
"""Most pixels of a processed picture in R1-SGG's reinforcement runs."""
MIN_PIXELS: Final = 4 * PATCH * PATCH

_UNIT = validators.and_(validators.ge(0.0), validators.le(1.0))
_SHARE = validators.and_(validators.gt(0.0), validators.le(1.0))
_POSITIVE = validators.ge(1)


@attrs.frozen(kw_only=True)
class GraphRewardOptions:
    """A reward that compares a graph with the truth, 0 to 1.

    `mode`: "robust" reads an answer once, leaves out what is broken and nothing else, and compares normalised names;
    "upstream" gives the values of R1-SGG's released code before its regression of the format reward, by its own
    weights' fractions; "upstream-head" those of the released commit. `similarity` of names: exact, normal, lemma,
    minilm (extra `minilm`), or module:callable of an encoder. `iou`: from which a box stands for another (0.5 in the
    paper). `wrong`: how much a thing that is not in the truth counts against those that are, from 0 (recall alone, as
    the paper) to 1, where the total rises if and only if F1 does. `boxes`: what the numbers of a text's boxes are:
    pixels, thousand (0 to 1000), unit (0 to 1), or processed (pixels of the picture as a Qwen processor makes it, of at
    most `processed_pixels`); graphs are always in pixels. `tags`: whether form asks for think and answer tags too.
    """

    mode: Mode = "robust"
    similarity: str = "lemma"
    iou: float = attrs.field(default=0.5, validator=_SHARE)
    wrong: float = attrs.field(default=1.0, validator=_UNIT)
    boxes: Unit = "thousand"
    processed_pixels: int = attrs.field(default=MAX_PIXELS, validator=validators.ge(784))
    tags: bool = False


@attrs.frozen(kw_only=True)
class PresetOptions(GraphRewardOptions):
    """Several graph rewards as one, by the weights of R1-SGG's released code: form 1, nodes 2, edges 5.

    `form`, `nodes`, `edges`: those weights.
    """

    form: float = attrs.field(default=1.0, validator=validators.ge(0.0))
    nodes: float = attrs.field(default=2.0, validator=validators.ge(0.0))
    edges: float = attrs.field(default=5.0, validator=validators.ge(0.0))


@attrs.frozen(kw_only=True)
class FamilyOptions(GraphRewardOptions):
    """A graph reward over what `family` says is met: hard (names and boxes), relax (likeness), soft (by the match)."""

    family: Family = "hard"


@attrs.frozen(kw_only=True)
class RarityOptions(GraphRewardOptions):
    """Recall in which a rare predicate counts for more.

    `counts`: how often each predicate occurs, by name; `counts_file`: the same as a JSON file. One that is not in them
    counts as if it were seen once; without any, all weigh the same. `power`: a predicate weighs count to the minus
    power.
    """

    counts: Mapping[str, int] = attrs.field(factory=dict)
    counts_file: Path | None = None
    power: float = attrs.field(default=0.5, validator=validators.ge(0.0))


@attrs.frozen(kw_only=True)
class LengthOptions(GraphRewardOptions):
    """How far the number of relations said is from that of the truth: the lesser by the greater.

    `slack`: up to so many times more than the truth has, and as many times fewer, is as good as equal.
    """

    slack: float = attrs.field(default=1.0, validator=validators.ge(1.0))


@attrs.frozen(kw_only=True)
class HallucinationOptions(GraphRewardOptions):
    """Recall and precision of regions and of relations, less what the image does not support.

    `penalty`: what is taken away for an answer of which nothing is supported; in proportion for less.
    """

    penalty: float = attrs.field(default=0.5, validator=_UNIT)


@attrs.frozen(kw_only=True)
class GateOptions:
    """Rewards in an order: each counts only if all before it pass.

    `rewards`: by weight. `least`: the fraction of its range that a reward must reach for the next to count.
    """

    rewards: tuple[Use, ...] = parts("reward")
    least: float = attrs.field(default=0.5, validator=_UNIT)
