"""What a model is shown of one sample: regions under plain numbers, the facts as JSON, and the picture.

Labels and descriptions come from files and models: to the prompt they are data. They travel inside one JSON value whose
end cannot be forged (JSON escapes quotes, and control characters are taken out), and the instructions say that nothing
inside it is an instruction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from sgforge.errors import GraphError
from sgforge.graph import Region, Relation, Sample

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["View", "as_json", "clean_text", "look_at", "picture_of"]

_MAX_TEXT = 300
_SMALL_SIDE = 512  # pixels; a picture that is smaller is enlarged before marks are drawn, which would else cover it


def as_json(value: Any) -> str:
    """A value as compact JSON, the form in which facts stand in a prompt."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def clean_text(text: str) -> str:
    """`text` on one line, without control characters, at most 300 characters: fit to stand in a prompt."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:_MAX_TEXT]


@attrs.frozen
class View:
    """The regions of a sample that a model sees, under the numbers 1..n in index order.

    `regions`: shown regions by their index in the graph. `hidden`: how many kept regions are not shown. `sent`: width
    and height of the picture in whose pixels boxes are told; None for those of the graph.
    """

    sample: Sample
    regions: Mapping[int, Region]
    hidden: int
    sent: tuple[int, int] | None = None

    @property
    def numbers(self) -> dict[int, int]:
        """Number of each shown region, by index."""
        return {index: number for number, index in enumerate(self.regions, 1)}

    @property
    def indices(self) -> dict[int, int]:
        """Index of each shown region, by number."""
        return dict(enumerate(self.regions, 1))

    def relations(self) -> dict[int, Relation]:
        """Kept relations whose two regions are shown, by index."""
        rows = self.sample.graph.relations
        return {index: row for index, row in rows.items() if row.subject in self.regions and row.object in self.regions}

    def facts(self, known: Iterable[Relation], proposed: Iterable[Relation] | None = None) -> str:
        """The facts as one JSON value: image size, regions, known relations, and under numbers 1..n proposed ones."""
        value: dict[str, Any] = {
            "image": self.image_size(),
            "regions": [self._region(index) for index in self.regions],
            "known_relations": [self._triplet(row) for row in known],
        }
        if proposed is not None:
            numbered = enumerate(proposed, 1)
            value["relations"] = [{"relation": number, **self._triplet(row)} for number, row in numbered]
        return as_json(value)

    def naming_facts(self, asked: Iterable[int]) -> str:
        """The facts as one JSON value: image size, regions, and the numbers of those (by index) that want a name."""
        numbers = self.numbers
        value = {
            "image": self.image_size(),
            "regions": [self._region(index) for index in self.regions],
            "to_name": [numbers[index] for index in asked],
        }
        return as_json(value)

    def image_size(self) -> dict[str, int]:
        """The size that boxes are measured in, as a fact."""
        width, height = self.sent or (self.sample.graph.width, self.sample.graph.height)
        return {"width": width, "height": height}

    def place(self, index: int) -> dict[str, Any]:
        """Which region is meant, as a fact: its number, and its label and box where it has them."""
        region = self.regions[index]
        fact: dict[str, Any] = {"region": self.numbers[index]}
        if region.label is not None:
            fact["label"] = clean_text(region.label)
        if _has_place(region):
            fact["box"] = [
                round(value * scale) for value, scale in zip(self._box(index), self._scale() * 2, strict=True)
            ]
        return fact

    def _box(self, index: int) -> Sequence[float]:
        return self.sample.graph.box_of(index)

    def _scale(self) -> tuple[float, float]:
        """Pixels that are told per pixel of the graph, across and down."""
        graph = self.sample.graph
        if self.sent is None or not (graph.width and graph.height):
            return 1.0, 1.0
        return self.sent[0] / graph.width, self.sent[1] / graph.height

    def _triplet(self, row: Relation) -> dict[str, Any]:
        numbers = self.numbers
        return {
            "subject": numbers[row.subject],
            "predicate": clean_text(row.predicate),
            "object": numbers[row.object],
        }

    def _region(self, index: int) -> dict[str, Any]:
        region = self.regions[index]
        fact = self.place(index)
        if region.descriptions:
            fact["descriptions"] = [clean_text(text) for text in region.descriptions]
        if region.attributes:
            fact["attributes"] = [clean_text(text) for text in region.attributes]
        rank = self._depth_rank(index)
        if rank is not None:
            fact["depth_order"] = rank
        return fact

    def _depth_rank(self, index: int) -> int | None:
        """1 for the nearest shown region with a depth; None where none is known."""
        depth = self.regions[index].depth
        if depth is None:
            return None
        return 1 + sum(other.depth is not None and other.depth < depth for other in self.regions.values())


def look_at(sample: Sample, max_regions: int) -> View:
    """The view of a sample: all its kept regions, or the `max_regions` largest of them."""
    regions = sample.graph.regions
    if len(regions) <= max_regions:
        return View(sample, dict(regions), 0)
    by_area = sorted(regions, key=lambda index: (-_area(sample, index), index))
    shown = sorted(by_area[:max_regions])
    return View(sample, {index: regions[index] for index in shown}, len(regions) - max_regions)


def _has_place(region: Region) -> bool:
    """Whether it is known where the region is; an empty mask is nowhere."""
    return region.box is not None or (region.mask is not None and region.mask.box is not None)


def _area(sample: Sample, index: int) -> float:
    if not _has_place(sample.graph.regions[index]):
        return 0.0  # shown last
    x0, y0, x1, y1 = sample.graph.box_of(index)
    return (x1 - x0) * (y1 - y0)


def picture_of(
    view: View, style: str, max_side: int, *, as_before: bool = False, image: Image.Image | None = None
) -> Image.Image:
    """The picture to send, RGB, its longest side at most `max_side`; with `style` "marks", regions are numbered on it.

    Marks are drawn after resizing, so that they stay legible; a small picture is enlarged for them. `as_before`: marks
    as revision 2 drew them, pixel by pixel, since answers are named by the picture too. `image`: in place of the
    sample's.
    """
    from sgforge.draw import draw_marks
    from sgforge.draw.marks import mark_regions

    if image is None and view.sample.image is None:
        raise GraphError(f"image {view.sample.image_id} has no picture to show")
    if image is None:
        assert view.sample.image is not None
        image = view.sample.image.pil()
    longest = max(image.size)
    scale = min(max_side, longest if style == "plain" else max(longest, _SMALL_SIDE)) / longest
    if scale != 1.0:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    if style == "plain":
        return image
    shown = {index: region for index, region in view.regions.items() if _has_place(region)}
    draw = draw_marks if as_before else mark_regions
    return draw(image, shown, numbers=view.numbers, scale=scale)
