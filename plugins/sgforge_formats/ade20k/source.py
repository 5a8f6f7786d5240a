"""The source `ade20k`: ADE20K in full (Zhou et al. 2019; release 2021_17_01) into samples.

Masks are those of the polygons, which lie behind what hides them; the PNGs beside are not needed. Names are lists of
synonyms, the first is the label. An object's parts, and parts of parts, have `ispartof`, a list or one number, and
`hasparts`, the same the other way round: either makes the parent, and the relation `part of`. `scene` becomes an
attribute of the graph; occluded and cropped become attributes. Failures of rows: those of `GraphBuilder`, bad-object,
bad-mask, bad-parent (a circle), unknown-object; of an image: bad-image.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sgforge import masks
from sgforge.digests import is_settled
from sgforge.errors import ConfigError, GraphError
from sgforge.graph import Mask, Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge.text.wording import shortened
from sgforge_formats.ade20k.options import Ade20kOptions
from sgforge_formats.coco.images import MAX_SIDE
from sgforge_formats.reading.checks import is_plain, join_uri, locate_folder
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.reading.numbers import read_number, read_whole
from sgforge_formats.reading.pictures import Turner
from sgforge_formats.reading.tally import Tally

__all__ = ["Ade20kSource"]

_SPLITS: Final = {"training": "train", "validation": "val", "test": "test"}
_LARGEST: Final = 1 << 26
_PART_OF: Final = "part of"


class Ade20kSource:
    """Reads ADE20K, one image a JSON file, in the order of their paths."""

    def __init__(self, options: Ade20kOptions) -> None:
        self._options = options
        self._tally = Tally()
        self._turner: Turner | None = None

    def remarks(self) -> Sequence[str]:
        """What the last reading came across and kept."""
        return (*self._tally.remarks(), *(() if self._turner is None else self._turner.remarks()))

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the folder is there."""
        locate_folder(roots, self._options.folder, name, "folder")

    def stamp(self, roots: Roots, name: str) -> Stamp | None:
        """The JSON files decide, by their names, sizes and times; None while they are being written."""
        folder = roots.resolve(locate_folder(roots, self._options.folder, name, "folder"))
        total = hashlib.sha256()
        for path in _files(folder):
            status = (folder / path).stat()
            if not is_settled(status.st_mtime_ns):  # it may be changed again and have the same size and time
                return None
            total.update(f"{path}\0{status.st_size} {status.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return Stamp(facts=total.hexdigest())

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image; a folder without any is a `ConfigError`."""
        self._tally, self._turner = Tally(), Turner(roots, self._options.orientation)
        uri = locate_folder(roots, self._options.folder, name, "folder")
        folder = roots.resolve(uri)
        files = _files(folder)
        if not files:
            raise ConfigError(f"source {name!r}: {self._options.folder} holds no JSON file of ADE20K")
        for path in files:
            yield from self._image(folder, path, uri)

    def _image(self, folder: Path, path: str, uri: str) -> Iterator[Sample | SourceFailure]:
        value = _annotation(folder / path)
        image_id = path.removesuffix(".json")
        if isinstance(value, str) or not is_plain(image_id):
            yield SourceFailure(ascii(path)[1:-1], "bad-image", value if isinstance(value, str) else "its name", None)
            return
        height, width = _size(value.get("imsize"))
        builder = GraphBuilder(where=path, image_id=image_id, width=width, height=height, tally=self._tally)
        self._objects(builder, value.get("object"))
        given = value.get("filename")
        name = given if isinstance(given, str) and "/" not in given and given else f"{Path(path).stem}.jpg"
        picture = join_uri(uri, (path.rpartition("/")[0] + "/" + name).lstrip("/"))
        scene = value.get("scene")
        words = [
            one for one in (scene if isinstance(scene, list) else [scene]) if isinstance(one, str) and one.strip("/")
        ]
        assert self._turner is not None
        sample = builder.sample(
            self._turner.place(picture),
            self._options.split or next((split for part in path.split("/") if (split := _SPLITS.get(part))), None),
            attributes={"scene": "/".join(word.strip("/") for word in words)} if words else {},
        )
        yield from builder.faults
        yield sample

    def _objects(self, builder: GraphBuilder, objects: Any) -> None:
        rows = [objects] if isinstance(objects, dict) else objects  # one alone stands without its list
        if rows is not None and not isinstance(rows, list):
            builder.fault("bad-object", f"object must be a list, not {shortened(rows)}", "object")
            return
        known: list[tuple[int, Mapping[str, Any], str]] = []
        for position, row in enumerate(rows or ()):
            item = f"object[{position}]"
            if not isinstance(row, dict):
                builder.fault("bad-object", f"an object must be a JSON object, not {shortened(row)}", item)
                continue
            known.append((_add(builder, row, item), row, item))
        for index, row, item in known:
            self._parts(builder, index, row, item)

    def _parts(self, builder: GraphBuilder, index: int, row: Mapping[str, Any], item: str) -> None:
        parts = row.get("parts")
        parts = parts if isinstance(parts, dict) else {}
        for key in ("ispartof", "hasparts"):
            for number in _listed(parts.get(key)):
                other = builder.index_of(read_whole(number))
                if other is None:
                    builder.fault("unknown-object", f"{key} {shortened(number)} is no object of the image", item)
                    continue
                child, parent = (index, other) if key == "ispartof" else (other, index)
                if builder.parents.get(child) == parent:
                    continue  # said from both sides
                if child in builder.parents:
                    builder.fault("bad-parent", "it is a part of another object already", item)
                    continue
                builder.parent(child, parent, item)
                if self._options.part_relations and builder.parents.get(child) == parent:
                    builder.relate(child, _PART_OF, parent, item)


def _files(folder: Path) -> list[str]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(".")]
        prefix = "" if place == str(folder) else f"{os.path.relpath(place, folder)}/".replace(os.sep, "/")
        found += [prefix + name for name in names if name.endswith(".json") and not name.startswith(".")]
    return sorted(found)


def _annotation(path: Path) -> Mapping[str, Any] | str:
    """What a file says of its image, or why it says nothing; some files are in Latin-1."""
    try:
        if path.stat().st_size > _LARGEST:
            return f"it has more than {_LARGEST >> 20} MB: refused"
        data = path.read_bytes()
        try:
            value = json.loads(data)
        except UnicodeDecodeError:
            value = json.loads(data.decode("latin-1"))
    except (OSError, ValueError, RecursionError) as error:
        return f"it is not JSON that can be read: {error}"
    found = value.get("annotation") if isinstance(value, dict) else None
    return found if isinstance(found, dict) else "it has no annotation: it is no file of ADE20K"


def _size(value: Any) -> tuple[int, int]:
    """(height, width); 0 where the file does not say them, as the picture does."""
    sides = [read_whole(side) for side in value[:2]] if isinstance(value, list) else []
    if len(sides) != 2 or not all(side is not None and 0 < side <= MAX_SIDE for side in sides):
        return 0, 0
    return sides[0] or 0, sides[1] or 0


def _listed(value: Any) -> list[Any]:
    """The members of a list, or of what stands for one of one."""
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def _add(builder: GraphBuilder, row: Mapping[str, Any], item: str) -> int:
    text = row.get("name") or row.get("raw_name")
    names = [name.strip() for name in text.split(",")] if isinstance(text, str) else [text]
    mask, box = _outline(builder, row.get("polygon"), item)
    kept = {
        name: row[name]
        for name in ("name_ndx", "depth_ordering_rank", "raw_name")
        if row.get(name) not in (None, "", [])
    }
    if len(names) > 1:
        kept["names"] = names
    index = builder.region(read_whole(row.get("id")), names[0], box, item, mask=mask, more=kept)
    builder.attributes(index, [one for one in _listed(row.get("attributes")) if one != ""], item)
    if row.get("occluded") == "yes":
        builder.attributes(index, "occluded", item)
    if str(row.get("crop")) == "1":
        builder.attributes(index, "cropped", item)
    return index


def _outline(builder: GraphBuilder, polygon: Any, item: str) -> tuple[Mask | None, Any]:
    """The mask of a polygon, and its box where it covers no pixel."""
    if not isinstance(polygon, dict):
        return None, None
    x, y = ([read_number(one) for one in _listed(polygon.get(axis))] for axis in "xy")
    if len(x) != len(y) or len(x) < 3 or None in x or None in y:
        builder.fault("bad-mask", "its polygon needs as many x as y, three or more", item)
        return None, None
    points = [number for pair in zip(x, y, strict=True) for number in pair]
    corners = (min(x), min(y), max(x), max(y))  # type: ignore[type-var]
    if not builder.width or not builder.height:
        return None, corners
    try:
        mask = masks.from_polygons([points], builder.height, builder.width)  # type: ignore[list-item]
    except GraphError as error:
        builder.fault("bad-mask", f"its polygon: {error}", item)
        return None, None
    return (mask, None) if mask.box is not None else (None, corners)
