"""The rows of `images` of a COCO file: ids, sizes, and where their files may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened, with_article
from sgforge_formats.reading.checks import is_plain
from sgforge_formats.reading.numbers import read_whole, to_whole

__all__ = ["ImageEntry", "ImageRows", "image_id_of"]

MAX_SIDE: Final = 2**20


@attrs.frozen
class ImageEntry:
    """One row of `images`; `file_names`: where its file may be in the images folder, the likeliest first.

    `key` is the id that annotations name it by, `image_id` the one it has here. `width` and `height` are 0 where the
    file does not give them. `split` and `attributes` are those of an export by sgforge; `is_text`: the id is
    a text though it reads as a number.
    """

    where: str
    key: str
    image_id: str
    width: int
    height: int
    file_names: tuple[str, ...]
    split: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    is_text: bool = False

    @property
    def missing_side(self) -> str:
        """What is said of an image whose size cannot be told."""
        side = "height" if self.width else "width"
        return f"has no {side}: give it in pixels, or name the folder of its picture with the option images"


def image_id_of(value: Any) -> str | None:
    """An image id as the text that sgforge uses; None if it is neither a whole number nor a plain text."""
    number = to_whole(value)
    if number is not None:
        return str(number)
    return value if isinstance(value, str) and value and is_plain(value) else None


class ImageRows:
    """The rows of `images` as they come; an id of several pictures names none, as annotations may be of any of them.

    `may_measure`: an image without a size is usable, as its picture has one.
    """

    def __init__(self, name: str, *, may_measure: bool) -> None:
        self._name = name
        self._may_measure = may_measure
        self._found: dict[str, ImageEntry] = {}
        self._disputed: set[str] = set()
        self.count = 0
        self.failures: list[SourceFailure] = []

    def add(self, row: Any, position: int) -> None:
        """The row at `position` of the list."""
        self.count += 1
        item = _image(row, f"{self._name}: images[{position}]")
        if isinstance(item, ImageEntry) and not (item.width and item.height) and not self._may_measure:
            detail = f"image {item.key} {item.missing_side}"
            item = SourceFailure(item.where, "bad-image", detail, item.key)
        if isinstance(item, SourceFailure):
            self.failures.append(item)
            return
        first = self._found.setdefault(item.key, item)
        if first is item:
            return
        key = item.key
        self.failures.append(SourceFailure(item.where, "duplicate-image", f"image id {key} was given before", key))
        if attrs.evolve(item, where=first.where, is_text=first.is_text) != first and key not in self._disputed:
            self._disputed.add(key)
            detail = f"image id {key} has several pictures, its annotations may be of any of them"
            self.failures.append(SourceFailure(first.where, "duplicate-image", detail, key))

    def usable(self) -> list[ImageEntry]:
        """The images that can be used, in the order of the file."""
        return [entry for entry in self._found.values() if entry.key not in self._disputed]


def _image(row: Any, where: str) -> ImageEntry | SourceFailure:
    if not isinstance(row, dict):
        return SourceFailure(where, "bad-image", f"an image must be an object, not {with_article(type(row).__name__)}")
    given = row.get("id")
    image_id = image_id_of(given)
    if image_id is None:
        detail = f"image id {shortened(given)} must be a whole number, or a text without control characters"
        return SourceFailure(where, "bad-image", detail)
    sides = [_side(row.get(side)) for side in ("width", "height")]
    if None in sides:
        side = ("width", "height")[sides.index(None)]
        detail = (
            f"image {image_id}: {side} {shortened(row[side])} must be a whole number of pixels, at most {MAX_SIDE:,}"
        )
        return SourceFailure(where, "bad-image", detail, image_id)
    names = tuple(_file_names(row))
    if not names:
        return SourceFailure(where, "bad-image", f"image {image_id} needs file_name (or coco_url)", image_id)
    width, height = (side or 0 for side in sides)
    own_id = _own_text(row.get("sgforge_id")) or given
    return ImageEntry(
        where=where,
        key=image_id,
        image_id=image_id_of(own_id) or image_id,
        width=width,
        height=height,
        file_names=names,
        split=_own_text(row.get("sgforge_split")),
        attributes=_own_attributes(row.get("sgforge_attributes")),
        is_text=isinstance(own_id, str) and _reads_as_number(own_id),
    )


def _side(value: Any) -> int | None:
    """Pixels; 0 where none are given, None for what is no number of pixels."""
    if value is None:
        return 0
    number = read_whole(value)
    return number if number is not None and 0 <= number <= MAX_SIDE else None


def _file_names(row: Mapping[str, Any]) -> Iterator[str]:
    r"""file_name as it stands, and with / for \; then, as LVIS has it, the last parts of coco_url."""
    name, url = row.get("file_name"), row.get("coco_url")
    if isinstance(name, str) and name:
        yield name
        if "\\" in name:
            yield name.replace("\\", "/")
    if isinstance(url, str):
        try:
            parts = PurePosixPath(unquote(urlsplit(url).path)).parts
        except ValueError:
            parts = ()
        yield from ("/".join(parts[-length:]) for length in (1, 2) if len(parts) > length)


def _own_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value and is_plain(value) else None


def _own_attributes(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        return ()
    return tuple((name, text) for name, text in value.items() if isinstance(text, str))


def _reads_as_number(text: str) -> bool:
    """Whether a text is the usual one of a whole number, which it would be written as."""
    try:
        return str(int(text)) == text
    except ValueError:
        return False
