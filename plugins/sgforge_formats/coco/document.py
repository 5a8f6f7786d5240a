"""A COCO file, looked through once: which rows belong to which image. The rows are read when their image's turn comes.

Nothing of an annotation stays in memory but its place in the file (24 bytes), so that a file of gigabytes needs no
gigabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt
import orjson

from sgforge.errors import ConfigError
from sgforge.stages import SourceFailure
from sgforge.text.wording import shortened
from sgforge.utf8 import open_utf8
from sgforge_formats.coco.categories import Category, CategoryId, category_of, read_categories
from sgforge_formats.coco.images import ImageEntry, ImageRows, image_id_of
from sgforge_formats.reading.checks import Fault
from sgforge_formats.reading.jsonlists import BadRow, JsonLists, NotJsonError, RowBlock, parse_row, read_bytes_at
from sgforge_formats.reading.numbers import EXACT

__all__ = ["MAX_REGIONS", "REJECTED", "RELATED", "RELATIONS", "Document", "Item", "open_document"]

Raw: TypeAlias = Mapping[str, Any]
Kind = Literal["instances", "panoptic"]

MAX_REGIONS: Final = 65_535
"""An image with more annotations is refused: pairs of regions grow with the square of their number."""

ANNOTATIONS: Final = "annotations"
REJECTED: Final = "sgforge_rejected_annotations"
RELATIONS: Final = "sgforge_relations"
RELATED: Final = "rel_annotations"
"""Relations as SGG-Annotate writes them, by ids of annotations and of predicates."""
_OF_IMAGES: Final = (ANNOTATIONS, REJECTED, RELATIONS, RELATED)
_NAMES: Final = ("rel_categories", "attributes")
"""Lists of {id, name}: predicates of SGG-Annotate, attributes of PACO."""
_READ: Final = (*_OF_IMAGES, "categories")
_MOST_KEYS_SHOWN: Final = 6
_MOST_AT_ONCE: Final = 1 << 24
"""Bytes of an image's rows that are parsed together; beyond, row by row."""


class Item(NamedTuple):
    """One row that belongs to an image, as it stands in the file: the list it is in, its place there."""

    key: str
    position: int
    raw: Raw

    @property
    def where(self) -> str:
        """Its place in words."""
        return f"{self.key}[{self.position}]"


@attrs.frozen(eq=False)
class _Places:
    """The rows of one list, sorted by image: those of image i are `begin[i]` to `begin[i + 1]`."""

    begin: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Document:
    """A COCO file: `images` in the file's order, `categories` by id (None: the file lists none).

    `failures` were found while looking through; they can be gone through once. Images are named by their numbers in
    `images`. `names`: those of predicates (rel_categories) and attributes by id, where the file lists them.
    """

    name: str
    kind: Kind
    categories: Mapping[CategoryId, Category] | None
    images: Sequence[ImageEntry]
    failures: Iterable[SourceFailure]
    names: Mapping[str, Mapping[CategoryId, str]]
    _stream: BinaryIO
    _places: Mapping[str, _Places]

    def count(self, number: int) -> int:
        """How many annotations image `number` has."""
        found = (places for key, places in self._places.items() if key not in (RELATIONS, RELATED))
        return sum(int(places.begin[number + 1] - places.begin[number]) for places in found)

    def items(self, number: int) -> list[Item]:
        """The rows of image `number`, list by list, in the order of the file."""
        found = []
        for key, places in self._places.items():
            rows = slice(places.begin[number], places.begin[number + 1])
            values = self._values(places.start[rows], places.stop[rows])
            for position, raw in zip(places.position[rows].tolist(), values, strict=True):
                # What was an object when it was looked through is something else only if the file was changed since.
                found.append(Item(key, position, raw if isinstance(raw, dict) else {}))
        return found

    def _values(self, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> Sequence[Any]:
        """The values of rows by their places: of rows that follow each other, as most files have them, at once."""
        if len(starts) > 1 and (starts[1:] == stops[:-1] + 1).all() and stops[-1] - starts[0] <= _MOST_AT_ONCE:
            try:
                values = orjson.loads(b"[%b]" % read_bytes_at(self._stream, int(starts[0]), int(stops[-1])))
            except orjson.JSONDecodeError:
                values = ()
            if len(values) == len(starts):
                return values  # type: ignore[no-any-return]
        places = zip(starts.tolist(), stops.tolist(), strict=True)
        return [parse_row(read_bytes_at(self._stream, start, stop)) for start, stop in places]


@contextmanager
def open_document(path: Path, results: Path | None = None, *, may_measure: bool = False) -> Iterator[Document]:
    """The COCO file at `path`; with `results`, that list of annotations instead of the file's own.

    `may_measure`: images without a size are kept, as their pictures are there. A file of another format is a
    `ConfigError`. The files are open within the block.
    """
    index = _Index(path.name, may_measure=may_measure)
    with _open(path) as stream:
        _look_through(stream, index, path.name, is_list=False)
        if results is None:
            yield index.document(stream)
            return
        index.forget_annotations(results.name)
        with _open(results) as rows:
            _look_through(rows, index, results.name, is_list=True)
            yield index.document(rows)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(open_utf8(path, on_disk=True))
        except OSError as error:
            raise ConfigError(f"{path.name}: {error.strerror or error}: check the option that names it") from error
        yield stream


def _look_through(stream: BinaryIO, index: _Index, name: str, *, is_list: bool) -> None:
    lists = JsonLists(stream)
    try:
        for block in lists:
            if is_list != (block.key is None):
                raise ConfigError(_other_kind(name, lists.keys, is_list=is_list))
            index.add(ANNOTATIONS if is_list else block.key or "", block)
    except NotJsonError as error:
        if not index.is_filled:
            raise ConfigError(f"{name} is no COCO file: it is not JSON, or was cut off: {error}") from None
        index.failures.append(SourceFailure(name, "cut-off", f"{name} is cut off, what stands before is read: {error}"))
    if not is_list and ("images" not in lists.keys or "images" in lists.other_kinds):
        raise ConfigError(_other_kind(name, lists.keys, is_list=False))
    for key in lists.other_kinds:
        if key in _READ:
            fault = Fault("bad-list", f"{key} must be a list; what it holds is not read")
            index.failures.append(fault.of(f"{name}: {key}"))


def _other_kind(name: str, keys: Sequence[str], *, is_list: bool) -> str:
    """What is said of a file of another format."""
    shown = f"an object with {', '.join(map(repr, keys[:_MOST_KEYS_SHOWN])) or 'nothing'}"
    if is_list:
        return f"{name} is no result list: it must be a list of annotations; it is {shown}"
    if "images" in keys:
        return f"{name} is no COCO file: images must be a list of objects, and is none"
    if keys:
        return f"{name} is no COCO file: it must be an object with the list images; it is {shown}"
    return (
        f"{name} is no COCO file: it is a list. If it is a result list, name it with the option results, and the file "
        "that has its images with the option annotations"
    )


class _Index:
    """What is found while a file is looked through."""

    def __init__(self, name: str, *, may_measure: bool) -> None:
        self._name = name
        self._images = ImageRows(name, may_measure=may_measure)
        self._categories: list[Any] | None = None
        self._names: dict[str, dict[CategoryId, str]] = {key: {} for key in _NAMES}
        self._numbers: dict[str, int] = {}
        self._by_whole: dict[int, int] = {}
        self._found: dict[str, list[npt.NDArray[np.int64]]] = {key: [] for key in _OF_IMAGES}
        self._unknown: dict[str, npt.NDArray[np.int64]] = {}
        self._first: Raw | None = None
        self.failures: list[SourceFailure] = []

    @property
    def is_filled(self) -> bool:
        """Whether anything was found that can be used."""
        return self._images.count > 0

    def forget_annotations(self, name: str) -> None:
        """Leave out the rows of the file so far; what follows stands in the file `name`."""
        self._name = name
        self._found = {key: [] for key in _OF_IMAGES}
        self._first = None

    def add(self, key: str, block: RowBlock) -> None:
        """Some rows of the list `key`; those of lists that mean nothing here are passed over."""
        if key == "images":
            for at, row in enumerate(block.values):
                self._images.add(_exact(row, "id", block, at), block.first + at)
        elif key == "categories":
            self._categories = (self._categories or []) + list(block.values)
        elif key in self._names:
            found = (category_of(row) for row in block.values)
            self._names[key].update((one.number, one.name) for one in found if one is not None)
        elif key in self._found:
            numbers = [self._number(raw, key, block, at) for at, raw in enumerate(block.values)]
            position = np.arange(block.first, block.first + len(numbers))
            table = np.stack([np.array(numbers, np.int64), position, block.starts, block.stops])
            self._found[key].append(table[:, table[0] >= 0])

    def _number(self, raw: Any, key: str, block: RowBlock, at: int) -> int:
        """The number that stands for the image of a row, -1 if it can be of none."""
        fault = None
        if isinstance(raw, dict):
            self._first = self._first or raw
            given = raw.get("image_id")
            number = self._by_whole.get(given) if type(given) is int else None  # True and 1.0 are equal to 1
            if number is not None:
                return number
            image_id = image_id_of(_exact(raw, "image_id", block, at).get("image_id"))
            if image_id is not None:
                number = self._numbers.setdefault(image_id, len(self._numbers))
                if type(given) is int:
                    self._by_whole[given] = number
                return number
            fault = _unknown_image(raw.get("image_id"))
        else:
            detail = raw.detail if isinstance(raw, BadRow) else "an annotation must be an object"
            fault = Fault("bad-annotation", detail)
        self.failures.append(fault.of(f"{self._name}: {key}[{block.first + at}]"))
        return -1

    def document(self, stream: BinaryIO) -> Document:
        """The document, all rows sorted by image."""
        images = self._images.usable()
        self.failures += self._images.failures
        if not images and self._images.count:
            raise ConfigError(_nothing_usable(self._name, self._images))
        categories = self._categories
        if categories is not None:
            categories = read_categories(categories, self._name, self.failures)
        places = {key: self._sorted(key, images) for key, found in self._found.items() if found}
        kind: Kind = "panoptic" if "segments_info" in (self._first or {}) else "instances"
        failures = chain(self.failures, self._of_no_image())
        return Document(
            name=self._name,
            kind=kind,
            categories=categories,
            images=images,
            failures=failures,
            names=self._names,
            stream=stream,
            places=places,
        )

    def _sorted(self, key: str, images: Sequence[ImageEntry]) -> _Places:
        rows = np.concatenate(self._found[key], axis=1)
        order = np.full(len(self._numbers), -1, np.int64)
        for place, entry in enumerate(images):
            number = self._numbers.get(entry.key)
            if number is not None:
                order[number] = place
        image = order[rows[0]]
        self._unknown[key] = rows[:2, image < 0]
        rows, image = rows[:, image >= 0], image[image >= 0]
        chosen = np.argsort(image, kind="stable")
        begin = np.searchsorted(image[chosen], np.arange(len(images) + 1))
        return _Places(begin, *rows[1:, chosen])

    def _of_no_image(self) -> Iterator[SourceFailure]:
        """The rows whose image is not in the file; made when they are told, as it may be all of millions."""
        ids = list(self._numbers)
        for key, rows in self._unknown.items():
            for number, position in zip(*rows.tolist(), strict=True):
                yield _unknown_image(ids[number]).of(f"{self._name}: {key}[{position}]")


def _exact(row: Any, field: str, block: RowBlock, at: int) -> Any:
    """The row; read once more where its id is a whole number too long for the fast reader."""
    is_rounded = isinstance(row, dict) and isinstance(row.get(field), float) and abs(row[field]) >= EXACT
    return block.exact(at) if is_rounded else row


def _unknown_image(image_id: Any) -> Fault:
    return Fault("unknown-image", f"no image that can be used has the id {shortened(image_id)}")


def _nothing_usable(name: str, images: ImageRows) -> str:
    """One sentence that sums up a file of which nothing can be used."""
    reasons = Counter(failure.reason for failure in images.failures)
    counted = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    first = images.failures[0]
    return (
        f"none of the {images.count} images of {name} can be used ({counted}); the first: {first.where}: {first.detail}"
    )
