"""A model's own panoptic maps: its COCO panoptic file, and what its PNGs share with true ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from sgforge.labels import LabelMapper
from sgforge_eval.intake.arrays import Ints
from sgforge_eval.tasks.base import Predictions, TaskFileError, field_of, json_value, rows_of
from sgforge_eval.tasks.panoptic_maps import Overlaps, Segment, read_id_map

__all__ = ["MapReader", "read_maps"]


def read_maps(path: Path) -> Predictions:
    """The annotations of a COCO panoptic file by image id."""
    found = Predictions()
    data = json_value(path, "predicted panoptic file", dict)
    for where, row in rows_of(field_of(data, "annotations", list, str(path)), f"{path}: annotations"):
        found.add({**row, "id": field_of(row, "image_id", (int, str), where)})
    return found


@attrs.frozen(eq=False)
class MapReader:
    """Reads predicted maps; what is not as it should be is counted in `predictions` and takes no part.

    `folder` holds the PNGs, `codes` the class codes by category id; a segment may have a `label` instead, which
    `names` maps.
    """

    folder: Path
    codes: Mapping[int, int]
    names: LabelMapper
    predictions: Predictions

    def overlaps_of(self, image: str, true: Ints) -> tuple[list[Segment], Overlaps]:
        """The predicted segments of an image and what they share with a true map; none where there is no map."""
        row = self.predictions.get(image)
        ids = None if row is None else self._map(row, image)
        if row is None or ids is None:
            return [], Overlaps.of(true, np.zeros_like(true))
        if ids.shape != true.shape:
            self._count("predicted map of another size than the true one, left out")
            return [], Overlaps.of(true, np.zeros_like(true))
        overlaps = Overlaps.of(true, ids)
        segments = list(self._segments(row, image, overlaps))
        known = {segment.segment for segment in segments}
        if any(one and one not in known for one in overlaps.predicted):
            self._count("predicted map with ids that are none of its segments, counted as void")
        return segments, overlaps

    def _map(self, row: Mapping[str, Any], image: str) -> Ints | None:
        name = row.get("file_name")
        try:
            return read_id_map(self.folder, str(name), f"prediction of image {image}")
        except TaskFileError as error:
            self._count("predicted map that cannot be read, left out", str(error))
            return None

    def _segments(self, row: Mapping[str, Any], image: str, overlaps: Overlaps) -> list[Segment]:
        found: dict[int, Segment] = {}
        infos = row.get("segments_info")
        for info in infos if isinstance(infos, list) else ():
            key, code = self._key_and_code(info)
            if code < 0:
                self._count("predicted segment without an id, or of no class, counted as void")
            elif not overlaps.predicted.get(key):
                self._count("predicted segment without a pixel")
            elif key in found:
                self._count("predicted segment whose id occurred before")
            else:
                score = info.get("score", 1.0)
                is_score = isinstance(score, (int, float)) and np.isfinite(score)
                found[key] = Segment(image=image, segment=key, category=code, score=float(score) if is_score else 0.0)
        return list(found.values())

    def _key_and_code(self, info: Any) -> tuple[int, int]:
        """The id of a segment and its class code, -1 for none."""
        key = info.get("id") if isinstance(info, dict) else None
        if not isinstance(key, int) or isinstance(key, bool) or key <= 0:
            return 0, -1
        if isinstance(info.get("label"), str):
            return key, int(self.names.codes([info["label"]])[0])
        category = info.get("category_id")
        return key, self.codes.get(category, -1) if isinstance(category, int) else -1

    def _count(self, reason: str, where: str | None = None) -> None:
        self.predictions.skipped[reason] += 1
        if where is not None:
            self.predictions.first.setdefault(reason, where)
