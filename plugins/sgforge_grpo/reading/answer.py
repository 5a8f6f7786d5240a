"""What an answer says, as a typed graph with the faults of what could not be read: from a text, or from a graph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from sgforge.graph import Region, Relation, SceneGraph
from sgforge.labels import normalized
from sgforge.stages import Outcome
from sgforge_grpo.reading.completion import parsed

__all__ = [
    "Answer",
    "Frame",
    "Triplet",
    "answer_of_graph",
    "label_of",
    "names_of",
    "names_of_id",
    "names_of_predicate",
    "no_answer",
    "normal",
    "read_answer",
    "read_outcome",
]

Triplet: TypeAlias = tuple[int, str, int]
"""Subject, predicate, object: places in the answer's names."""
Box: TypeAlias = tuple[float, float, float, float]
Floats: TypeAlias = NDArray[np.float64]

_NUMBERS: Final = frozenset((int, float))
_NONE: Final = np.zeros((0, 4))
_NOWHERE: Final = (math.nan,) * 4
_WITHOUT_END: Final = (math.inf,) * 4

normal: Final = lru_cache(maxsize=65536)(normalized)
"""A name normalised, kept: the names of a dataset are few."""


@lru_cache(maxsize=65536)
def names_of(text: str) -> tuple[str, str]:
    """A name normalised, and as it was written but for blanks around it."""
    return normal(text), text.strip()


@attrs.frozen(kw_only=True)
class Frame:
    """The picture that boxes lie in: its size in pixels, and what numbers of a text are divided by (`scale`)."""

    width: float
    height: float
    scale: tuple[float, float] = (1000.0, 1000.0)


@attrs.frozen(kw_only=True, eq=False)
class Answer:
    """An answer after reading: each thing once, only what could be read.

    `names`: normalised labels, N of them. `corners`: (N, 4) x0, y0, x1, y1 in pixels, NaN where there is no box.
    `subjects`, `said`, `objects`: of distinct relations a place, a normalised predicate, a place. `labels` and
    `predicates`: as they were written. `regions` and `rows`: of a graph, the place of each of its regions and relations
    here, -1 where it was left out; None of what was no graph. `faults`: a code for each thing that was left out or
    mended. `items`: how many things were given. `text`: what was said before it was read. `raw`: (R, 4) boxes of a text
    as they were written.
    """

    names: Sequence[str]
    corners: Floats
    subjects: Sequence[int]
    said: Sequence[str]
    objects: Sequence[int]
    labels: Sequence[str]
    predicates: Sequence[str]
    faults: list[str]
    items: int
    regions: Sequence[int] | None = None
    rows: Sequence[int] | None = None
    text: str | None = None
    raw: Floats = _NONE

    @property
    def boxes(self) -> list[Box]:
        """The corners as one tuple a box."""
        return [(x0, y0, x1, y1) for x0, y0, x1, y1 in self.corners.tolist()]

    @property
    def relations(self) -> list[Triplet]:
        """The relations as one triplet each."""
        return list(zip(self.subjects, self.said, self.objects, strict=True))

    def as_graph(self, width: int, height: int, score: float | None = None) -> SceneGraph:
        """As a graph of a picture of this size; `score` is that of every relation."""
        regions = [Region(label, box) for label, box in zip(self.labels, self.boxes, strict=True)]
        relations = [
            Relation(subject, predicate, object_, score=score)
            for subject, predicate, object_ in zip(self.subjects, self.predicates, self.objects, strict=True)
        ]
        return SceneGraph(width, height, regions, relations)


class _Things:
    """Gathers things once each: a region is known by its name and box, a relation by its triplet."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.labels: list[str] = []
        self.boxes: list[Box] = []
        self.relations: list[Triplet] = []
        self.predicates: list[str] = []
        self.faults: list[str] = []
        self._seen: dict[tuple[str, Box], int] = {}
        self._said: dict[Triplet, int] = {}

    def add_region(self, name: str, label: str, box: Box | None) -> int:
        """The place of a region by its name, normalised; one without a box is never the same as another."""
        place = len(self.names)
        if box is not None:
            known = self._seen.setdefault((name, box), place)
            if known != place:
                self.faults.append("duplicate-object")
                return known
        self.names.append(name)
        self.labels.append(label)
        self.boxes.append(box or _NOWHERE)
        return place

    def add_relation(self, subject: int, predicate: str, object_: int) -> int:
        """The place of a relation between two regions by their places; -1 of one to itself."""
        if subject == object_:
            self.faults.append("self-relation")
            return -1
        place = len(self.relations)
        name, written = names_of(predicate)
        triplet = (subject, name, object_)
        known = self._said.setdefault(triplet, place)
        if known != place:
            self.faults.append("duplicate-relation")
            return -1
        self.relations.append(triplet)
        self.predicates.append(written)
        return place

    def answer(self, items: int, **further: Any) -> Answer:
        """What was gathered."""
        return Answer(
            names=self.names,
            corners=_corners(self.boxes),
            subjects=[subject for subject, _, _ in self.relations],
            said=[predicate for _, predicate, _ in self.relations],
            objects=[object_ for _, _, object_ in self.relations],
            labels=self.labels,
            predicates=self.predicates,
            faults=self.faults,
            items=items,
            **further,
        )


def _corners(boxes: Sequence[Sequence[float]]) -> Floats:
    """(N, 4) of boxes."""
    return np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4)


def answer_of_graph(graph: SceneGraph, faults: Sequence[str] = (), text: str | None = None) -> Answer:
    """The kept rows of a graph; boxes are taken as they are, those of masks stand in where there is none.

    `text`: what was said before it was read, asked for its tags alone.
    """
    things = _Things()
    things.faults += faults
    regions, relations = [-1] * len(graph.all.regions), [-1] * len(graph.all.relations)
    for index, region in graph.regions.items():
        box = region.box or (region.mask.box if region.mask is not None else None)
        regions[index] = things.add_region(*names_of(region.label or ""), box)
    for index, relation in graph.relations.items():
        ends = regions[relation.subject], regions[relation.object]
        relations[index] = things.add_relation(ends[0], relation.predicate, ends[1])
    items = len(graph.regions) + len(graph.relations) + len(faults)
    return things.answer(items, regions=regions, rows=relations, text=text)


def no_answer(faults: Sequence[str]) -> Answer:
    """Of an outcome with neither a graph nor a text."""
    things = _Things()
    things.faults += ("nothing", *faults)
    return things.answer(len(things.faults))


@lru_cache(maxsize=65536)
def label_of(id_: str) -> str:
    """The label of an id such as "traffic light.2"."""
    label, _, number = id_.strip().rpartition(".")
    return label if label and number.isdecimal() else id_


def names_of_id(id_: str) -> tuple[str, str] | None:
    """What the label of an id is called, normalised, and as it was written; None of a blank one."""
    return names_of(label_of(id_)) if id_ and not id_.isspace() else None


def names_of_predicate(predicate: str) -> tuple[str, str] | None:
    """A predicate normalised, and as it was written; None of a blank one."""
    return names_of(predicate) if predicate and not predicate.isspace() else None


def read_answer(text: str, frame: Frame) -> Answer:
    """An answer as JSON: {"objects": [{"id": "label.1", "bbox": [...]}], "relationships": [{"subject": id, ...}]}.

    Whatever of it cannot be read is left out under a code, and nothing else with it: a text that breaks off keeps what
    it has said. Boxes are scaled to the picture, put in order and cut to it; one that is not four finite numbers, or
    has no area within the picture, takes its object along, and that object's relations.
    """
    things = _Things()
    whole, things.faults = parsed(text)
    if whole is None:
        return things.answer(1, text=text)
    objects, relations = (_listed(whole, key, things.faults) for key in ("objects", "relationships"))
    places, raw = _read_objects(objects, frame, things)
    _read_relations(relations, places, things)
    return things.answer(len(objects) + len(relations), text=text, raw=_corners(raw))


def _read_objects(objects: list[Any], frame: Frame, things: _Things) -> tuple[dict[str, int], list[Box]]:
    """The place of each object by its id, -1 where it was left out; and boxes as they were written."""
    places: dict[str, int] = {}
    raw: list[Box] = []
    most_x, most_y = frame.scale
    wide, high = frame.width / most_x, frame.height / most_y
    faults = things.faults
    for one in objects:
        if not isinstance(one, dict):
            faults.append("no-object")
            continue
        id_, box = one.get("id"), one.get("bbox")
        if not isinstance(id_, str) or (named := names_of_id(id_)) is None:
            faults.append("no-id")
        elif id_ in places:
            faults.append("duplicate-id")
        elif not (isinstance(box, list) and len(box) == 4 and _NUMBERS.issuperset(map(type, box))):
            places[id_] = -1
            faults.append("no-box")
        else:
            written = _floats(box)
            raw.append(written)
            x0, y0, x1, y1 = written
            if 0 <= x0 < x1 <= most_x and 0 <= y0 < y1 <= most_y:
                placed: Box | None = (x0 * wide, y0 * high, x1 * wide, y1 * high)
            else:
                placed = _mended(written, frame, faults)
            places[id_] = -1 if placed is None else things.add_region(*named, placed)
    return places, raw


def _floats(box: list[float]) -> Box:
    try:
        x0, y0, x1, y1 = map(float, box)
    except OverflowError:  # an integer of hundreds of digits
        return _WITHOUT_END
    return x0, y0, x1, y1


def _mended(box: Box, frame: Frame, faults: list[str]) -> Box | None:
    """A box in order and within the picture; None where nothing is left of it."""
    x0, y0, x1, y1 = box
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        faults.append("box-not-finite")
        return None
    if x0 > x1 or y0 > y1:
        faults.append("box-turned")
        x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    wide, high = frame.width / frame.scale[0], frame.height / frame.scale[1]
    left, right = max(0.0, x0 * wide), min(frame.width, x1 * wide)
    top, bottom = max(0.0, y0 * high), min(frame.height, y1 * high)
    if left < right and top < bottom:
        return left, top, right, bottom
    faults.append("box-empty")
    return None


def _read_relations(relations: list[Any], places: Mapping[str, int], things: _Things) -> None:
    for one in relations:
        if not isinstance(one, dict):
            things.faults.append("no-relation")
            continue
        subject, predicate, object_ = one.get("subject"), one.get("predicate"), one.get("object")
        if not (isinstance(predicate, str) and predicate and not predicate.isspace()):
            things.faults.append("no-predicate")
            continue
        first = places.get(subject, -1) if isinstance(subject, str) else -1
        second = places.get(object_, -1) if isinstance(object_, str) else -1
        if first < 0 or second < 0:
            things.faults.append("unknown-id")
            continue
        things.add_relation(first, predicate, second)


def _listed(whole: dict[str, Any], key: str, faults: list[str]) -> list[Any]:
    value = whole.get(key)
    if isinstance(value, list):
        return value
    faults.append(f"no-{key}")
    return []


def read_outcome(text: str, frame: Frame, score: float | None = None) -> Outcome:
    """What a completion says, as an outcome for any reward; `score` is that of every relation."""
    answer = read_answer(text, frame)
    graph = answer.as_graph(round(frame.width), round(frame.height), score)
    return Outcome(graph, text=text, faults=tuple(answer.faults))
