"""The exporter `label-studio`: a JSON list of tasks, boxes in hundredths, relations with their predicate as label.

The address of a picture is as it was read, else its name in the folder of images. Left out and counted: masks
(polygons come in, boxes go out), scores of relations, depth, rejected rows, images without a size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sgforge.graph import Sample
from sgforge_formats.coco.rows import usual_id
from sgforge_formats.origin import Origin
from sgforge_formats.writing.exports import file_name, write_rows
from sgforge_formats.writing.holding import held, plain_number

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["LabelStudioExporter"]

_DIGITS: Final = 9
_FIELDS: Final = {"from_name": "label", "to_name": "image"}


class LabelStudioExporter:
    """Writes Label Studio's tasks; the file appears when it is whole."""

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the file `output`; returns what was written and left out, by name."""
        return write_rows(snapshot, output, _task)


def _task(sample: Sample, folders: Mapping[str, str], counts: Counter[str]) -> dict[str, Any] | None:
    if not sample.graph.width:
        counts["images without a size left out"] += 1
        return None
    rows, origin = held(sample, counts, ("attributes", "descriptions", "score"), needs_label=False), Origin.of(sample)
    size = {"original_width": sample.graph.width, "original_height": sample.graph.height, "image_rotation": 0}
    ids: dict[int, str] = {}
    for index in rows.regions:
        given = origin.region_id(index)
        ids[index] = given if isinstance(given, str) and given not in ids.values() else f"region-{index}"
    results: list[dict[str, Any]] = []
    for index, region in rows.regions.items():
        x0, y0, x1, y1 = rows.boxes[index]
        shares = (x0 / size["original_width"], y0 / size["original_height"])
        sides = ((x1 - x0) / size["original_width"], (y1 - y0) / size["original_height"])
        names = zip(("x", "y", "width", "height"), (*shares, *sides), strict=True)
        value = {name: plain_number(round(number * 100, _DIGITS)) for name, number in names}
        labels = [region.label] if region.label else []
        row = {"id": ids[index], "type": "rectanglelabels", **_FIELDS, **size}
        score = {} if region.score is None else {"score": region.score}
        results.append({**row, **score, "value": {**value, "rotation": 0, "rectanglelabels": labels}})
        for kind, key, texts in (("choices", "choices", region.attributes), ("textarea", "text", region.descriptions)):
            if texts:
                results.append({"id": ids[index], "type": kind, "to_name": "image", "value": {key: list(texts)}})
    for relation in rows.relations.values():
        ends = {"from_id": ids[relation.subject], "to_id": ids[relation.object]}
        results.append({"type": "relation", **ends, "direction": "right", "labels": [relation.predicate]})
    given = origin.image.get("file_name")
    name = given if isinstance(given, str) else "" if sample.uri is None else file_name(sample, folders)
    return {"id": usual_id(sample.image_id), "data": {"image": name}, "annotations": [{"result": results}]}
