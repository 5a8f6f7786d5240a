"""Visual Genome's image_data.json: sizes and addresses of its images, small enough to be held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from sgforge.stages import SourceFailure
from sgforge_formats.coco.images import MAX_SIDE, image_id_of
from sgforge_formats.origin import RowId
from sgforge_formats.reading.json_rows import json_rows, opened
from sgforge_formats.reading.numbers import read_whole

__all__ = ["ImageData", "ImageFacts", "read_image_data"]


@attrs.frozen
class ImageFacts:
    """What is said of one image; 0 and None where nothing is."""

    width: int = 0
    height: int = 0
    url: str | None = None
    coco_id: RowId | None = None
    flickr_id: RowId | None = None

    def more(self) -> dict[str, Any]:
        """What has no place in a graph."""
        return {name: value for name in ("url", "coco_id", "flickr_id") if (value := getattr(self, name)) is not None}


@attrs.frozen
class ImageData:
    """The images by id, and the rows that could not be used."""

    images: Mapping[str, ImageFacts]
    failures: Sequence[SourceFailure]


def read_image_data(path: Path) -> ImageData:
    """The whole file; a row without id or with a size that is none is a failure (bad-image-data)."""
    images: dict[str, ImageFacts] = {}
    failures: list[SourceFailure] = []
    with opened(path) as stream:
        for row in json_rows(stream, path.name, "Visual Genome's image data"):
            if isinstance(row, SourceFailure):
                failures.append(attrs.evolve(row, loses="annotation"))
                continue
            value = row.value if isinstance(row.value, dict) else {}
            image_id = image_id_of(value.get("image_id", value.get("id")))
            sides = [_side(value.get(name)) for name in ("width", "height")]
            if image_id is None or None in sides:
                detail = "it needs image_id, and width and height in pixels"
                where = f"{path.name}: {row.where}"
                failures.append(SourceFailure(where, "bad-image-data", detail, image_id, loses="annotation"))
                continue
            url = value.get("url")
            images[image_id] = ImageFacts(
                width=sides[0] or 0,
                height=sides[1] or 0,
                url=url if isinstance(url, str) else None,
                coco_id=_id(value.get("coco_id")),
                flickr_id=_id(value.get("flickr_id")),
            )
    return ImageData(images, failures)


def _id(value: Any) -> RowId | None:
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _side(value: Any) -> int | None:
    number = read_whole(value)
    return number if number is not None and 0 < number <= MAX_SIDE else None
