"""What the sources share: faults of single items, texts without control characters, uris of files in a folder."""

from __future__ import annotations

import re
from typing import Final

import attrs

from sgforge.errors import ConfigError
from sgforge.images import Roots
from sgforge.stages import SourceFailure

__all__ = ["Fault", "is_plain", "join_uri", "locate_folder"]

_NOT_PLAIN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@attrs.frozen
class Fault:
    """Why one item of a file cannot be used: `reason` is a short code that is counted, `detail` says it to people."""

    reason: str
    detail: str

    def of(self, where: str, image_id: str | None = None) -> SourceFailure:
        """This fault, at its place in the source."""
        return SourceFailure(where, self.reason, self.detail, image_id)


def is_plain(text: str) -> bool:
    """Whether a text has no control characters (line ends, terminal escapes), marks that turn text, or surrogates."""
    return _NOT_PLAIN.search(text) is None


def locate_folder(roots: Roots, spec: str, source: str, option: str) -> str:
    """The uri of the folder that an option of a source names; what is no folder is a `ConfigError`."""
    uri, path = roots.locate(spec, source)
    if not path.is_dir():
        raise ConfigError(f"source {source!r}: {spec} is no folder: name one with the option {option}")
    return uri


def join_uri(folder_uri: str, name: str) -> str:
    """The uri of a file in a folder; the folder may be a whole root ("root:")."""
    return folder_uri + ("" if folder_uri.endswith((":", "/")) else "/") + name
