"""What sources of annotation files share: finding the files they name, their stamp, pictures, remarks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import attrs

from sgforge.errors import ConfigError
from sgforge.graph import Sample
from sgforge.images import Roots
from sgforge.stages import SourceFailure, Stamp
from sgforge_formats.config import Orientation
from sgforge_formats.reading.checks import locate, locate_folder
from sgforge_formats.reading.listing import names_digest
from sgforge_formats.reading.pictures import PictureFolder, Turner
from sgforge_formats.reading.tally import Tally

__all__ = ["AnnotatedSource", "Pictured", "Reading"]


class Pictured(Protocol):
    """Options of a source whose pictures lie in a folder."""

    @property
    def images(self) -> str | None: ...

    @property
    def split(self) -> str | None: ...

    @property
    def orientation(self) -> Orientation: ...


@attrs.frozen
class Reading:
    """One reading of a source: its files by option, its pictures, what is counted meanwhile."""

    files: dict[str, Path]
    roots: Roots
    pictures: PictureFolder | None
    turner: Turner
    tally: Tally
    split: str | None

    def uri(self, *names: str) -> str | None:
        """Where the picture of these names is, the likeliest first; None where no folder of pictures is named."""
        if self.pictures is None or not names:
            return None
        found = self.pictures.find(names)
        self.tally.add("files found under another spelling of their name (case or accents)", found.is_respelled)
        return self.turner.place(found.uri)


class AnnotatedSource:
    """Base of a source whose options name annotation files and, as `images`, a folder of pictures.

    A format says in `files` which of its options name files, and in `read` how they become samples.
    """

    files: ClassVar[tuple[str, ...]] = ("annotations",)

    def __init__(self, options: Any) -> None:
        self.options = options
        self._tally = Tally()
        self._turner: Turner | None = None

    def read(self, reading: Reading) -> Iterator[Sample | SourceFailure]:
        """Every image, and every fault."""
        raise NotImplementedError

    def remarks(self) -> Sequence[str]:
        """What the last reading came across and kept."""
        turned = () if self._turner is None else self._turner.remarks()
        return (*self._tally.remarks(), *turned)

    def check(self, roots: Roots, name: str) -> None:
        """A `ConfigError` unless the files and the folder that are named are there; no file is read."""
        self._located(roots, name)
        if self.options.images is not None:
            locate_folder(roots, self.options.images, name, "images")

    def _located(self, roots: Roots, name: str) -> dict[str, Path]:
        found = {}
        for option in self.files:
            given = getattr(self.options, option)
            if given is not None:
                found[option] = locate(roots, given, name, option, root=f"{name}-{option}".replace("_", "-"))[1]
        if not found:
            raise ConfigError(f"source {name!r} names no file: give one of {', '.join(self.files)}")
        return found

    def stamp(self, roots: Roots, name: str) -> Stamp | None:
        """The files decide, and the names in the folder of pictures, as one may be found under another spelling."""
        files = self._located(roots, name)
        facts = ""
        if self.options.images is not None:
            facts = names_digest(roots.resolve(locate_folder(roots, self.options.images, name, "images")))
        return Stamp(tuple(files.values()), facts)

    def samples(self, roots: Roots, name: str) -> Iterator[Sample | SourceFailure]:
        """Every image with its graph, and every fault; files of another format are a `ConfigError`."""
        self._tally, self._turner = Tally(), Turner(roots, self.options.orientation)
        files = self._located(roots, name)
        pictures = None
        if self.options.images is not None:
            pictures = PictureFolder(roots, locate_folder(roots, self.options.images, name, "images"))
        reading = Reading(
            files=files,
            roots=roots,
            pictures=pictures,
            turner=self._turner,
            tally=self._tally,
            split=self.options.split,
        )
        yield from self.read(reading)
