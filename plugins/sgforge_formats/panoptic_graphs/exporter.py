"""The exporter `psg`: a folder of psg.json and the id PNGs it names.

An image's file name, and that of its PNG, are those it was read with, else made of its uri and id. Where masks overlap,
a pixel belongs to the later region, as a PNG holds one id a pixel; such pixels are counted, and so are segments that
nothing is left of, which are left out. Left out and counted too: regions without a label, descriptions, scores, depth,
rejected rows, attributes other than `crowd`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from sgforge import masks
from sgforge.graph import Sample
from sgforge_formats.origin import Origin
from sgforge_formats.panoptic_graphs.classes import Classes, read_classes
from sgforge_formats.panoptic_graphs.options import PsgExportOptions
from sgforge_formats.panoptic_graphs.source import CROWD, STUFF
from sgforge_formats.reading.segment_png import segment_colours
from sgforge_formats.writing.exports import (
    JsonList,
    dumped,
    exported,
    file_name,
    image_folders,
    whole_folder,
    without_collection,
)
from sgforge_formats.writing.holding import Held, held, plain_xyxy

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["PsgExporter"]

_HOLDS: Final = ("mask", "attributes")
_MOST_IDS: Final = 2**24


class PsgExporter:
    """Writes psg.json and its PNGs into a folder, which appears when it is whole."""

    def __init__(self, options: PsgExportOptions) -> None:
        self._options = options

    def export(self, snapshot: Snapshot, output: Path) -> Mapping[str, int]:
        """Writes the folder `output`; returns what was written and left out, by name."""
        counts: Counter[str] = Counter()
        given = self._options.classes
        classes = _classes_of(snapshot) if given is None else read_classes(Path(given))
        folders, tested = image_folders(snapshot), []
        with without_collection(), whole_folder(output) as folder, (folder / "psg.json").open("wb") as stream:
            lists = {"thing": classes.things, "stuff": classes.stuff, "predicate": classes.predicates}
            head = {f"{what}_classes": list(names) for what, names in lists.items()}
            stream.write(dumped(head)[:-1] + b',"data":')
            data = JsonList(stream)
            for samples in exported(snapshot, counts):
                for sample in samples:
                    data.add(_entry(sample, classes, folders, folder, counts))
                    if sample.split == "test":
                        tested.append(sample.image_id)
            data.end()
            stream.write(b',"test_image_ids":' + dumped(tested) + b"}\n")
        return counts


def _classes_of(snapshot: Snapshot) -> Classes:
    """Labels and predicates that occur, sorted; stuff is what was read as stuff."""
    labels: set[str] = set()
    stuff: set[str] = set()
    predicates: set[str] = set()
    for samples in exported(snapshot, Counter()):
        for sample in samples:
            rows, origin = held(sample, Counter(), _HOLDS), Origin.of(sample)
            labels.update(region.label or "" for region in rows.regions.values())
            predicates.update(relation.predicate for relation in rows.relations.values())
            stuff.update(
                region.label or ""
                for index, region in rows.regions.items()
                if origin.regions.get(index, {}).get(STUFF) == 0
            )
    return Classes(tuple(sorted(labels - stuff)), tuple(sorted(stuff)), tuple(sorted(predicates)))


def _entry(
    sample: Sample, classes: Classes, folders: Mapping[str, str], folder: Path, counts: Counter[str]
) -> dict[str, Any]:
    names = {name: number for number, name in reversed(list(enumerate((*classes.things, *classes.stuff))))}
    numbers = {name: number for number, name in enumerate(classes.predicates)}
    rows, origin = held(sample, counts, _HOLDS, labels=names, predicates=numbers), Origin.of(sample)
    extra = sum(1 for region in rows.regions.values() for text in region.attributes if text != CROWD)
    if extra:
        counts["attributes left out"] += extra
    ids = _segment_numbers(rows, origin)
    pixels = _png(sample, rows, ids, origin, folder, counts)
    boxes = plain_xyxy([rows.boxes[index] for index in rows.regions])
    annotations, segments = [], []
    for (index, region), box in zip(rows.regions.items(), boxes, strict=True):
        category = names[region.label or ""]
        crowd = int(CROWD in region.attributes)
        annotations.append({"bbox": box, "category_id": category, "iscrowd": crowd, "bbox_mode": 0})
        segment = {"id": ids[index], "category_id": category, "iscrowd": crowd}
        thing = int(category < len(classes.things))
        segments.append({**segment, "isthing": thing, "area": pixels.get(ids[index], 0)})
    uri_name = None if sample.uri is None else file_name(sample, folders)
    entry = {
        "file_name": origin.image.get("file_name") or uri_name or sample.image_id,
        "height": sample.graph.height,
        "width": sample.graph.width,
        "image_id": sample.image_id,
        "pan_seg_file_name": _png_name(sample, origin) if pixels else None,
        "coco_image_id": origin.image.get("coco_image_id"),
    }
    relations = [
        [rows.numbers[relation.subject], rows.numbers[relation.object], numbers[relation.predicate]]
        for relation in rows.relations.values()
    ]
    lists = {"segments_info": segments, "annotations": annotations, "relations": relations}
    return {name: value for name, value in entry.items() if value is not None} | lists


def _segment_numbers(rows: Held, origin: Origin) -> dict[int, int]:
    """The id of each region in the PNG: as it was read, where that is a colour of its own, else a free one."""
    found: dict[int, int] = {}
    used: set[int] = set()
    for index in rows.regions:
        given = origin.region_id(index)
        if isinstance(given, int) and 0 < given < _MOST_IDS and given not in used:
            found[index] = given
            used.add(given)
    free = 1
    for index in rows.regions:
        if index not in found:
            while free in used:
                free += 1
            found[index] = free
            used.add(free)
    return found


def _png_name(sample: Sample, origin: Origin) -> str:
    given = origin.image.get("pan_seg_file_name")
    path = PurePosixPath(given) if isinstance(given, str) and given else None
    if path is not None and not path.is_absolute() and ".." not in path.parts:
        return str(path)
    return "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in sample.image_id) + ".png"


def _png(
    sample: Sample, rows: Held, ids: Mapping[int, int], origin: Origin, folder: Path, counts: Counter[str]
) -> Mapping[int, int]:
    """Write the PNG of the masks; how many pixels each segment has in it."""
    masked = [(index, region.mask) for index, region in rows.regions.items() if region.mask is not None]
    if not masked:
        return {}
    canvas = np.zeros((sample.graph.height, sample.graph.width), np.int32)
    for index, mask in masked:
        pixels: npt.NDArray[np.bool_] = masks.to_array(mask)
        counts["pixels of overlapping masks, given to the later region"] += int((canvas[pixels] != 0).sum())
        canvas[pixels] = ids[index]
    counts["regions without a mask, with a box alone"] += len(rows.regions) - len(masked)
    data = io.BytesIO()
    Image.fromarray(segment_colours(canvas)).save(data, "PNG")
    path = folder / "panoptic" / _png_name(sample, origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.getvalue())
    found, sizes = np.unique(canvas, return_counts=True)
    return dict(zip(found.tolist(), sizes.tolist(), strict=True))
