"""One picture per photo: its regions, and the relations that say most, as arrows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

import sgforge as sg
from sgforge.draw import draw_graph

SHOWN = 9
"""Arrows in one picture; more cannot be read."""


def draw_photos(dataset: sg.Dataset, folder: Path) -> Iterator[Path]:
    """Draw every image of the root "photos" into `folder`; the path of each picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample in dataset:
        if sample.image is not None and (sample.uri or "").startswith("photos:"):
            photo = sample.image.pil()
            large = photo.resize((2 * photo.width, 2 * photo.height), Image.Resampling.LANCZOS)
            path = folder / f"{sample.image_id}.png"
            draw_graph(large, telling(sample.graph), scale=2.0).save(path)
            yield path


def telling(graph: sg.SceneGraph) -> sg.SceneGraph:
    """The graph with one relation per pair of regions: what people wrote first, then what is surest."""
    order = sorted(
        graph.relations.values(), key=lambda relation: (relation.made_by is not None, -(relation.score or 0))
    )
    chosen: dict[frozenset[int], sg.Relation] = {}
    for relation in order:
        chosen.setdefault(frozenset((relation.subject, relation.object)), relation)
    return sg.SceneGraph(graph.width, graph.height, graph.all.regions, list(chosen.values())[:SHOWN])
