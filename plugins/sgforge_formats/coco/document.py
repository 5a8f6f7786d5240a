"""A COCO file, parsed once and sorted by image; what cannot be used is listed, fault by fault."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import attrs
import orjson

from sgforge.errors import ConfigError
from sgforge.stages import SourceFailure
from sgforge.wording import with_article
from sgforge_formats.checks import Fault, is_plain

__all__ = ["MAX_REGIONS", "Document", "ImageEntry", "Item", "read_document", "read_json"]

Raw: TypeAlias = Mapping[str, Any]
Kind = Literal["instances", "panoptic"]

MAX_REGIONS: Final = 65_535
"""An image with more annotations is refused: pairs of regions grow with the square of their number."""
_MAX_SIDE: Final = 2**20
_GZIP: Final = b"\x1f\x8b"


@attrs.frozen
class ImageEntry:
    """One row of `images`; `file_names`: where its file may be in the images folder, the likeliest first."""

    where: str
    image_id: str
    width: int
    height: int
    file_names: tuple[str, ...]


@attrs.frozen
class Item:
    """One row of `annotations` as it stands in the file, and its place there."""

    where: str
    raw: Raw


@attrs.frozen
class Document:
    """A COCO file: `categories` by id, `items` by image id in file order, `failures` found while sorting."""

    kind: Kind
    categories: Mapping[int, str]
    images: Sequence[ImageEntry]
    items: Mapping[str, Sequence[Item]]
    failures: Sequence[SourceFailure]


def read_json(path: Path) -> Any:
    """The content of a JSON file, NaN and infinities (which JSON does not know, but Python writes) included.

    A file that cannot be read or parsed is a `ConfigError` that says where it broke.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path.name}: {error.strerror or error}: check the option that names it") from error
    if data.startswith(_GZIP):
        raise ConfigError(f"{path.name} is compressed by gzip: unpack it first")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name} is not JSON, or was cut off: {error}") from error


def read_document(path: Path) -> Document:
    """The COCO file at `path`; a file of another format is a `ConfigError`."""
    content = read_json(path)
    rows = _top_level(content, path.name)
    failures: list[SourceFailure] = []
    images = _images(rows[0], path.name, failures)
    known = {entry.image_id for entry in images}
    items: dict[str, list[Item]] = {}
    sample = next((raw for raw in rows[1] if isinstance(raw, dict)), {})
    kind: Kind = "panoptic" if "segments_info" in sample else "instances"
    seen: set[Any] = set()
    for position, raw in enumerate(rows[1]):
        where = f"{path.name}: annotations[{position}]"
        fault, image_id = _annotation_fault(raw, known, seen)
        if fault is not None:
            failures.append(fault.of(where, image_id))
        elif image_id is not None:
            items.setdefault(image_id, []).append(Item(where, raw))
    return Document(kind, _categories(rows[2], path.name), images, items, failures)


def _top_level(content: Any, name: str) -> tuple[list[Any], list[Any], list[Any]]:
    keys = ("images", "annotations", "categories")
    if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys):
        return content["images"], content["annotations"], content["categories"]
    found = (
        f"an object with {', '.join(map(repr, list(content)[:6])) or 'nothing'}"
        if isinstance(content, dict)
        else with_article(type(content).__name__)
    )
    raise ConfigError(
        f"{name} is no COCO file: it must be an object with the lists images, annotations and categories; it is {found}"
    )


def _categories(rows: Sequence[Any], name: str) -> dict[int, str]:
    categories: dict[int, str] = {}
    for position, row in enumerate(rows):
        number, label = (row.get("id"), row.get("name")) if isinstance(row, dict) else (None, None)
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(label, str) or not label:
            raise ConfigError(f"{name}: categories[{position}] needs a whole number id and a name")
        if categories.setdefault(number, label) != label:
            raise ConfigError(f"{name}: categories[{position}]: id {number} is {categories[number]!r} already")
    return categories


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def image_id_of(value: Any) -> str | None:
    """An image id as the text that sgforge uses; None if it is neither a whole number nor a plain text."""
    if _is_whole(value):
        return str(value)
    return value if isinstance(value, str) and value and is_plain(value) else None


def _images(rows: Sequence[Any], name: str, failures: list[SourceFailure]) -> list[ImageEntry]:
    """The rows that can be used; an id of several pictures names none, as its annotations may be of any of them."""
    found: dict[str, ImageEntry] = {}
    disputed: dict[str, SourceFailure] = {}
    for position, row in enumerate(rows):
        item = _image(row, f"{name}: images[{position}]")
        if isinstance(item, ImageEntry):
            first = found.setdefault(item.image_id, item)
            if first is item:
                continue
            if attrs.evolve(item, where=first.where) != first:
                detail = f"image id {item.image_id} has several pictures, its annotations may be of any of them"
                disputed[item.image_id] = SourceFailure(first.where, "duplicate-image", detail, item.image_id)
            detail = f"image id {item.image_id} was given before"
            item = SourceFailure(item.where, "duplicate-image", detail, item.image_id)
        failures.append(item)
    failures.extend(disputed.values())
    return [entry for entry in found.values() if entry.image_id not in disputed]


def _image(row: Any, where: str) -> ImageEntry | SourceFailure:
    if not isinstance(row, dict):
        return SourceFailure(where, "bad-image", f"an image must be an object, not {type(row).__name__}")
    image_id = image_id_of(row.get("id"))
    if image_id is None:
        detail = f"image id {row.get('id')!r} must be a whole number, or a text without control characters"
        return SourceFailure(where, "bad-image", detail)
    for side in ("width", "height"):
        if not _is_side(row.get(side)):
            detail = (
                f"image {image_id}: {side} {row.get(side)!r} must be a whole number of pixels, at most {_MAX_SIDE:,}"
            )
            return SourceFailure(where, "bad-image", detail, image_id)
    names = tuple(_file_names(row))
    if not names:
        return SourceFailure(where, "bad-image", f"image {image_id} needs file_name (or coco_url)", image_id)
    return ImageEntry(where, image_id, row["width"], row["height"], names)


def _is_side(value: Any) -> bool:
    return _is_whole(value) and 0 < value <= _MAX_SIDE


def _file_names(row: Raw) -> Iterator[str]:
    """file_name as it stands; then, as LVIS has it, the last part of coco_url, alone and in its folder."""
    name, url = row.get("file_name"), row.get("coco_url")
    if isinstance(name, str) and name:
        yield name
    if isinstance(url, str):
        try:
            parts = PurePosixPath(unquote(urlsplit(url).path)).parts
        except ValueError:
            parts = ()
        yield from ("/".join(parts[-length:]) for length in (1, 2) if len(parts) > length)


def _annotation_fault(raw: Any, known: set[str], seen: set[Any]) -> tuple[Fault | None, str | None]:
    """(why an annotation cannot be used or None, the id of its image); remembers its own id in `seen`."""
    if not isinstance(raw, dict):
        return Fault("bad-annotation", "an annotation must be an object"), None
    image_id = image_id_of(raw.get("image_id"))
    if image_id is None or image_id not in known:
        return Fault("unknown-image", f"no image that can be used has the id {raw.get('image_id')!r}"), None
    number = raw.get("id")
    if number is not None:
        if not isinstance(number, (int, str)):
            return Fault("bad-annotation", f"annotation id {number!r} must be a whole number"), image_id
        if number in seen:
            return Fault("duplicate-annotation", f"annotation id {number} was given before"), image_id
        seen.add(number)
    return None, image_id
