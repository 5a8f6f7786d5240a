"""Options of the segmenters; light to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import attrs
from attrs.validators import and_, ge, gt, instance_of, le, optional

from sgforge.columns.declared import Column
from sgforge.stages import Use, part, parts
from sgforge.weights import path_or_hub_id

__all__ = [
    "COLUMNS",
    "Disjoint",
    "Dtype",
    "Preset",
    "SamConceptsOptions",
    "SamOptions",
    "SamTextOptions",
    "SelectOptions",
    "SemanticSamOptions",
]

STABILITY: Final = Column("region", "sam.stability", "f4")
"""The IoU of a mask with itself at a lower and at a higher threshold, in [0, 1]."""
PRESENCE: Final = Column("region", "sam.presence", "f4")
"""The probability that a concept is in the image at all, in [0, 1]."""
COLUMNS: Final = (STABILITY, PRESENCE)

Preset = Literal["default", "whole", "part"]
Disjoint = Literal["no", "small", "large"]
Naming = Literal["labels", "caption"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_SHARE: Final[Any] = and_(ge(0.0), le(1.0))


@attrs.frozen(kw_only=True)
class SamOptions:
    """`sam` finds every mask of an image, or the masks of its annotated boxes.

    `checkpoint`: a file of segment-anything (its architecture is read off it), a folder in transformers' form (SAM,
    SAM-HQ, SAM 2, SAM 3's tracker) or the hub id of one. `presets`: which masks, each set with its own thresholds; all
    share one encoding. "default": segment-anything's own defaults. "whole" and "part": the largest or the middle of the
    three masks of a point (predicted IoU 0.8 and 0.9, stability the same, at least 300 pixels: Synthetic Visual
    Genome's generator). `boxes`: regions that have a box and no mask get the mask that the model predicts best for
    their box. The next options replace what every preset says: `pred_iou`, `stability`, `clean` (fill holes, drop
    islands of fewer pixels), `min_area` (drop masks of fewer pixels). `points_per_side`, `stability_offset`, `box_nms`,
    `crop_layers`, `crop_nms`, `crop_overlap`, `crop_points_downscale`: as segment-anything names and defaults them.
    `disjoint`: of masks that share pixels the "small" or the "large" ones keep them. `dtype`: of the encoder; "auto" is
    bfloat16 on CUDA, else float32. In no key: `points_per_batch`, prompts decoded at a time; `feature_memory_mb`, how
    much is kept in memory of features that were made; `feature_folder`, where they are also kept on disk.
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    presets: tuple[Preset, ...] = attrs.field(default=("default",), converter=tuple)
    boxes: bool = attrs.field(default=False)
    points_per_side: int = attrs.field(default=32, validator=ge(1))
    pred_iou: float | None = attrs.field(default=None, validator=optional(ge(0.0)))
    stability: float | None = attrs.field(default=None, validator=optional(_SHARE))
    stability_offset: float = attrs.field(default=1.0, validator=gt(0.0))
    box_nms: float = attrs.field(default=0.7, validator=_SHARE)
    crop_layers: int = attrs.field(default=0, validator=and_(ge(0), le(4)))
    crop_nms: float = attrs.field(default=0.7, validator=_SHARE)
    crop_overlap: float = attrs.field(default=512 / 1500, validator=_SHARE)
    crop_points_downscale: int = attrs.field(default=1, validator=ge(1))
    clean: int | None = attrs.field(default=None, validator=optional(ge(0)))
    min_area: int | None = attrs.field(default=None, validator=optional(ge(0)))
    disjoint: Disjoint = "no"
    dtype: Dtype = "auto"
    points_per_batch: int = attrs.field(default=64, validator=ge(1), eq=False)
    feature_memory_mb: int = attrs.field(default=512, validator=ge(0), eq=False)
    feature_folder: Path | None = attrs.field(default=None, validator=optional(instance_of(Path)), eq=False)

    @boxes.validator
    def _something_to_do(self, attribute: attrs.Attribute[bool], value: bool) -> None:
        if not value and not self.presets:
            raise ValueError("presets is empty and boxes is false: nothing would be segmented")


def _check_named(options: SamTextOptions | SamConceptsOptions) -> None:
    if not (options.phrases or options.vocabulary or options.also or options.captioner):
        raise ValueError("nothing names what to look for: give phrases, a vocabulary, also or a captioner")


def _check_levels(instance: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    if not value or len(set(value)) < len(value) or not set(value) <= set(range(1, 7)):
        raise ValueError(f"levels must be different numbers from 1 to 6, got {list(value)}")


@attrs.frozen(kw_only=True)
class SemanticSamOptions:
    """`semantic-sam` finds masks at levels of detail: 1 and 2 semantic, 3 instances, 4 to 6 parts.

    `checkpoint`: swint_only_sam_many2many.pth or swinl_only_sam_many2many.pth; the sizes are read off it. `levels`:
    which of its six levels. `short_side`: to how many pixels an image's shorter side is resized. `independent_prompts`:
    a mask does not depend on the points decoded beside it; false is the released inference, where it does, in batches
    of `points_per_batch` (200 there). The other values are those of its own generator: `pred_iou` 0.88, `stability`
    0.92, `box_nms` 0.7 over all levels together, `clean` 10 (fill holes, drop islands of fewer pixels). `min_area`:
    masks of fewer pixels are dropped (Synthetic Visual Genome: 10). `disjoint`, `dtype`, `feature_memory_mb`,
    `feature_folder`: as for `sam`; the features of one image take about 50 MB.
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    levels: tuple[int, ...] = attrs.field(default=(1, 2, 3, 4, 5, 6), converter=tuple, validator=_check_levels)
    short_side: int = attrs.field(default=640, validator=ge(32))
    independent_prompts: bool = True
    points_per_side: int = attrs.field(default=32, validator=ge(1))
    points_per_batch: int = attrs.field(default=200, validator=ge(1))
    pred_iou: float = attrs.field(default=0.88, validator=ge(0.0))
    stability: float = attrs.field(default=0.92, validator=_SHARE)
    stability_offset: float = attrs.field(default=1.0, validator=gt(0.0))
    box_nms: float = attrs.field(default=0.7, validator=_SHARE)
    clean: int = attrs.field(default=10, validator=ge(0))
    min_area: int = attrs.field(default=10, validator=ge(0))
    disjoint: Disjoint = "no"
    dtype: Dtype = "auto"
    feature_memory_mb: int = attrs.field(default=512, validator=ge(0), eq=False)
    feature_folder: Path | None = attrs.field(default=None, validator=optional(instance_of(Path)), eq=False)


@attrs.frozen(kw_only=True)
class SamTextOptions:
    """`sam-text` finds what a text names: a detector gives boxes for phrases, SAM their masks.

    `checkpoint`, `dtype`, `points_per_batch`, `feature_memory_mb`, `feature_folder`: as for `sam`. `detector`: a
    folder in transformers' form or a hub id, Grounding DINO or OWLv2. `phrases`: what to look for, such as ["dog",
    "red car"]; they become labels. `vocabulary`: a file with more of them: one a line, a JSON list, or the categories
    of VG150, PSG or COCO as they are published. `also`: of each image further ones, the "labels" of its regions, or
    what its "caption" lists, which an earlier step wrote: its spans, or without them what stands between commas, full
    stops and lines. `captioner`: one that is asked for such a list, such as "nouns". `box_threshold`, `text_threshold`:
    scores below which a box, or a word of it, does not count (Synthetic Visual Genome's region code: 0.15 both); OWLv2
    has only the first. `duplicates`: of masks of a higher IoU the one of the highest score stays (there 0.7).
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    detector: Path | str = attrs.field(converter=path_or_hub_id)
    phrases: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    vocabulary: Path | None = None
    also: tuple[Naming, ...] = attrs.field(default=(), converter=tuple)
    captioner: Use | None = part("captioner", None)
    box_threshold: float = attrs.field(default=0.15, validator=_SHARE)
    text_threshold: float = attrs.field(default=0.15, validator=_SHARE)
    duplicates: float = attrs.field(default=0.7, validator=_SHARE)
    dtype: Dtype = "auto"
    points_per_batch: int = attrs.field(default=64, validator=ge(1), eq=False)
    feature_memory_mb: int = attrs.field(default=512, validator=ge(0), eq=False)
    feature_folder: Path | None = attrs.field(default=None, validator=optional(instance_of(Path)), eq=False)

    def __attrs_post_init__(self) -> None:
        _check_named(self)


@attrs.frozen(kw_only=True)
class SamConceptsOptions:
    """`sam-concepts` finds every instance of named concepts with SAM 3 and a text prompt.

    `checkpoint`: a folder in transformers' form or a hub id (facebook/sam3, which is gated). `phrases`: the concepts,
    such as ["dog", "red car"]; they become labels. `vocabulary`, `also`, `captioner`: as for `sam-text`.
    `threshold`: instances whose score, times the probability that the concept is there at all, is not above it are
    dropped (transformers: 0.3). `disjoint`, `dtype`: as for `sam`.
    """

    checkpoint: Path | str = attrs.field(converter=path_or_hub_id)
    phrases: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    vocabulary: Path | None = None
    also: tuple[Naming, ...] = attrs.field(default=(), converter=tuple)
    captioner: Use | None = part("captioner", None)
    threshold: float = attrs.field(default=0.3, validator=_SHARE)
    disjoint: Disjoint = "no"
    dtype: Dtype = "auto"

    def __attrs_post_init__(self) -> None:
        _check_named(self)


MergeName = Literal[
    "no", "non-overlap-or-area", "non-overlap-only", "area-only", "non-overlap-and-area", "overlap-only", "not-same"
]


@attrs.frozen(kw_only=True)
class SelectOptions:
    """`select-regions` judges the regions that are there.

    `by`: segmenters, such as [{use = "sam", checkpoint = "..."}], whose regions are looked for first: those that stay
    are added, the others are not stored, but counted by the rule that they fell to.

    Generated regions are those that an earlier step or one of `by` made, annotated ones those that the source gave.
    The rules, in order. `min_area`: fewer pixels are rejected. `confirm`: an annotated region stays if its IoU with a
    generated one is above `confirm_iou` (SVG section 2.1: 0.5). Of generated regions: `box_nms`: of boxes that overlap
    more than this IoU the better one stays, by `nms_by` ("score", or "area": the larger); 1 leaves all. `duplicates`:
    of masks of a higher IoU the first stays; 1 leaves all. `unions`: masks that two or more others make up go;
    "as-released" is the published rule, in which copies of one region remove one another. `merge`: of those whose
    source is `candidates` the ones stay that join those of `primary`, by one of six rules ("non-overlap-or-area" is
    Synthetic Visual Genome's), and unions are looked for among the primary ones before; "no" merges nothing.
    `generated`: "keep" them, keep the "uncovered" ones, whose IoU with every annotated region is at most `covered`, or
    "drop" them all, as the paper does with annotated images. `max_regions`: so many stay, the most salient ones (size,
    centrality and score, `sgforge.boxes.salience`); 0 sets no limit.
    """

    by: tuple[Use, ...] = parts("segmenter", ())
    min_area: int = attrs.field(default=0, validator=ge(0))
    confirm: bool = True
    confirm_iou: float = attrs.field(default=0.5, validator=_SHARE)
    box_nms: float = attrs.field(default=1.0, validator=_SHARE)
    nms_by: Literal["score", "area"] = "score"
    duplicates: float = attrs.field(default=0.7, validator=_SHARE)
    merge: MergeName = "no"
    primary: str = "sam:whole"
    candidates: str = "sam:part"
    unions: Literal["no", "yes", "as-released"] = "no"
    generated: Literal["keep", "uncovered", "drop"] = "keep"
    covered: float = attrs.field(default=0.5, validator=_SHARE)
    max_regions: int = attrs.field(default=99, validator=ge(0))
