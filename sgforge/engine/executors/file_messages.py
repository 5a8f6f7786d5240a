"""Files that a component makes as messages: made in one process, kept by the driver in the dataset's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgpack

from sgforge.engine.executors.error_messages import error_fields, error_of
from sgforge.file_refs import FileRef, ImageRef
from sgforge.stages import Files

if TYPE_CHECKING:
    from sgforge.engine.executors.model_messages import Send

__all__ = ["DistantFiles", "answer_file", "is_file_question"]

_KEPT: Final = "kept"


@attrs.frozen
class DistantFiles:
    """The dataset's files as a component in another process sees them: each file is a message to the driver."""

    _send: Send = attrs.field(repr=False)

    def put(self, data: bytes, suffix: str) -> ImageRef | FileRef:
        """As in the driver; returns when the driver has kept the file."""
        answer: Mapping[str, Any] = msgpack.unpackb(self._send(msgpack.packb({_KEPT: [data, suffix]})).result())
        if "error" in answer:
            raise error_of(answer["error"])
        return ImageRef(*answer["image"]) if "image" in answer else FileRef(*answer["file"])


def is_file_question(fields: Mapping[str, Any]) -> bool:
    """Whether what another process asks is to keep a file."""
    return _KEPT in fields


def answer_file(files: Files, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the file; what `DistantFiles.put` is answered."""
    try:
        ref = files.put(*fields[_KEPT])
    except Exception as error:  # raised where it was asked
        return {"error": error_fields(error)}
    return {"image" if isinstance(ref, ImageRef) else "file": list(attrs.astuple(ref))}
