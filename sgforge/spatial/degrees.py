"""The degree in [0, 1] to which each spatial predicate holds for pairs of regions; definitions in the vocabulary.

A picture shows less than the scene: what hides, tilts or stands farther away can make a true relation look odd. So a
degree has two ranges. Up to `_ALLOWED` lies what the picture allows without showing it (a ball in the lower part of a
table's box may be under it); above lies what it shows. 0 is for what boxes, masks or depths contradict.

All degrees are invariant under shifting and scaling an image (depths under scaling), mirroring swaps left and right,
and a predicate's degree for (a, b) is its inverse's for (b, a), to the last bit. Directions are the picture's, not
those of the things shown. Boxes are always used; masks refine containment, overlap, cover from above and contact where
both regions have one; in front of and behind are told from depth alone: which of two things hides the other cannot be
read from the shapes of two masks, since both may be hidden parts.
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
from sgforge.spatial.outlines import Contacts, Outlines
from sgforge.spatial.vocabulary import canonical, predicate_named

__all__ = ["degree_of", "degrees"]

_ALLOWED: Final = 0.3
"""The most that a predicate holds by what the picture allows but does not show."""
_SINK_LIMIT: Final = 0.25
_DEPTH_STEP: Final = 0.2
_DEPTH_SLACK: Final = 0.03
"""Relative difference of two depths that a median over a region's pixels does not settle."""
_TOUCH_REACH: Final = 0.1


@attrs.frozen(eq=False)
class _Evidence:
    """All that the definitions read about P ordered pairs, seen from one side.

    `layout`: by masks where both regions have one; `boxes`: by boxes alone. `masks`: what only masks tell, NaN without
    them. `step`: relative difference of depth, NaN where unknown. `is_part`: by ancestry.
    """

    layout: Layout
    boxes: Layout
    masks: Contacts
    step: Floats
    is_part: NDArray[np.bool_]


def _left_of(e: _Evidence) -> Floats:
    layout = e.layout
    # Where one box spans the other, the middles still tell a side, unless the one lies within the other. Upright they
    # do not: of a tall and a low thing on one ground neither is above.
    leans = np.clip(layout.dx / layout.reach_x, 0, 1) * (1 - _overlapping(e))
    return np.maximum(np.clip(layout.shift_x, 0, 1), _ALLOWED * leans) * _direction(layout.dx, layout.gap_y)


def _above(e: _Evidence) -> Floats:
    clear = np.clip(e.layout.shift_y, 0, 1) * _direction(e.layout.dy, e.layout.gap_x)
    return np.maximum(clear, _roof(e))


def _direction(along: Floats, across: Floats) -> Floats:
    """cos² of the angle between an axis and the way that goes `along` it and `across` it."""
    square = along * along
    total = square + across * across
    return np.divide(square, total, out=np.zeros_like(total), where=total > 0)


def _roof(e: _Evidence) -> Floats:
    """How far the subject spans the object from above with room beneath, as a table does."""
    layout = e.layout
    # By boxes: the object begins lower, and its foot is near the subject's, as if both stood on one ground.
    low = layout.overlap_x * np.clip(1 - 2 * layout.foot, 0, 1) * np.clip(2 * layout.rise, 0, 1)
    return np.where(np.isnan(e.masks.roof), _ALLOWED * low, e.masks.roof)


def _over(e: _Evidence) -> Floats:
    clear = np.clip(e.layout.shift_y, 0, 1) * e.layout.overlap_x
    # What lies on a surface is over it if that is level, and before it if it is upright: a picture shows neither.
    return np.maximum(np.maximum(clear, _roof(e)), _ALLOWED * _on(e))


def _on(e: _Evidence) -> Floats:
    layout = e.layout
    stands = layout.overlap_x * np.clip(1 - layout.sink / _SINK_LIMIT, 0, 1)
    carries = layout.overlap_x * np.clip(1 - layout.sink_inverse / _SINK_LIMIT, 0, 1) * np.clip(-2 * layout.rise, 0, 1)
    # A small thing at the foot of a tall one may carry it (a skateboard, its rider), stand before it or be on it (a
    # shoe): boxes do not tell.
    lies = np.clip(2 * (1 - layout.area_ratio), 0, 1) * (1 - (1 - _ALLOWED) * carries)
    rests = stands * np.maximum(np.clip(2 * layout.rise, 0, 1), lies)
    # Masks that meet elsewhere than below allow it: a wheel is on the car above it.
    contact = np.maximum(np.minimum(1.0, 2 * e.masks.contact), _ALLOWED * e.masks.adjoins)
    return rests * np.where(np.isnan(contact), 1.0, contact)


def _within(layout: Layout) -> Floats:
    return layout.cover * np.clip(2 * (1 - layout.area_ratio), 0, 1)


def _inside(e: _Evidence) -> Floats:
    # A thing clearly nearer than what surrounds it in the picture may as well stand before it.
    nearer = np.clip(np.nan_to_num(e.step) / _DEPTH_STEP, 0, 1)
    within = _within(e.layout) * (1 - (1 - _ALLOWED) * nearer)
    # Of what lies in an open container only the part above its rim may be seen.
    return np.maximum(within, _ALLOWED * _on(e))


def _part_of(e: _Evidence) -> Floats:
    # Masks that share no pixel cut a part at the edge out of the whole; the box of the whole still holds the part.
    cut_out = _within(e.boxes) * np.nan_to_num(e.masks.adjoins)
    allowed = _ALLOWED * np.maximum(cut_out, _on(e))
    return np.where(e.is_part, 1.0, np.maximum(_within(e.layout), allowed))


def _in_front_of(e: _Evidence) -> Floats:
    return np.clip((e.step + _DEPTH_SLACK) / (_DEPTH_STEP + _DEPTH_SLACK), 0, 1) * _near(e)


def _near(e: _Evidence) -> Floats:
    return np.clip(1 - e.layout.gap / e.layout.size, 0, 1)


def _overlapping(e: _Evidence) -> Floats:
    by_masks = np.maximum(e.layout.cover, e.layout.cover_inverse)
    # Of two things that overlap in the picture each pixel shows one: masks that meet in overlapping boxes allow it.
    by_boxes = np.maximum(e.boxes.cover, e.boxes.cover_inverse) * np.nan_to_num(e.masks.adjoins)
    return np.maximum(by_masks, _ALLOWED * by_boxes)


def _next_to(e: _Evidence) -> Floats:
    layout = e.layout
    # Things side by side on one ground, one a little farther, are shifted upwards in the picture by the perspective.
    aside = (1 - layout.overlap_x) * _direction(layout.dx, layout.gap_y)
    return _near(e) * np.maximum(layout.overlap_y, aside) * (1 - _overlapping(e))


def _far_from(e: _Evidence) -> Floats:
    return np.clip((e.layout.gap / e.layout.size - 1) / 2, 0, 1)


def _touching(e: _Evidence) -> Floats:
    by_boxes = np.clip(1 - e.layout.gap / (_TOUCH_REACH * e.layout.size), 0, 1)
    return by_boxes * np.where(np.isnan(e.masks.adjoins), 1.0, e.masks.adjoins)


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
    boxes = Layout.of(geometry, pairs)
    contacts = outlines.refine(boxes, pairs)
    near, far = geometry.depth[pairs[:, 0]], geometry.depth[pairs[:, 1]]
    largest = np.maximum(np.abs(near), np.abs(far))
    step = np.divide(far - near, largest, out=np.zeros_like(largest), where=largest != 0)
    known = ~np.isnan(contacts.layout.dx)
    return _Evidence(
        layout=contacts.layout,
        boxes=boxes,
        masks=contacts,
        step=np.where(known, step, np.nan),
        is_part=geometry.descends(pairs),
    )
