"""Pictures as messages: looked at in one process, read by the driver, whose folders that one does not see.

Only pictures that a component looks at are sent, each as it was encoded.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import attrs
import msgpack

from sgforge.engine.executors.error_messages import error_fields, error_of
from sgforge.errors import ImageError
from sgforge.images import ImageSource, Roots

if TYPE_CHECKING:
    from sgforge.engine.executors.model_messages import Send

__all__ = ["DistantRoots", "answer_picture", "is_picture_question"]

_LOOKED_AT: Final = "picture"


class DistantRoots(Roots):
    """The driver's folders as another machine sees them: there are pictures in them, and no paths."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self.send = send

    def resolve(self, uri: str) -> Path:
        """An `ImageError`: nothing of these folders has a path here."""
        raise ImageError(f"image {uri} lies on another machine, without a path here: read_file() gives its bytes")

    def image(self, uri: str) -> ImageSource:
        """The image behind a uri; the driver is asked for its bytes when they are read first."""
        return _DistantImage(roots=self, uri=uri)


@attrs.frozen(eq=False)
class _DistantImage(ImageSource):
    roots: DistantRoots

    def read_file(self) -> bytes:
        """The encoded file; what the driver could not read is the `ImageError` that it is there."""
        return self._data

    @cached_property
    def _data(self) -> bytes:
        answer: Mapping[str, Any] = msgpack.unpackb(self.roots.send(msgpack.packb({_LOOKED_AT: self.uri})).result())
        if "error" in answer:
            raise error_of(answer["error"])
        data: bytes = answer["bytes"]
        return data

    def _stored(self) -> BinaryIO:
        return io.BytesIO(self._data)


def is_picture_question(fields: Mapping[str, Any]) -> bool:
    """Whether what another process asks is to read a picture."""
    return _LOOKED_AT in fields


def answer_picture(images: Roots, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Read the file; what a picture of `DistantRoots` is answered."""
    try:
        return {"bytes": images.image(fields[_LOOKED_AT]).read_file()}
    except Exception as error:  # raised where it was asked
        return {"error": error_fields(error)}
