"""Images by reference: named roots, uris that cannot leave them, and safe decoding.

A uri is "root:relative/path". Roots are named in a run's config and never stored; resolving follows symbolic links
and refuses a path that ends outside its root. "root+turned:relative/path" is the same file, its picture turned as its
orientation tag says; without the word pictures are as they are stored.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs

from sgforge.errors import ConfigError, ImageError, ImageFault
from sgforge.file_refs import FILES_ROOT
from sgforge.regular_files import open_regular, read_regular

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = [
    "FORMATS",
    "MAX_DECODED_BYTES",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_PIXELS_VARIABLE",
    "MAX_SIDE",
    "MAX_SIDE_VARIABLE",
    "Header",
    "ImageSource",
    "Roots",
    "can_decode",
    "decode_image",
    "open_image",
    "turned_uri",
    "unturned_uri",
]

MAX_PIXELS: Final = 89_478_485
"""Images of more pixels are refused before they are decoded, unless the environment says another number: a quarter of a
gigabyte of RGB, the number at which Pillow warns (9,459 x 9,459; a decompression bomb is far larger)."""

MAX_SIDE: Final = 65_535
"""Images that are wider or higher are refused, unless the environment says another number: no JPEG can be."""

MAX_PIXELS_VARIABLE: Final = "SGFORGE_MAX_PIXELS"
"""Pixels that a picture has at most (default 89478485); those that have more are refused before they are decoded."""

MAX_SIDE_VARIABLE: Final = "SGFORGE_MAX_SIDE"
"""Pixels that a picture is wide and high at most (default 65535)."""

MAX_DECODED_BYTES: Final = 2**30
"""Bytes, of pixels x channels, that are decoded at one time in a process: who comes later waits, and an image that
would take more alone is refused."""

MAX_FILE_BYTES: Final = 2**30
"""Encoded files of more bytes are refused unread."""

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are decoded; others, some of which start programs of their own to be read, are refused.

AVIF is decoded too where Pillow was built with it.
"""

_GREY_TO_65535: Final = ("PNG", "PPM")
"""Formats that are opened as 32 bits where the file has 16 (PNG by Pillow before 11)."""

_TURNED: Final = "+turned"
_ORIENTATION: Final = 274
_STRAIGHT: Final = 1
_SIDEWAYS: Final = (5, 6, 7, 8)
"""Values of the orientation tag (Exif 2.3, tag 0x0112) that swap width and height."""
_UNDOES: Final = {6: 8, 8: 6}
"""The value whose turn undoes that of another; each of the rest undoes itself."""
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


@attrs.frozen
class Header:
    """What the head of an image file says: size in pixels as it will be decoded, and the value of its orientation tag.

    `is_odd`: the file alone does not tell its pixels. Before there was a choice every TIFF was turned and nothing else;
    odd is what differs from that.
    """

    width: int
    height: int
    orientation: int
    is_odd: bool


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
            raise ImageError(f"image {self.uri}: {error.strerror or error}", _code(error)) from error

    def _stored(self) -> BinaryIO:
        """What the head of the file is read from."""
        return open_regular(self.path)

    def read_bytes(self) -> bytes:
        """An encoded file of the picture: the one that is stored, or where that is turned a new JPEG or PNG."""
        data = self.read_file()
        if not self.is_turned or self.header().orientation == _STRAIGHT:
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
            with self._stored() as stored, open_image(stored) as image:
                is_tiff = image.format == "TIFF"
                # The tag takes time to find, and matters only where it is followed or Pillow would follow it.
                orientation = _orientation(image) if is_tiff or self.is_turned else _STRAIGHT
                width, height = _stored_size(image)
        except Exception as error:  # decoders raise anything on a broken file
            raise ImageError(f"image {self.uri} cannot be read: {_reason(error)}", _code(error)) from error
        _check_size((width, height), self.uri)
        if self.is_turned and orientation in _SIDEWAYS:
            width, height = height, width
        return Header(width, height, orientation, orientation != _STRAIGHT and is_tiff != self.is_turned)


def decode_image(data: bytes, where: str, *, turned: bool = False) -> Image.Image:
    """An encoded image as RGB; a broken, truncated or too large one is an `ImageError` naming `where`.

    Its orientation tag is followed if it is to be `turned`, else the pixels are as stored. Transparency is left out;
    of an animation it is the first picture. Of 16 bits a channel the upper 8 are kept; grey of 32 bits, whose black and
    white no format fixes, is refused.
    """
    try:
        image = open_image(io.BytesIO(data))
        _check_size(image.size, where)
        with _ROOM.taken(_decoded_bytes(image), where):
            # A TIFF is turned by Pillow when it is decoded, and forgets its tag; nothing else is.
            if (image.format == "TIFF") == turned:
                return _to_rgb(image, where)
            orientation = _orientation(image)
            return _turn(_to_rgb(image, where), orientation if turned else _UNDOES.get(orientation, orientation))
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything on a broken file
        raise ImageError(f"image {where} cannot be decoded: {_reason(error)}", _code(error)) from error


def can_decode(form: str) -> bool:
    """Whether pictures of a format are decoded here."""
    return form in _formats()


@functools.cache
def _formats() -> tuple[str, ...]:
    from PIL import features

    return (*FORMATS, "AVIF") if "avif" in features.modules and features.check("avif") else FORMATS


def _orientation(image: Image.Image) -> int:
    """The value of the orientation tag, 1 to 8; 1 where there is none, or one that cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, _STRAIGHT)
    except Exception:  # broken metadata of a picture that is whole
        return _STRAIGHT
    return value if isinstance(value, int) and _STRAIGHT <= value <= max(_SIDEWAYS) else _STRAIGHT


def _stored_size(image: Image.Image) -> tuple[int, int]:
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        return int(tags[256]), int(tags[257])
    return image.size


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    method = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image, where: str) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _GREY_TO_65535):
        import numpy as np
        from PIL import Image

        # Pillow would clip at 255 instead, which leaves a white picture.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(f"image {where} has grey values of 32 bits, without a fixed white: convert it to 8 or 16 bits")
    return image.convert("RGB")


def _code(error: Exception) -> ImageFault:
    if isinstance(error, FileNotFoundError):
        return "image-missing"
    if _is_bomb(error):
        return "image-refused"
    # Pillow has no class of its own for it.
    return "image-truncated" if "truncated" in _reason(error).lower() else "image-unreadable"


def _is_bomb(error: Exception) -> bool:
    from PIL import Image

    return isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning))


def _reason(error: Exception) -> str:
    """What an image library said, without the addresses and absolute paths it puts in."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"it is no image of a known format ({', '.join(FORMATS)})"
    if _is_bomb(error):
        return f"{_too_many()}, refused; {MAX_PIXELS_VARIABLE}=NUMBER allows more"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _check_size(size: tuple[int, int], where: str) -> None:
    pixels, side = _limit(MAX_PIXELS_VARIABLE, MAX_PIXELS), _limit(MAX_SIDE_VARIABLE, MAX_SIDE)
    if size[0] * size[1] > pixels:
        what, variable = _too_many(), MAX_PIXELS_VARIABLE
    elif max(size) > side:
        what, variable = f"a side of more than {side:,} pixels", MAX_SIDE_VARIABLE
    else:
        return
    message = f"image {where} is {size[0]}x{size[1]}: {what}, refused; {variable}=NUMBER allows more"
    raise ImageError(message, "image-refused")


def _too_many() -> str:
    return f"more than {_limit(MAX_PIXELS_VARIABLE, MAX_PIXELS):,} pixels"


def _limit(variable: str, default: int) -> int:
    """A limit as the environment says it, which the processes that a run starts inherit."""
    stated = os.environ.get(variable)
    if not stated:
        return default
    if not (stated.isascii() and stated.isdecimal() and 0 < int(stated[:15]) < 10**12):
        raise ConfigError(f"{variable}={stated!r} must be a whole number of pixels")
    return int(stated)


def open_image(stream: BinaryIO) -> Image.Image:
    """The image in a stream as Pillow opens it, nothing decoded: of our formats, what it raises is the caller's."""
    from PIL import Image

    # Pillow's own limit is ours, and what it warns of below twice that limit is an error of ours.
    Image.MAX_IMAGE_PIXELS = _limit(MAX_PIXELS_VARIABLE, MAX_PIXELS)
    _hush()
    return Image.open(stream, formats=_formats())


@functools.cache
def _hush() -> None:
    """Let no library speak beside our errors and counts; filters that others set come first."""
    from PIL.Image import DecompressionBombWarning

    warnings.filterwarnings("ignore", category=DecompressionBombWarning, append=True)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.", append=True)  # of broken metadata


def _decoded_bytes(image: Image.Image) -> int:
    """What an image takes while it is decoded: its own channels and those of RGB."""
    from PIL import ImageMode

    mode = ImageMode.getmode(image.mode)
    item = int(mode.typestr[-1]) if mode.typestr[-1].isdecimal() else 1
    return image.size[0] * image.size[1] * (len(mode.bands) * item + 3)


class _Room:
    """The bytes that are decoded at one time; waited for, as each that has them gives them back by itself."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int, where: str) -> Iterator[None]:
        """Wait for `size` bytes, and hold them; more than there are is an `ImageError`."""
        if size > self._size:
            message = f"image {where} takes {size:,} bytes to decode, more than {self._size:,}: refused"
            raise ImageError(message, "image-refused")
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


_ROOM: Final = _Room(MAX_DECODED_BYTES)
