"""A graph made of rows that name each other by ids, as most annotation files have it; what is wrong is counted."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs

from sgforge.errors import GraphError
from sgforge.graph import Category, Mask, Region, Relation, Sample, SceneGraph
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge_formats.origin import Origin, RowId
from sgforge_formats.reading.checks import Fault, is_plain
from sgforge_formats.reading.numbers import read_number
from sgforge_formats.reading.tally import Tally

__all__ = ["OUTSIDE", "XYXY", "Drawn", "GraphBuilder", "is_plain_text", "xyxy_of_xywh"]

OUTSIDE: Final = 0.5
"""Pixels that a box may end outside its picture before it is remarked: annotation tools round."""
_NUMBERS: Final = frozenset({int, float})
_LEAVING: Final = "boxes that leave their picture, kept as they are"

XYXY = Sequence[Any]


class Drawn(NamedTuple):
    """A row of regions while the graph is made: the fields of `Region` that files give."""

    label: str | None
    box: tuple[float, float, float, float] | None
    mask: Mask | None
    descriptions: list[str]
    attributes: list[str]
    score: float | None
    source: str | None


@attrs.define
class GraphBuilder:
    """Collects the regions and relations of one image; `where` names file and item, `width` and `height` may be 0.

    Faults of rows, with reasons: bad-box, outside-image (the region stays, without its box, as relations name it),
    bad-label, bad-predicate, bad-attribute, bad-description, unknown-object, self-relation, bad-parent. A box that
    reaches beyond its picture is kept and counted in `tally`.
    """

    where: str
    image_id: str
    width: int
    height: int
    tally: Tally
    drawn: list[Drawn] = attrs.field(factory=list)
    parents: dict[int, int] = attrs.field(factory=dict)
    relations: list[Relation] = attrs.field(factory=list)
    faults: list[SourceFailure] = attrs.field(factory=list)
    _index: dict[Hashable, int] = attrs.field(factory=dict)
    _region_ids: list[RowId | None] = attrs.field(factory=list)
    _relation_ids: list[RowId | None] = attrs.field(factory=list)
    _regions_more: dict[int, Mapping[str, Any]] = attrs.field(factory=dict)
    _relations_more: dict[int, Mapping[str, Any]] = attrs.field(factory=dict)

    def fault(self, reason: str, detail: str, item: str = "") -> None:
        """Count an annotation, or a part of one, that is left out."""
        where = f"{self.where}: {item}" if item else self.where
        self.faults.append(Fault(reason, detail).of(where, self.image_id))

    def index_of(self, key: Any) -> int | None:
        """The region that an id of the file stands for; None where it is none, or no id at all."""
        try:
            return self._index.get(key)
        except TypeError:  # no id, but a list or an object
            return None

    def alias(self, key: Hashable, index: int) -> None:
        """Let a further id stand for a region, unless it stands for one of its own."""
        self._index.setdefault(key, index)

    def region(
        self,
        key: RowId | None,
        label: Any,
        box: XYXY | None,
        item: str,
        *,
        mask: Mask | None = None,
        score: float | None = None,
        source: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> int:
        """Add a region; its index. `box`: xyxy in pixels, unchecked; `item`: its place, for faults."""
        index = len(self.drawn)
        found = None if box is None else self._box(box, item)
        if found is None and mask is not None:
            found = mask.box
        self.drawn.append(
            Drawn(
                label=self._label(label, item),
                box=found,
                mask=mask,
                descriptions=[],
                attributes=[],
                score=None if score is None else self._score(score, item),
                source=source,
            )
        )
        self._region_ids.append(key)
        if key is not None:
            self._index.setdefault(key, index)
        if more:
            self._regions_more[index] = more
        return index

    def _label(self, label: Any, item: str) -> str | None:
        if label is None or label == "":
            return None
        if not isinstance(label, str) or not is_plain_text(label):
            self.fault("bad-label", f"{shortened(label)} must be a text without control characters", item)
            return None
        return label

    def _score(self, value: Any, item: str) -> float | None:
        if value is None:
            return None
        number = read_number(value)
        if number is None or not 0 <= number <= 1:
            self.fault("bad-score", f"score {shortened(value)} must be a number from 0 to 1; it is left out", item)
            return None
        return number

    def _box(self, given: XYXY, item: str) -> tuple[float, float, float, float] | None:
        try:
            x0, y0, x1, y1 = given
            is_one = {type(x0), type(y0), type(x1), type(y1)} <= _NUMBERS and x0 < x1 and y0 < y1
            is_one = is_one and x0 > -math.inf and y0 > -math.inf and x1 < math.inf and y1 < math.inf
        except (TypeError, ValueError):
            is_one = False
        if not is_one:
            detail = (
                f"box {shortened(list(given))} must be finite numbers x0 < x1, y0 < y1; the region stays without it"
            )
            self.fault("bad-box", detail, item)
            return None
        if self.width and self.height and not self._is_seen(x0, y0, x1, y1, item):
            return None
        return x0, y0, x1, y1

    def _is_seen(self, x0: float, y0: float, x1: float, y1: float, item: str) -> bool:
        if x1 <= 0 or y1 <= 0 or x0 >= self.width or y0 >= self.height:
            detail = f"box {[x0, y0, x1, y1]} lies outside its image of {self.width}x{self.height}"
            self.fault("outside-image", detail, item)
            return False
        is_leaving = x0 < -OUTSIDE or y0 < -OUTSIDE or x1 > self.width + OUTSIDE or y1 > self.height + OUTSIDE
        if is_leaving:
            self.tally.add(_LEAVING)
        return True

    def attributes(self, index: int, given: Any, item: str) -> None:
        """Add attributes to a region: a list of texts, or one text."""
        self._texts(self.drawn[index].attributes, given, "bad-attribute", item)

    def describe(self, index: int, given: Any, item: str) -> None:
        """Add descriptions to a region: a list of texts, or one text."""
        self._texts(self.drawn[index].descriptions, given, "bad-description", item)

    def _texts(self, known: list[str], given: Any, reason: str, item: str) -> None:
        texts: Iterable[Any] = () if given is None else given if isinstance(given, list) else [given]
        for text in texts:
            if isinstance(text, str) and text and is_plain_text(text):
                if text not in known:
                    known.append(text)
            else:
                self.fault(reason, f"{shortened(text)} must be a text without control characters", item)

    def rename(self, index: int, label: Any, item: str) -> None:
        """Give a region its label."""
        self.drawn[index] = self.drawn[index]._replace(label=self._label(label, item))

    def parent(self, child: int, parent: int, item: str) -> None:
        """Say which region another is a part of; a circle is a fault."""
        above: int | None = parent
        while above is not None:
            if above == child:
                self.fault("bad-parent", "it is a part of itself, over the parts between", item)
                return
            above = self.parents.get(above)
        self.parents[child] = parent

    def relate(
        self,
        subject: int | None,
        predicate: Any,
        other: int | None,
        item: str,
        *,
        key: RowId | None = None,
        category: Category = "unknown",
        score: float | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a relation between two regions by index, None where its object is not in the image."""
        if subject is None or other is None:
            side = "subject" if subject is None else "object"
            return self.fault("unknown-object", f"its {side} is no object of the image", item)
        if subject == other:
            return self.fault("self-relation", f"{shortened(predicate)} relates an object to itself", item)
        if not isinstance(predicate, str) or not predicate or not is_plain_text(predicate):
            return self.fault(
                "bad-predicate", f"{shortened(predicate)} must be a text without control characters", item
            )
        if more:
            self._relations_more[len(self.relations)] = more
        if score is not None:
            score = self._score(score, item)
        self.relations.append(
            Relation(subject=subject, predicate=predicate, object=other, category=category, score=score)
        )
        self._relation_ids.append(key)
        return None

    def sample(
        self,
        uri: str | None = None,
        split: str | None = None,
        *,
        attributes: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Sample | SourceFailure:
        """The image with its graph; `more`: what else the file says of it."""
        try:
            graph = SceneGraph(
                width=self.width,
                height=self.height,
                regions=[self._region(index, drawn) for index, drawn in enumerate(self.drawn)],
                relations=self.relations,
                attributes=attributes or {},
            )
        except GraphError as error:
            return SourceFailure(self.where, "bad-image", str(error), self.image_id)
        origin = Origin(
            region_ids=self._region_ids,
            relation_ids=self._relation_ids,
            image=more or {},
            regions=self._regions_more,
            relations=self._relations_more,
        )
        return Sample(self.image_id, graph, uri, split, values=origin.values())

    def _region(self, index: int, drawn: Drawn) -> Region:
        try:
            return self._made(index, drawn)
        except GraphError as error:  # a box that is none in float32
            self.fault("bad-box", f"{error}; the region stays without it")
            return self._made(index, drawn._replace(box=None))

    def _made(self, index: int, drawn: Drawn) -> Region:
        return Region(
            label=drawn.label,
            box=drawn.box,
            mask=drawn.mask,
            descriptions=drawn.descriptions,
            attributes=drawn.attributes,
            score=drawn.score,
            parent=self.parents.get(index),
            source=drawn.source,
        )


@functools.lru_cache(maxsize=1 << 17)
def is_plain_text(text: str) -> bool:
    """As `is_plain`, of labels and the like: few texts stand for all of a data set."""
    return is_plain(text)


def xyxy_of_xywh(row: Mapping[str, Any], x: str = "x", y: str = "y", w: str = "w", h: str = "h") -> XYXY:
    """The corners of a box that a row gives by its corner and sides; what are no numbers are given back unread."""
    left, top, width, height = row.get(x), row.get(y), row.get(w), row.get(h)
    try:
        # Texts can be added, but not made negative.
        return left, top, left - -width, top - -height  # type: ignore[operator]
    except TypeError:
        numbers = [read_number(value) for value in (left, top, width, height)]
        if None in numbers:
            return left, top, width, height
        low, high, side, other = numbers
        return low, high, low + side, high + other  # type: ignore[operator]
