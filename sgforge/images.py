"""Images by reference: named roots, and uris that cannot leave them.

A uri is "root:relative/path". Roots are named in a run's config and never stored; resolving follows symbolic links
and refuses a path that ends outside its root. "root+turned:relative/path" is the same file, its picture turned as its
orientation tag says; without the word pictures are as they are stored.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs

from sgforge.decoding import MAX_FILE_BYTES, STRAIGHT, Header, decode_image, fault_of, read_header, reason_of
from sgforge.errors import ConfigError, ImageError
from sgforge.file_refs import FILES_ROOT
from sgforge.regular_files import open_regular, read_regular

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["ImageSource", "Roots", "turned_uri", "unturned_uri"]

_TURNED: Final = "+turned"
_TURNED_QUALITY: Final = 95
_ROOT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def turned_uri(uri: str) -> str:
    """The uri of the same file, its picture turned as its orientation tag says."""
    root, _, relative = unturned_uri(uri).partition(":")
    return f"{root}{_TURNED}:{relative}"


def unturned_uri(uri: str) -> str:
    """The uri of the same file, its picture as stored."""
    root, colon, relative = uri.partition(":")
    return f"{root.removesuffix(_TURNED)}{colon}{relative}"


class Roots:
    """Named folders that uris are resolved in."""

    def __init__(self, folders: Mapping[str, Path | str] | None = None) -> None:
        self._folders: dict[str, Path] = {}
        if folders is not None and not isinstance(folders, Mapping):
            raise ConfigError(f'roots map names to folders, such as {{"coco": "data/coco"}}; not {folders!r}')
        for name, folder in (folders or {}).items():
            self.add(name, folder)
        self._unused = set(self._folders)

    def __contains__(self, name: str) -> bool:
        return name in self._folders

    def names(self) -> list[str]:
        """All root names, sorted."""
        return sorted(self._folders)

    def with_files(self, folder: Path) -> Roots:
        """These folders, and that of the files that a dataset's steps made; one that is named "files" stays."""
        found = self.copy()
        found._folders.setdefault(FILES_ROOT, folder.expanduser().resolve())
        # What a run names and does not use is told: that is no business of the files'.
        found._unused = self._unused
        return found

    def copy(self) -> Roots:
        """The same folders, to be added to without changing these."""
        return Roots(self._folders)

    def unused(self) -> list[str]:
        """Those named at the start in which nothing has been looked for so far, sorted."""
        return sorted(self._unused)

    def add(self, name: str, folder: Path | str) -> None:
        """Name a folder; a name that stands for another folder already is a `ConfigError`."""
        if not (isinstance(name, str) and _ROOT_NAME.fullmatch(name)):
            raise ConfigError(f"root name {name!r} must be letters, digits, '.', '_' and '-'")
        if not isinstance(folder, (str, PurePath)):
            raise ConfigError(f"root {name!r} must be a folder, not {folder!r}")
        path = Path(folder).expanduser().resolve()
        if self._folders.setdefault(name, path) != path:
            raise ConfigError(f"root {name!r} is {self._folders[name]} already, it cannot also be {path}")

    def locate(self, spec: str, source: str) -> tuple[str, Path]:
        """A folder or file named in a source's option: (uri, path).

        `spec` is "root:relative/path", or a plain path, which becomes (its folder, if a file) a root named `source`.
        """
        if not spec:
            raise ConfigError(f"source {source!r}: an empty path names no folder and no file")
        root, colon, _ = spec.partition(":")
        if colon and root in self._folders:
            try:
                return spec, self.resolve(spec)
            except ImageError as error:
                raise ConfigError(f"source {source!r}: {error}") from None
        if colon and _ROOT_NAME.fullmatch(root) and not Path(spec).exists():
            raise ConfigError(f"{spec!r}: there is no root {root!r}; known roots: {', '.join(self.names()) or 'none'}")
        path = Path(spec).expanduser().resolve()
        folder = path if path.is_dir() else path.parent
        if source == FILES_ROOT:
            raise ConfigError(
                f"source {source!r}: root {FILES_ROOT!r} is the folder of files that steps make: give the source "
                "another name"
            )
        self.add(source, folder)
        return f"{source}:{'' if path == folder else path.name}", path

    def resolve(self, uri: str) -> Path:
        """The path of a uri; an unknown root, an absolute path or a way out of the root is an `ImageError`."""
        if not isinstance(uri, str):
            raise ImageError(f"a uri is a text, root:relative/path, not {uri!r}")
        root, colon, relative = unturned_uri(uri).partition(":")
        if not colon:
            raise ImageError(f"uri {uri!r} has no root: it must read root:relative/path")
        folder = self._folders.get(root)
        if folder is None:
            known = ", ".join(self.names()) or "none"
            raise ImageError(
                f"uri {uri!r}: there is no root {root!r} (known: {known}); name it with --root {root}=FOLDER, "
                f'in Python with roots={{"{root}": FOLDER}}'
            )
        self._unused.discard(root)
        if PurePosixPath(relative).is_absolute() or "\0" in relative:
            raise ImageError(f"uri {uri!r} leaves its root: refused", "image-refused")
        path = _inside(folder, relative, uri)
        if "\\" in relative:
            # On Windows that separates folders, so that neither reading may leave.
            _inside(folder, relative.replace("\\", "/"), uri)
        return path

    def image(self, uri: str) -> ImageSource:
        """The image behind a uri; nothing is opened yet."""
        return ImageSource(self, uri)


def _inside(folder: Path, relative: str, uri: str) -> Path:
    """The path in a root; `..` is followed as long as it ends inside, as links are."""
    try:
        path = (folder / relative).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that no file can have
        raise ImageError(f"uri {uri!r} names no file: {error}") from error
    if not path.is_relative_to(folder):
        way = " " if ".." in PurePosixPath(relative).parts else " through a link"
        raise ImageError(f"uri {uri!r} leaves its root{way.rstrip()}: refused", "image-refused")
    return path


@attrs.frozen(eq=False)
class ImageSource:
    """The pixels of one sample, read when asked for."""

    roots: Roots = attrs.field(repr=False)
    uri: str

    @property
    def path(self) -> Path:
        """Where the image file is; outside its root it is an `ImageError`."""
        return self.roots.resolve(self.uri)

    @property
    def is_turned(self) -> bool:
        """Whether the picture is turned as its orientation tag says."""
        return unturned_uri(self.uri) != self.uri

    def read_file(self) -> bytes:
        """The encoded file; a missing or unreadable one is an `ImageError`."""
        try:
            return read_regular(self.path, MAX_FILE_BYTES)
        except OSError as error:
            raise ImageError(f"image {self.uri}: {error.strerror or error}", fault_of(error)) from error

    def _stored(self) -> BinaryIO:
        """What the head of the file is read from."""
        return open_regular(self.path)

    def read_bytes(self) -> bytes:
        """An encoded file of the picture: the one that is stored, or where that is turned a new JPEG or PNG."""
        data = self.read_file()
        if not self.is_turned or self.header().orientation == STRAIGHT:
            return data
        stream = io.BytesIO()
        if data.startswith(b"\xff\xd8"):
            self.pil().save(stream, "JPEG", quality=_TURNED_QUALITY, subsampling=0)
        else:
            self.pil().save(stream, "PNG")
        return stream.getvalue()

    def sha256(self) -> str:
        """Hex digest of the encoded file; see `identity`."""
        return self.identity(hashlib.sha256(self.read_file()).hexdigest(), self.header())

    def identity(self, file_sha256: str, header: Header) -> str:
        """The hex digest that names the picture: the file's own, but another where its pixels are odd (`Header`)."""
        if not header.is_odd:
            return file_sha256
        state = "turned" if self.is_turned else "stored"
        return hashlib.sha256(f"{state} {file_sha256}".encode()).hexdigest()

    def pil(self) -> Image.Image:
        """The decoded image, RGB."""
        return decode_image(self.read_file(), self.uri, turned=self.is_turned)

    def array(self) -> np.ndarray:
        """The decoded image, (H, W, 3) uint8 RGB."""
        import numpy as np

        return np.asarray(self.pil())

    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, read from the header alone."""
        header = self.header()
        return header.width, header.height

    def header(self) -> Header:
        """What the head of the file says; nothing is decoded."""
        try:
            with self._stored() as stored:
                return read_header(stored, self.uri, turned=self.is_turned)
        except ImageError:
            raise
        except Exception as error:  # decoders raise anything on a broken file
            raise ImageError(f"image {self.uri} cannot be read: {reason_of(error)}", fault_of(error)) from error
