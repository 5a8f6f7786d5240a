"""Files of requests on their way into a batch, cut by the vendor's limits of count and bytes as they are written."""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

import orjson

from sgforge.models.batch.rows import Item, custom_id
from sgforge.models.provider import BatchEntry

__all__ = ["Spool", "drop_orphans", "read_spool", "spool_folder"]

_LINE_FRAME = 200
"""Bytes a vendor's line has beside the body: id, method, address."""


def spool_folder(responses: Path) -> Path:
    """Where spools lie: beside the responses file."""
    return responses.with_name(f"{responses.name}.spool")


class Spool:
    """One file being written; each line has a request's terms and its body.

    It is locked until `release`, so nobody takes it for one whose process has died.
    """

    def __init__(self, folder: Path, tag: str, max_requests: int, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tag = tag
        self.path = folder / f"{tag}.jsonl"
        self.items: list[Item] = []
        self.bytes = 0
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._stream: IO[bytes] = self.path.open("xb")
        fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def takes(self, size: int) -> bool:
        """Whether a body of so many bytes still fits; an empty spool takes any that fits alone."""
        return len(self.items) < self._max_requests and self.bytes + size + _LINE_FRAME <= self._max_bytes

    def add(self, item: Item, body: bytes) -> None:
        """Append one request."""
        self._stream.write(orjson.dumps([item.key.hex(), orjson.Fragment(body)]) + b"\n")
        self.items.append(item)
        self.bytes += len(body) + _LINE_FRAME

    def seal(self) -> None:
        """All is written."""
        self._stream.flush()

    def release(self) -> None:
        """An intent names the file now."""
        self._stream.close()

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._stream.close()


def drop_orphans(folder: Path, named: Collection[str]) -> int:
    """Remove spools that no intent names and no living process writes; how many there were."""
    dropped = 0
    for path in sorted(folder.glob("*.jsonl")):
        if path.name in named:
            continue
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink(missing_ok=True)
            dropped += 1
    return dropped


def read_spool(path: Path) -> Iterator[BatchEntry]:
    """The entries of a spool, as a vendor gets them."""
    with path.open("rb") as stream:
        for line in stream:
            key, body = orjson.loads(line)
            yield BatchEntry(custom_id(bytes.fromhex(key)), body)
