"""What the exporters share: the images of a snapshot, the names of their files, files that are whole or not there."""

from __future__ import annotations

import gc
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import orjson

from sgforge.durable import clear_leftovers, held, output_file, sync_file, sync_folder, temporary_name
from sgforge.errors import DatasetError
from sgforge.graph import Sample
from sgforge.images import unturned_uri
from sgforge.jsonl import shown_json
from sgforge_formats.reading.checks import join_uri

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = [
    "JsonList",
    "dumped",
    "exported",
    "file_name",
    "image_folders",
    "whole_file",
    "whole_folder",
    "without_collection",
]

_READ_AT_ONCE: Final = 4096
_AT_ONCE: Final = 64
"""Images read, and made into rows, at once: enough to be fast, few enough to stay small in memory."""


def exported(snapshot: Snapshot, counts: Counter[str]) -> Iterator[list[Sample]]:
    """The samples that an export holds, in id order, some at a time.

    Dropped images are left out and counted as `images dropped`. An image that failed at a step is written with its last
    good graph, and counted as `images failed at a step` too.
    """
    counts["images failed at a step"] = 0
    for start in range(0, len(snapshot), _READ_AT_ONCE):
        columns = snapshot.between(start, min(start + _READ_AT_ONCE, len(snapshot)))
        is_kept = columns.image.dropped < 0
        rows = start + np.flatnonzero(is_kept)
        counts["images"] += int(is_kept.sum())
        counts["images failed at a step"] += int((columns.image.failed_step[is_kept] >= 0).sum())
        if not is_kept.all():
            counts["images dropped"] += int((~is_kept).sum())
            columns = columns.gather(np.flatnonzero(is_kept))
        for first in range(0, len(columns), _AT_ONCE):
            samples = columns.between(first, min(first + _AT_ONCE, len(columns))).samples()
            places = rows[first : first + _AT_ONCE].tolist()
            yield [snapshot.with_values(sample, row) for sample, row in zip(samples, places, strict=True)]


def image_folders(snapshot: Snapshot) -> dict[str, str]:
    """The uri that begins the uris of a source's images, by source, where the runs that made them tell.

    It ends with the folder that was named: "r:img/" for images = "r:img".
    """
    folders: dict[str, str] = {}
    for run in snapshot.provenance.runs:
        for name, options in (json.loads(run.config_json).get("sources") or {}).items():
            spec = options.get("images") if isinstance(options, dict) else None
            if isinstance(spec, str) and spec:
                folders[name] = join_uri(spec, "")
    return folders


def file_name(sample: Sample, folders: Mapping[str, str]) -> str:
    """The file of an image that has a uri, relative to the folder of images of its source."""
    uri = unturned_uri(sample.uri or "")
    folder = folders.get(sample.source or "")
    return uri.removeprefix(folder) if folder and uri.startswith(folder) else uri.partition(":")[2]


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles meanwhile: rows make none, and looking for some takes a sixth of an export's time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears at `path`, durable, only when it is complete; what stood there is replaced."""
    try:
        with output_file(path) as stream:
            yield stream
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path`, with all that was written into the one given, only when it is complete.

    A folder that is there already must be empty; anything else there is a `DatasetError`.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise DatasetError(f"{path} is there already: name a folder that is not, or an empty one")
    clear_leftovers(path)
    made = temporary_name(path)
    try:
        made.mkdir(parents=True)
        with held(made):
            yield made
            for file in made.rglob("*"):
                if file.is_file():
                    sync_file(file)
            made.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


class JsonList:
    """A JSON list in a stream, row after row."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._separator = b"[\n"

    def add(self, row: object) -> None:
        """One row more."""
        self._stream.write(self._separator + dumped(row))
        self._separator = b",\n"

    def end(self) -> None:
        """The end of the list."""
        self._stream.write((b"[" if self._separator == b"[\n" else b"\n") + b"]")


def write_rows(
    snapshot: Snapshot,
    output: Path,
    row_of: Callable[[Sample, Mapping[str, str], Counter[str]], object | None],
) -> Mapping[str, int]:
    """Writes the file `output`, a JSON list with what `row_of` makes of each image; None of one leaves it out.

    `row_of` gets the image, the folders of images by source, and the counts by name that are returned.
    """
    counts: Counter[str] = Counter()
    folders = image_folders(snapshot)
    with without_collection(), whole_file(output) as stream:
        rows = JsonList(stream)
        for samples in exported(snapshot, counts):
            for sample in samples:
                row = row_of(sample, folders, counts)
                if row is not None:
                    rows.add(row)
        rows.end()
    return counts


def dumped(row: object) -> bytes:
    """A row as JSON text; one that is none is a `DatasetError`."""
    try:
        return shown_json(orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS))
    except (TypeError, orjson.JSONEncodeError) as error:
        raise DatasetError(f"a row cannot be written as JSON: {error}: {ascii(row)[:200]}") from None
