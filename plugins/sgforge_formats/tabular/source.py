"""The sources `hf` and `r1-sgg`: rows of tables into samples.

A row's graph is in its column `graph` (a line of graph JSONL, as the exporter `hf` writes it), in `objects` and
`relationships` (R1-SGG: JSON, as text or not), or in `objects` with lists `bbox` (x, y, width, height) and `category`,
as detection data sets have it. `caption` or `text` becomes the caption. The picture is in `image`, as bytes, which are
written to the folder `images`, or as a name; an image's id is in `image_id` or `id`, else the name of its picture, else
its place. Failures of rows: those of `GraphBuilder`, bad-row, bad-graph; of an image: bad-image, duplicate-image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

import attrs

from sgforge.durable import whole_file
from sgforge.errors import ConfigError, GraphError
from sgforge.graph import Caption, Sample
from sgforge.images import Roots
from sgforge.jsonl import parse_line
from sgforge.stages import SourceFailure, Stamp
from sgforge.text.wording import shortened
from sgforge_formats.coco.images import MAX_SIDE, image_id_of
from sgforge_formats.conversations.graph_json import add_graph
from sgforge_formats.reading.annotated import AnnotatedSource, Reading
from sgforge_formats.reading.checks import is_plain
from sgforge_formats.reading.graph_builder import GraphBuilder
from sgforge_formats.reading.numbers import read_number, read_whole
from sgforge_formats.tabular.rows import TableFile, TableRow, table_files, table_rows

__all__ = ["HfSource"]

_READ: Final = frozenset(
    ("image", "image_id", "id", "file_name", "width", "height", "split", "graph", "objects", "relationships")
) | {"caption", "text"}
_SUFFIXES: Final = ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"RIFF", ".webp"), (b"GIF8", ".gif"), (b"BM", ".bmp"))
_LARGEST: Final = 1 << 28


class HfSource(AnnotatedSource):
    """Reads the rows of a table, one sample a row."""

    files: ClassVar[tuple[str, ...]] = ("data",)

    def _located(self, roots: Roots, name: str) -> dict[str, Path]:
        _, path = roots.locate(self.options.data, f"{name}-data")
        if not path.exists():
            raise ConfigError(f"source {name!r}: {self.options.data}: there is no such file: check the option data")
        table_files(path)
        return {"data": path}

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the table is there; the folder of pictures may be made while it is read."""
        self._located(roots, name)

    def stamp(self, roots: Roots, name: str) -> Stamp | None:
        """The files of the table decide."""
        path = self._located(roots, name)["data"]
        if self.options.images is not None:
            self._make_folder(roots, name)
        return Stamp(tuple(file.path for file in table_files(path)))

    def _make_folder(self, roots: Roots, name: str) -> None:
        images = self.options.images
        if images.partition(":")[0] not in roots:
            Path(images).expanduser().mkdir(parents=True, exist_ok=True)
        roots.locate(images, name)

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every row; pictures inside of the table are written to the folder `images` on the way."""
        self._folder: Path | None = None
        if self.options.images is not None:
            self._make_folder(roots, name)
            self._folder = roots.locate(self.options.images, name)[1]
        yield from super().samples(roots, name)

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every row of every file."""
        seen: set[str] = set()
        for file in table_files(reading.files["data"]):
            for row in table_rows(file):
                if isinstance(row, SourceFailure):
                    yield row
                else:
                    yield from _Row(row, file, reading, self._folder).read(seen)


@attrs.frozen
class _Row:
    """One row on its way to a sample; `folder`: where pictures are written."""

    row: TableRow
    file: TableFile
    reading: Reading
    folder: Path | None

    def read(self, seen: set[str]) -> Iterator[Sample | SourceFailure]:
        """The faults of the row, then its sample."""
        cells = self.row.cells
        for name in cells.keys() - _READ:
            self.reading.tally.add(f"cells that have no place in a graph, of column {ascii(name)[1:-1]}")
        image_id = self._id()
        if image_id is None or not is_plain(image_id):
            yield SourceFailure(self.row.where, "bad-image", f"its id {shortened(image_id)} must be a plain text")
            return
        if image_id in seen:
            yield SourceFailure(self.row.where, "duplicate-image", f"image {image_id} was given before", image_id)
            return
        seen.add(image_id)
        try:
            name = self._picture(image_id)
            made = self._whole_graph() or self._graph(image_id)
        except (GraphError, OSError) as error:
            yield SourceFailure(self.row.where, "bad-image", str(error), image_id)
            return
        sample, faults = made
        yield from faults
        if isinstance(sample, SourceFailure):
            yield sample
            return
        uri = None if name is None else self.reading.uri(name)
        split = self.reading.split or sample.split or _text(cells.get("split")) or self.file.split
        caption = _text(cells.get("caption")) or _text(cells.get("text"))
        values = {
            **sample.values,
            **({"caption": Caption(caption)} if caption and "caption" not in sample.values else {}),
        }
        yield attrs.evolve(sample, image_id=image_id, uri=uri, split=split, source=None, values=values)

    def _id(self) -> str | None:
        cells = self.row.cells
        for name in ("image_id", "id"):
            if cells.get(name) is not None:
                return image_id_of(cells[name])
        name = self._named()
        return self.file.prefix + name if name else f"{self.file.path.stem}-{self.row.number}"

    def _named(self) -> str | None:
        """What the row calls its picture."""
        cell = self.row.cells.get("image")
        path = cell.get("path") if isinstance(cell, dict) else cell
        return _text(self.row.cells.get("file_name")) or _text(path)

    def _picture(self, image_id: str) -> str | None:
        """The name of the picture in the folder; bytes are written there first."""
        cell, name = self.row.cells.get("image"), self._named()
        data = cell.get("bytes") if isinstance(cell, dict) else None
        if not isinstance(data, bytes):
            return None if name is None else self.file.prefix + name
        if self.folder is None:
            self.reading.tally.add("pictures inside of the table, left there, as no folder images is named")
            return None
        if len(data) > _LARGEST:
            raise GraphError(f"its picture has {len(data)} bytes: refused")
        return _written(self.folder, name, image_id, data)

    def _whole_graph(self) -> tuple[Sample | SourceFailure, list[SourceFailure]] | None:
        line = self.row.cells.get("graph")
        if not isinstance(line, str):
            return None
        return parse_line(line, f"{self.row.where}: graph"), []

    def _graph(self, image_id: str) -> tuple[Sample | SourceFailure, list[SourceFailure]]:
        cells = self.row.cells
        sides = [read_whole(cells.get(side) or 0) for side in ("width", "height")]
        if not all(side is not None and 0 <= side <= MAX_SIDE for side in sides):
            raise GraphError("width and height must be whole numbers of pixels")
        builder = GraphBuilder(
            where=self.row.where,
            image_id=image_id,
            width=sides[0] or 0,
            height=sides[1] or 0,
            tally=self.reading.tally,
        )
        objects, relationships = _parsed(builder, cells, "objects"), _parsed(builder, cells, "relationships")
        if isinstance(objects, dict):
            self._detected(builder, objects)
        else:
            add_graph(builder, objects, relationships, "")
        return builder.sample(), builder.faults

    def _detected(self, builder: GraphBuilder, objects: Mapping[str, Any]) -> None:
        """Objects as lists by column, as detection data sets have them."""
        boxes = objects.get("bbox") or []
        found = objects.get("category", objects.get("label", objects.get("categories")))
        names = self.row.classes.get("objects.category", self.row.classes.get("objects.label", ()))
        for position, box in enumerate(boxes):
            label = found[position] if isinstance(found, list) and position < len(found) else None
            if isinstance(label, int) and not isinstance(label, bool):
                label = names[label] if 0 <= label < len(names) else str(label)
            numbers = [read_number(one) for one in box] if isinstance(box, list) else []
            corners: Any = [box]
            if len(numbers) == len("xywh") and None not in numbers:
                x, y, width, height = numbers
                corners = (x, y, x + width, y + height)  # type: ignore[operator]
            builder.region(None, label, corners, f"objects.bbox[{position}]")


def _parsed(builder: GraphBuilder, cells: Mapping[str, Any], column: str) -> Any:
    value = cells.get(column)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        builder.fault("bad-graph", f"{column} is not JSON: {error}")
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value and is_plain(value) else None


def _written(folder: Path, name: str | None, image_id: str, data: bytes) -> str:
    """Write a picture into a folder, under its name if that stays there; a file of that name with other bytes stays."""
    parts = PurePosixPath(name.replace("\\", "/")).parts if name else ()
    if not parts or ".." in parts or parts[0] == "/":
        suffix = next((suffix for head, suffix in _SUFFIXES if data.startswith(head)), ".img")
        name = "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in image_id) + suffix
    else:
        name = "/".join(parts)
    path = folder / name
    if path.is_file() and path.read_bytes() != data:
        name = f"{hashlib.sha256(data).hexdigest()[:16]}-{path.name}"
        path = folder / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as stream:
            stream.write(data)
    return name
