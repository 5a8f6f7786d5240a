"""The degree in [0, 1] to which each spatial predicate holds for pairs of regions; definitions in the vocabulary.

All degrees are invariant under shifting and scaling an image (depths under scaling), mirroring swaps left and right,
and a predicate's degree for (a, b) is its inverse's for (b, a), to the last bit. Directions are the picture's, not
those of the things shown. Boxes are always used; masks refine containment, overlap and contact where both regions
have one; in front of and behind are told from depth alone: which of two things hides the other cannot be read
from the shapes of two masks, since both may be hidden parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import Relation, SceneGraph
from sgforge.spatial.geometry import Geometry
from sgforge.spatial.layout import Floats, Layout
from sgforge.spatial.outlines import Outlines
from sgforge.spatial.vocabulary import canonical, predicate_named

__all__ = ["degree_of", "degrees"]

_SINK_LIMIT: Final = 0.25
_DEPTH_STEP: Final = 0.2
_TOUCH_REACH: Final = 0.1
_STICKS_OUT: Final = 0.3


@attrs.frozen(eq=False)
class _Evidence:
    """All that the definitions read about P ordered pairs, seen from one side.

    `contact`: share of the subject's lower outline in contact with the object, NaN without masks. `adjoins`: whether
    the masks come near each other, NaN without masks. `step`: relative difference of depth. `is_part`: by ancestry.
    """

    layout: Layout
    contact: Floats
    adjoins: Floats
    step: Floats
    is_part: NDArray[np.bool_]


def _left_of(e: _Evidence) -> Floats:
    return _directed(e.layout.shift_x, e.layout.dx, e.layout.gap_y)


def _above(e: _Evidence) -> Floats:
    return _directed(e.layout.shift_y, e.layout.dy, e.layout.gap_x)


def _directed(shift: Floats, along: Floats, across: Floats) -> Floats:
    square = along * along
    total = square + across * across
    direction = np.divide(square, total, out=np.zeros_like(total), where=total > 0)
    return np.clip(shift, 0, 1) * direction


def _over(e: _Evidence) -> Floats:
    return np.clip(e.layout.shift_y, 0, 1) * e.layout.overlap_x


def _on(e: _Evidence) -> Floats:
    layout = e.layout
    stands = layout.overlap_x * np.clip(1 - layout.sink / _SINK_LIMIT, 0, 1)
    carries = layout.overlap_x * np.clip(1 - layout.sink_inverse / _SINK_LIMIT, 0, 1) * np.clip(-2 * layout.rise, 0, 1)
    # A small thing at the foot of a tall one (a skateboard, its rider) carries it and is not a spot on it.
    lies = np.clip(2 * (1 - layout.area_ratio), 0, 1) * (1 - carries)
    rests = stands * np.maximum(np.clip(2 * layout.rise, 0, 1), lies)
    return rests * np.where(np.isnan(e.contact), 1.0, np.minimum(1.0, 2 * e.contact))


def _inside(e: _Evidence) -> Floats:
    within = e.layout.cover * np.clip(2 * (1 - e.layout.area_ratio), 0, 1)
    # Of what lies in an open container only the part above its rim may be seen.
    return np.maximum(within, _STICKS_OUT * _on(e))


def _part_of(e: _Evidence) -> Floats:
    return np.where(e.is_part, 1.0, _inside(e))


def _in_front_of(e: _Evidence) -> Floats:
    return np.clip(e.step / _DEPTH_STEP, 0, 1) * _near(e)


def _near(e: _Evidence) -> Floats:
    return np.clip(1 - e.layout.gap / e.layout.size, 0, 1)


def _overlapping(e: _Evidence) -> Floats:
    return np.maximum(e.layout.cover, e.layout.cover_inverse)


def _next_to(e: _Evidence) -> Floats:
    return _near(e) * e.layout.overlap_y * (1 - _overlapping(e))


def _far_from(e: _Evidence) -> Floats:
    return np.clip((e.layout.gap / e.layout.size - 1) / 2, 0, 1)


def _touching(e: _Evidence) -> Floats:
    by_boxes = np.clip(1 - e.layout.gap / (_TOUCH_REACH * e.layout.size), 0, 1)
    return by_boxes * np.where(np.isnan(e.adjoins), 1.0, e.adjoins)


_DEFINITIONS: Final[Mapping[str, Callable[[_Evidence], Floats]]] = {
    "left of": _left_of,
    "above": _above,
    "over": _over,
    "on": _on,
    "inside": _inside,
    "part of": _part_of,
    "in front of": _in_front_of,
    "near": _near,
    "next to": _next_to,
    "far from": _far_from,
    "overlapping": _overlapping,
    "touching": _touching,
}
"""One definition per couple of inverses; the other name reads the same definition from the other side."""


def degrees(geometry: Geometry, pairs: NDArray[np.integer], predicates: Sequence[str]) -> Floats:
    """(P, C) float64: the degree of each predicate for each pair, NaN where it cannot be told.

    `pairs`: (P, 2) indices of subject and object. `predicates`: C names or synonyms; others are a `ValueError`. It
    cannot be told without a box for both regions, nor without depths where the predicate needs them.
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    chosen = [predicate_named(text) for text in predicates]
    answer = np.full((len(pairs), len(chosen)), np.nan)
    outlines = Outlines(geometry)
    sides: dict[bool, _Evidence] = {}
    for column, predicate in enumerate(chosen):
        turned = predicate.name not in _DEFINITIONS
        if turned not in sides:
            sides[turned] = _evidence(geometry, outlines, pairs[:, ::-1] if turned else pairs)
        answer[:, column] = _DEFINITIONS[predicate.inverse if turned else predicate.name](sides[turned])
    return answer


def degree_of(graph: SceneGraph, relation: Relation) -> float | None:
    """The degree of one relation of `graph`; None if its predicate is not spatial or it cannot be told."""
    if canonical(relation.predicate) is None:
        return None
    degree = degrees(Geometry.of(graph), np.asarray([[relation.subject, relation.object]]), [relation.predicate])[0, 0]
    return None if np.isnan(degree) else float(degree)


def _evidence(geometry: Geometry, outlines: Outlines, pairs: NDArray[np.int64]) -> _Evidence:
    contacts = outlines.refine(Layout.of(geometry, pairs), pairs)
    near, far = geometry.depth[pairs[:, 0]], geometry.depth[pairs[:, 1]]
    largest = np.maximum(np.abs(near), np.abs(far))
    known = ~np.isnan(contacts.layout.dx)
    step = np.divide(far - near, largest, out=np.zeros_like(largest), where=largest != 0)
    return _Evidence(
        layout=contacts.layout,
        contact=contacts.contact,
        adjoins=contacts.adjoins,
        step=np.where(known, step, np.nan),
        is_part=geometry.descends(pairs),
    )
