"""Text files as people have them: packed by gzip, with a byte order mark, in UTF-16; always read as plain UTF-8."""

from __future__ import annotations

import codecs
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Final, TypeAlias

from sgforge.errors import ConfigError
from sgforge.regular_files import given_only

__all__ = ["open_utf8"]

_Stream: TypeAlias = BufferedReader | BufferedRandom

_GZIP: Final = b"\x1f\x8b"
_MARKS: Final = (  # UTF-32 before UTF-16: the mark of one begins with that of the other
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BLOCK: Final = 1 << 20
_MOST_TIMES: Final = 200
_ALWAYS_TAKEN: Final = 1 << 28
"""Bytes that a packed file may always hold; beyond them at most `_MOST_TIMES` its own size. Annotations pack to a tenth
of their size or so, a bomb of zeros to a thousandth."""


@contextmanager
def open_utf8(path: Path | str, *, on_disk: bool = False) -> Iterator[_Stream]:
    """The file at `path` as UTF-8, read from where its text begins; with `on_disk` it has a file descriptor to seek in.

    A packed or recoded file is written to a temporary one, which is gone afterwards. One that cannot be unpacked or
    recoded, or that is a bomb, is a `ConfigError`; one that cannot be opened an `OSError`.
    """
    with open(path, "rb", opener=given_only) as stream:
        packed = stream.peek(len(_GZIP)).startswith(_GZIP)
        if not packed and (stream.seekable() or not on_disk):
            with _decoded(stream, path) as found:
                yield found
            return
        with _temporary() as plain:
            if packed:
                _unpack(stream, plain, path)
            else:
                shutil.copyfileobj(stream, plain)
            plain.seek(0)
            with _decoded(plain, path) as found:
                yield found


def _temporary() -> BufferedRandom:
    return tempfile.TemporaryFile(prefix="sgforge-text-")


def _unpack(stream: _Stream, plain: BufferedRandom, path: Path | str) -> None:
    """Write what a gzip file holds; of one that is cut off what is there."""
    most = max(_ALWAYS_TAKEN, _MOST_TIMES * os.fstat(stream.fileno()).st_size)
    name = Path(path).name
    size = 0
    with gzip.GzipFile(fileobj=stream) as packed:
        try:
            while block := packed.read1(_BLOCK):
                size += len(block)
                if size > most:
                    raise ConfigError(
                        f"{name} holds more than {_MOST_TIMES} times its own size: refused as an archive bomb; "
                        "unpack it yourself if it is none"
                    )
                plain.write(block)
        except EOFError:
            pass  # the text ends in the middle, which its reader tells with the place
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ConfigError(f"{name} cannot be unpacked by gzip: {error}") from error


@contextmanager
def _decoded(stream: _Stream, path: Path | str) -> Iterator[_Stream]:
    head = stream.peek(4)
    mark, encoding = next(((mark, encoding) for mark, encoding in _MARKS if head.startswith(mark)), (b"", "utf-8"))
    stream.read(len(mark))
    if encoding == "utf-8":
        yield stream
        return
    with _temporary() as plain:
        _recode(stream, plain, encoding, Path(path).name)
        plain.seek(0)
        yield plain


def _recode(stream: _Stream, plain: BufferedRandom, encoding: str, name: str) -> None:
    """Write as UTF-8; a last character that is cut off is left out, as its reader tells that the text ends there."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while block := stream.read(_BLOCK):
            plain.write(decoder.decode(block).encode())
    except UnicodeError as error:
        raise ConfigError(f"{name} is no text in {encoding}: {error}") from error
