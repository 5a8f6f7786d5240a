"""Two sets of proposals into one: candidates worth adding, and masks that say no more than their parts."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from sgforge.errors import GraphError
from sgforge.masks.packed import PackedMasks
from sgforge.masks.selection.given import Indices, Masks, as_packed

__all__ = ["MergeMode", "merge", "without_unions"]

Flags = NDArray[np.bool_]


class MergeMode(enum.Enum):
    """Which candidates join the primary masks; all but `OVERLAP_ONLY` leave out those that are the same as one.

    Not overlapping: less than 60 % of the candidate lies in any one primary mask. Large: more pixels than the median of
    the primary masks; for `NON_OVERLAP_OR_AREA` also more than the 75th percentile of the candidates.
    """

    NON_OVERLAP_OR_AREA = "non-overlap-or-area"
    NON_OVERLAP_ONLY = "non-overlap-only"
    AREA_ONLY = "area-only"
    NON_OVERLAP_AND_AREA = "non-overlap-and-area"
    OVERLAP_ONLY = "overlap-only"
    NOT_SAME = "not-same"


def merge(
    primary: Masks,
    candidates: Masks,
    mode: MergeMode | str | int = MergeMode.NON_OVERLAP_OR_AREA,
    same: float = 0.7,
    overlap: float = 0.6,
) -> Indices:
    """Indices of the candidates that join the primary masks, ascending; all of them where there is no primary mask.

    A candidate is the same as a primary mask if their IoU exceeds `same`. `mode` may also be its name or its place
    among the modes, from 0. SVG merges whole and part masks of SAM with 0.7 and 0.6.
    """
    wanted = _mode(mode)
    first, second = as_packed(primary), as_packed(candidates)
    if not len(first) or not len(second):
        return np.arange(len(second))
    shared = first.intersections(second)
    union = first.areas[:, None] + second.areas[None] - shared
    is_same = np.any(_ratio(shared, union) > same, axis=0)
    if wanted is MergeMode.OVERLAP_ONLY:
        return np.flatnonzero(is_same)
    apart = np.all(_ratio(shared, np.broadcast_to(second.areas, shared.shape)) < overlap, axis=0)
    return np.flatnonzero(_wanted(wanted, apart, first.areas, second.areas) & ~is_same)


def _mode(mode: MergeMode | str | int) -> MergeMode:
    if isinstance(mode, MergeMode):
        return mode
    modes = list(MergeMode)
    if isinstance(mode, str):
        found = [known for known in modes if mode.lower().replace("_", "-") == known.value]
    else:
        found = modes[mode : mode + 1] if 0 <= mode < len(modes) else []
    if not found:
        raise GraphError(f"merge mode {mode!r} must be one of {', '.join(known.value for known in modes)}")
    return found[0]


def _wanted(mode: MergeMode, apart: Flags, primary_areas: Indices, areas: Indices) -> Flags:
    large: Flags = areas > np.percentile(primary_areas, 50)
    if mode is MergeMode.NON_OVERLAP_ONLY:
        return apart
    if mode is MergeMode.AREA_ONLY:
        return large
    if mode is MergeMode.NON_OVERLAP_AND_AREA:
        return apart & large
    if mode is MergeMode.NOT_SAME:
        return np.ones(len(areas), np.bool_)
    either: Flags = apart | large | (areas > np.percentile(areas, 75))
    return either


def without_unions(masks: Masks, parity: bool = False, inside: float = 0.9) -> Indices:
    """Indices of the masks that are no union of two or more others, ascending.

    A mask is one if more than `inside` of it is covered by its parts together, of which there are at least two; a part
    lies in it with more than `inside` of its own pixels. Masks are judged from the smallest on; only those that stand
    count as parts, and a near copy (each inside the other) is no part. So what is removed stays covered by what is
    kept, and copies of one region never remove one another.

    `parity`: the rule of SVG's region code, which judges all masks at once and takes copies for parts: of three near
    copies none remains.
    """
    packed = as_packed(masks)
    part = inside < packed.containment().T  # part[i, j]: j lies in i
    np.fill_diagonal(part, False)
    standing = np.ones(len(packed), np.bool_)
    if parity:
        unions = [_is_union(packed, index, np.flatnonzero(part[index]), inside) for index in range(len(packed))]
        standing[unions] = False
        return np.flatnonzero(standing)
    part &= ~part.T
    for index in np.argsort(packed.areas, kind="stable").tolist():
        standing[index] = not _is_union(packed, index, np.flatnonzero(part[index] & standing), inside)
    return np.flatnonzero(standing)


def _is_union(packed: PackedMasks, index: int, parts: Indices, inside: float) -> bool:
    if len(parts) < 2:
        return False
    x0, y0, x1, y1 = packed.boxes[index].tolist()
    rows, columns = slice(y0, y1), slice(x0 >> 6, (x1 + 63) >> 6)
    covered = np.bitwise_or.reduce(packed.words[parts, rows, columns], axis=0)
    shared = int(np.bitwise_count(covered & packed.words[index, rows, columns]).sum(dtype=np.int64))
    return bool(shared / int(packed.areas[index]) > inside)


def _ratio(part: Indices, whole: Indices) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return ratio
