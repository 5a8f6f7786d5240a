"""What the sources share: faults of single items, texts without control characters, uris of files in a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import attrs

from sgforge.errors import ConfigError
from sgforge.images import Roots
from sgforge.stages import SourceFailure

__all__ = ["Fault", "is_plain", "join_uri", "locate", "locate_folder"]

_NOT_PLAIN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@attrs.frozen
class Fault:
    """Why one item of a file cannot be used: `reason` is a short code that is counted, `detail` says it to people."""

    reason: str
    detail: str

    def of(self, where: str, image_id: str | None = None) -> SourceFailure:
        """This fault of an annotation, at its place in the source; its image is there without it."""
        return SourceFailure(where=where, reason=self.reason, detail=self.detail, image_id=image_id, loses="annotation")

    def of_image(self, where: str, image_id: str) -> SourceFailure:
        """This fault of a whole image, at its place in the source."""
        return SourceFailure(where, self.reason, self.detail, image_id)


def is_plain(text: str) -> bool:
    """Whether a text has no control characters (line ends, terminal escapes), marks that turn text, or surrogates."""
    return _NOT_PLAIN.search(text) is None


def locate_folder(roots: Roots, spec: str, source: str, option: str) -> str:
    """The uri of the folder that an option of a source names; what is no folder is a `ConfigError`."""
    return locate(roots, spec, source, option, is_folder=True)[0]


def locate(
    roots: Roots, spec: str, source: str, option: str, *, is_folder: bool = False, root: str | None = None
) -> tuple[str, Path]:
    """The (uri, path) of the file or folder that an option of a source names; if it is none, a `ConfigError`.

    `root`: the name that the folder of a plain path gets, by default the source's.
    """
    uri, path = roots.locate(spec, root or source)
    if is_folder and not path.is_dir():
        raise ConfigError(
            f"source {source!r}: {spec} is no folder{_looked_in(roots, spec)}: name one with the option {option}"
        )
    if not is_folder and not path.is_file():
        raise ConfigError(
            f"source {source!r}: {spec}: there is no such file{_looked_in(roots, spec)}: check the option {option}"
        )
    return uri, path


def _looked_in(roots: Roots, spec: str) -> str:
    """Where a name that is no whole path was looked for."""
    root, colon, _ = spec.partition(":")
    if colon and root in roots:
        return f" (root {root!r} is {roots.resolve(f'{root}:')})"
    return "" if Path(spec).expanduser().is_absolute() else f" (looked in {Path.cwd()})"


def join_uri(folder_uri: str, name: str) -> str:
    """The uri of a file in a folder; the folder may be a whole root ("root:")."""
    return folder_uri + ("" if folder_uri.endswith((":", "/")) else "/") + name
