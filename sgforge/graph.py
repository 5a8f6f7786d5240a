"""The values of a scene graph: Mask, Region, Relation, SceneGraph, Sample; frozen, validated when built.

Rows are only appended, so an index into a graph's regions or relations is an identity within its lineage. Boxes are
xyxy in absolute pixels, rounded to float32 when a value is built, so that every round trip is exact.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import attrs

from sgforge.errors import GraphError

if TYPE_CHECKING:
    from sgforge.images import ImageSource

__all__ = [
    "CATEGORIES",
    "KEPT",
    "REJECTED",
    "Box",
    "Category",
    "Mask",
    "Region",
    "Relation",
    "Rows",
    "Sample",
    "SceneGraph",
    "Status",
    "to_float32",
]

Box: TypeAlias = tuple[float, float, float, float]
Status = Literal["kept", "rejected"]
Category = Literal["unknown", "spatial", "interactional", "functional", "social", "emotional"]
CATEGORIES: Final[tuple[str, ...]] = get_args(Category)
KEPT: Final = "kept"
REJECTED: Final = "rejected"

_FLOAT = struct.Struct("<f")
_BOX = struct.Struct("<4f")
_FLOAT32_MAX = 3.4028234663852886e38
_LARGEST: Final = 2**31 - 1


def to_float32(value: float) -> float:
    """`value` rounded to the nearest float32, as a Python float; NaN and infinities are a `GraphError`."""
    if not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        raise GraphError(f"{value!r} is not a finite float32 number")
    rounded: float = _FLOAT.unpack(_FLOAT.pack(value))[0]
    return rounded


def _box(value: Sequence[float] | None) -> Box | None:
    if value is None:
        return None
    try:
        x0, y0, x1, y1 = value
        box: Box = _BOX.unpack(_BOX.pack(x0, y0, x1, y1))
    except (TypeError, ValueError, OverflowError, struct.error):
        raise GraphError(f"box {value!r} is not four numbers (x0, y0, x1, y1) in pixels") from None
    x0, y0, x1, y1 = box
    # Written so that NaN fails it.
    if not (x0 < x1 and y0 < y1 and -math.inf < x0 and -math.inf < y0 and x1 < math.inf and y1 < math.inf):
        raise GraphError(f"box {tuple(value)!r} must be finite with x0 < x1 and y0 < y1")
    return box


def _unit(value: float | None) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0.0 <= value <= 1.0:
        raise GraphError(f"score {value!r} must be a number in [0, 1]")
    return to_float32(value)


def _real(value: float | None) -> float | None:
    return None if value is None else to_float32(value)


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise GraphError(f"expected a list of texts, got the single text {value!r}")
    texts = tuple(value)
    for text in texts:
        if not isinstance(text, str):
            raise GraphError(f"expected texts, got {text!r}")
    return texts


def _check_status(status: str) -> None:
    if status not in (KEPT, REJECTED):
        raise GraphError(f"status {status!r} must be 'kept' or 'rejected'")


@attrs.frozen
class Mask:
    """A binary mask: COCO run lengths of the tight crop around its true pixels.

    `height`, `width`: the frame, in pixels. `x`, `y`, `crop_width`, `crop_height`: the tight crop (all 0 for an empty
    mask). `counts`: COCO's compressed, column-major run lengths of the crop. The tight crop makes equal masks equal
    values; `sgforge.masks` builds masks from arrays, polygons and full-frame run lengths, and decodes them.
    """

    height: int
    width: int
    x: int
    y: int
    crop_width: int
    crop_height: int
    counts: bytes

    def __attrs_post_init__(self) -> None:
        inside = 0 <= self.x <= self.x + self.crop_width <= self.width
        if not (inside and 0 <= self.y <= self.y + self.crop_height <= self.height):
            raise GraphError(
                f"mask crop {self.crop_width}x{self.crop_height} at ({self.x}, {self.y}) leaves its frame "
                f"of {self.width}x{self.height}"
            )

    @property
    def box(self) -> Box | None:
        """The tight xyxy box around the mask, max-exclusive pixels; None for an empty mask."""
        if not self.crop_width or not self.crop_height:
            return None
        return (
            float(self.x),
            float(self.y),
            float(self.x + self.crop_width),
            float(self.y + self.crop_height),
        )


@attrs.frozen
class Region:
    """One region of an image: a box, a mask, or both, or neither (a graph without an image).

    `score` is in [0, 1]. `depth`: median depth of the region, larger is farther, no unit. `parent`: index of the
    region this one is a part of. `level`: granularity, as its `source` (the segmenter's name) defines it.
    `status`, `reason`, `degree`: the last verdict; `made_by`, `judged_by`: names of the steps.
    """

    label: str | None = None
    box: Box | None = attrs.field(default=None, converter=_box)
    mask: Mask | None = None
    descriptions: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    attributes: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    score: float | None = attrs.field(default=None, converter=_unit)
    depth: float | None = attrs.field(default=None, converter=_real)
    parent: int | None = None
    level: int | None = None
    source: str | None = None
    status: Status = "kept"
    reason: str | None = None
    degree: float | None = attrs.field(default=None, converter=_real)
    made_by: str | None = None
    judged_by: str | None = None

    def __attrs_post_init__(self) -> None:
        _check_status(self.status)
        if self.label is not None and not isinstance(self.label, str):
            raise GraphError(f"label {self.label!r} must be a text or null")
        if self.level is not None and not -(2**15) < self.level < 2**15:
            raise GraphError(f"level {self.level!r} must fit 16 bits")

    @property
    def kept(self) -> bool:
        """Whether the last verdict keeps this region."""
        return self.status == KEPT


@attrs.frozen
class Relation:
    """A triplet: region `subject` stands in relation `predicate` to region `object` (indices into all regions).

    `score` is P(predicate | subject, object) in [0, 1]; ranking multiplies it by the scores of the two regions.
    """

    subject: int
    predicate: str
    object: int
    category: Category = "unknown"
    score: float | None = attrs.field(default=None, converter=_unit)
    status: Status = "kept"
    reason: str | None = None
    degree: float | None = attrs.field(default=None, converter=_real)
    made_by: str | None = None
    judged_by: str | None = None

    def __attrs_post_init__(self) -> None:
        _check_status(self.status)
        if self.subject == self.object:
            raise GraphError(f"relation {self.predicate!r} relates region {self.subject} to itself")
        if not isinstance(self.predicate, str) or not self.predicate:
            raise GraphError(f"predicate {self.predicate!r} must be a non-empty text")
        if self.category not in CATEGORIES:
            raise GraphError(f"category {self.category!r} must be one of {', '.join(CATEGORIES)}")

    @property
    def kept(self) -> bool:
        """Whether the last verdict keeps this relation (its regions have verdicts of their own)."""
        return self.status == KEPT

    @property
    def triplet(self) -> tuple[int, str, int]:
        """(subject, predicate, object): what makes two rows the same relation."""
        return (self.subject, self.predicate, self.object)


@attrs.frozen
class Rows:
    """All rows of a graph in order of arrival, rejected ones included."""

    regions: tuple[Region, ...]
    relations: tuple[Relation, ...]


def _check_index(index: Any, count: int, what: str) -> None:
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise GraphError(f"{what} {index!r} is out of range: the graph has {count} regions")


def _as_tuple(value: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value)


def _texts_by_name(value: Mapping[str, str]) -> dict[str, str]:
    return dict(value)


@attrs.frozen(slots=False)
class SceneGraph:
    """The regions and relations of one image (or of none: width and height 0).

    `SceneGraph(width, height, regions, relations, attributes)` takes all rows. `regions` and `relations` are the kept
    rows by index, a relation also needing both its regions kept; `all` has every row with its status and reason.
    """

    width: int = 0
    height: int = 0
    _regions: tuple[Region, ...] = attrs.field(default=(), converter=_as_tuple)
    _relations: tuple[Relation, ...] = attrs.field(default=(), converter=_as_tuple)
    attributes: Mapping[str, str] = attrs.field(factory=dict, converter=_texts_by_name, hash=False)

    def __attrs_post_init__(self) -> None:
        if self.width < 0 or self.height < 0 or bool(self.width) != bool(self.height):
            raise GraphError(f"image size {self.width}x{self.height} must be positive, or 0x0 without an image")
        if self.width > _LARGEST or self.height > _LARGEST:
            raise GraphError(f"image size {self.width}x{self.height} is more than {_LARGEST} pixels on a side")
        count = len(self._regions)
        for index, region in enumerate(self._regions):
            if region.parent is not None:
                _check_index(region.parent, count, f"parent of region {index}")
                if region.parent == index:
                    raise GraphError(f"region {index} is its own parent")
            mask = region.mask
            if mask is not None and self.width and (mask.width, mask.height) != (self.width, self.height):
                raise GraphError(
                    f"mask of region {index} is {mask.width}x{mask.height}, the image {self.width}x{self.height}"
                )
        for index, relation in enumerate(self._relations):
            _check_index(relation.subject, count, f"subject of relation {index}")
            _check_index(relation.object, count, f"object of relation {index}")

    @property
    def all(self) -> Rows:
        """Every row, rejected ones included."""
        return Rows(self._regions, self._relations)

    @cached_property
    def regions(self) -> dict[int, Region]:
        """Kept regions by index, in order."""
        return {index: region for index, region in enumerate(self._regions) if region.status == KEPT}

    @cached_property
    def relations(self) -> dict[int, Relation]:
        """Kept relations by index, in order; both regions of each are kept."""
        regions = self.regions
        return {
            index: relation
            for index, relation in enumerate(self._relations)
            if relation.status == KEPT and relation.subject in regions and relation.object in regions
        }

    def box_of(self, index: int) -> Box:
        """The xyxy box of region `index` (of its mask if it has no box); a region without either is a `GraphError`."""
        region = self._regions[index]
        box = region.box or (region.mask.box if region.mask is not None else None)
        if box is None:
            raise GraphError(f"region {index} ({region.label or 'no label'}) has neither box nor mask")
        return box

    def triplets(self) -> Iterator[tuple[str | None, str, str | None]]:
        """(subject label, predicate, object label) of each kept relation."""
        for relation in self.relations.values():
            yield self._regions[relation.subject].label, relation.predicate, self._regions[relation.object].label


@attrs.frozen
class Sample:
    """One image with its scene graph.

    `uri` is "root:relative/path" or None without an image. `image` opens the pixels and takes no part in equality.
    `source` names the pipeline's source that gave it; `split` is train, val, test or None where none is known.
    """

    image_id: str
    graph: SceneGraph = attrs.field(factory=SceneGraph)
    uri: str | None = None
    split: str | None = None
    source: str | None = None
    sha256: str | None = None
    image: ImageSource | None = attrs.field(default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.image_id, str) or not self.image_id:
            raise GraphError(f"image id {self.image_id!r} must be a non-empty text")
