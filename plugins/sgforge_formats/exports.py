"""What the exporters share: the images of a snapshot that are written, and files that appear whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sgforge.durable import output_file
from sgforge.errors import DatasetError
from sgforge.graph import Sample

if TYPE_CHECKING:
    from sgforge.dataset import Snapshot

__all__ = ["exported", "whole_file"]


def exported(snapshot: Snapshot, counts: Counter[str]) -> Iterator[Sample]:
    """The samples that an export holds, in id order; dropped images are left out and counted as `images dropped`.

    An image that failed at a step is written with its last good graph, and counted as `images failed at a step` too.
    """
    columns = snapshot.columns()
    for row in range(len(columns)):
        if columns.image.dropped[row] >= 0:
            counts["images dropped"] += 1
            continue
        counts["images"] += 1
        counts["images failed at a step"] += int(columns.image.failed_step[row] >= 0)
        yield columns.sample(row)


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
