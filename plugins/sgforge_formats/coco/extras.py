"""What a COCO file says beside the graph, kept as attributes of the image's graph: one place for both ways.

`caption`, `caption 2`, ... are the captions of the image. Names that begin with `coco.` are written back into COCO's
own fields by the exporter: `coco.category.ID` (the category of that id, if a region has it: name, supercategory,
keypoints and skeleton, as JSON), `coco.category_id.INDEX` (of a region whose category shares its name with another),
`coco.keypoints.INDEX` (x, y, visibility of each point of a region, as JSON), `coco.id` (`text`: the id is a text that
reads as a number), `coco.file_name` (where the source was given no folder of images). INDEX is the region's place in
the graph. Polygons, where a source is asked to keep them, have a column of their own: `sgforge_formats.columns`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from sgforge_formats.coco.categories import CategoryId, category_id_of, category_of
from sgforge_formats.coco.images import ImageEntry
from sgforge_formats.coco.instances import FoundRegion
from sgforge_formats.reading.checks import is_plain

__all__ = ["Extras", "category_records", "graph_attributes"]

_CATEGORY: Final = "coco.category."
_CATEGORY_ID: Final = "coco.category_id."
_KEYPOINTS: Final = "coco.keypoints."
_ID: Final = "coco.id"
_FILE_NAME: Final = "coco.file_name"
_TEXT: Final = "text"


def graph_attributes(
    entry: ImageEntry, found: Sequence[FoundRegion], captions: Sequence[str], *, names_file: bool
) -> dict[str, str]:
    """The attributes of the graph of an image whose regions are `found`, in their order.

    `names_file`: the name of its file is kept, as no uri has it.
    """
    attributes = dict(entry.attributes)
    for number, caption in enumerate(captions, 1):
        attributes["caption" if number == 1 else f"caption {number}"] = caption
    if entry.is_text:
        attributes[_ID] = _TEXT
    if names_file and entry.file_names[0] != entry.image_id and is_plain(entry.file_names[0]):
        attributes[_FILE_NAME] = entry.file_names[0]
    for index, one in enumerate(found):
        category = one.annotation.category
        if category is not None:
            attributes[f"{_CATEGORY}{category.number}"] = category.record
            if category.is_shared:
                attributes[f"{_CATEGORY_ID}{index}"] = json.dumps(category.number)
        if one.annotation.keypoints is not None:
            attributes[f"{_KEYPOINTS}{index}"] = one.annotation.keypoints
    return attributes


@attrs.frozen
class Extras:
    """The attributes of a graph, sorted for an export.

    `plain`: those that have no field in COCO. `category_ids`, `keypoints`: by index of the region.
    `is_text`: the image's id is a text. `file_name`: of an image whose file was not looked for.
    """

    plain: Mapping[str, str]
    category_ids: Mapping[int, CategoryId]
    keypoints: Mapping[int, Sequence[float]]
    is_text: bool
    file_name: str | None

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Extras:
        """The attributes of one graph; one that is not of our making stays a plain one."""
        plain: dict[str, str] = {}
        numbers: dict[int, Any] = {}
        keypoints: dict[int, Any] = {}
        for name, text in attributes.items():
            index = name.rpartition(".")[2]
            if name.startswith(_CATEGORY_ID) and index.isdecimal() and category_id_of(_parsed(text)) is not None:
                numbers[int(index)] = _parsed(text)
            elif name.startswith(_KEYPOINTS) and index.isdecimal() and isinstance(_parsed(text), list):
                keypoints[int(index)] = _parsed(text)
            elif name not in (_ID, _FILE_NAME) and not (
                name.startswith(_CATEGORY) and _category_record(text) is not None
            ):
                plain[name] = text
        return cls(
            plain=plain,
            category_ids=numbers,
            keypoints=keypoints,
            is_text=attributes.get(_ID) == _TEXT,
            file_name=attributes.get(_FILE_NAME),
        )


def category_records(attributes: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """The rows of COCO's categories that the attributes of a graph hold."""
    for name, text in attributes.items():
        record = _category_record(text) if name.startswith(_CATEGORY) else None
        if record is not None:
            yield record


@functools.lru_cache(maxsize=4096)
def _category_record(text: str) -> Mapping[str, Any] | None:
    """The row that an attribute holds; None if it holds none. Few texts stand for all images of a file."""
    value = _parsed(text)
    return None if category_of(value) is None else value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
