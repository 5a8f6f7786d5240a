"""Images by reference: named roots, uris that cannot leave them, and safe decoding.

A uri is "root:relative/path". Roots are named in a run's config and never stored; resolving follows symbolic links
and refuses a path that ends outside its root.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final

import attrs

from sgforge.errors import ConfigError, ImageError, ImageFault

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

__all__ = ["FORMATS", "MAX_PIXELS", "ImageSource", "Roots", "decode_image"]

MAX_PIXELS: Final = 100_000_000
"""Images of more pixels are refused before they are decoded (10,000 x 10,000; a decompression bomb is far larger)."""

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are decoded; others, some of which start programs of their own to be read, are refused."""

_GREY_TO_65535: Final = ("PNG", "PPM")
"""Formats that are opened as 32 bits where the file has 16 (PNG by Pillow before 11)."""

_ROOT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


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
        self.add(source, folder)
        return f"{source}:{'' if path == folder else path.name}", path

    def resolve(self, uri: str) -> Path:
        """The path of a uri; an unknown root, an absolute path or a way out of the root is an `ImageError`."""
        if not isinstance(uri, str):
            raise ImageError(f"a uri is a text, root:relative/path, not {uri!r}")
        root, colon, relative = uri.partition(":")
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
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts or "\0" in relative or "\\" in relative:
            raise ImageError(f"uri {uri!r} leaves its root: refused", "image-refused")
        try:
            path = (folder / relative).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that no file can have
            raise ImageError(f"uri {uri!r} names no file: {error}") from error
        if not path.is_relative_to(folder):
            raise ImageError(f"uri {uri!r} leaves its root through a link: refused", "image-refused")
        return path

    def image(self, uri: str) -> ImageSource:
        """The image behind a uri; nothing is opened yet."""
        return ImageSource(self, uri)


@attrs.frozen(eq=False)
class ImageSource:
    """The pixels of one sample, read when asked for."""

    roots: Roots = attrs.field(repr=False)
    uri: str

    @property
    def path(self) -> Path:
        """Where the image file is; outside its root it is an `ImageError`."""
        return self.roots.resolve(self.uri)

    def read_bytes(self) -> bytes:
        """The encoded file; a missing or unreadable one is an `ImageError`."""
        try:
            return _regular(self.path, self.uri).read_bytes()
        except OSError as error:
            raise ImageError(f"image {self.uri}: {error.strerror or error}", _code(error)) from error

    def sha256(self) -> str:
        """Hex digest of the encoded file."""
        return hashlib.sha256(self.read_bytes()).hexdigest()

    def pil(self) -> Image.Image:
        """The decoded image, RGB."""
        return decode_image(self.read_bytes(), self.uri)

    def array(self) -> np.ndarray:
        """The decoded image, (H, W, 3) uint8 RGB."""
        import numpy as np

        return np.asarray(self.pil())

    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, read from the header alone."""
        from PIL import Image

        path = _regular(self.path, self.uri)
        try:
            with Image.open(path, formats=FORMATS) as image:
                size = image.size
        except Exception as error:  # decoders raise anything on a broken file
            raise ImageError(f"image {self.uri} cannot be read: {_reason(error)}", _code(error)) from error
        _check_pixels(size, self.uri)
        return size


def decode_image(data: bytes, where: str) -> Image.Image:
    """An encoded image as RGB; a broken, truncated or too large one is an `ImageError` naming `where`.

    No orientation tag is applied: annotations are in the pixels of the file as stored. Transparency is left out; of an
    animation it is the first picture. Of 16 bits a channel the upper 8 are kept; grey of 32 bits, whose black and white
    no format fixes, is refused.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_pixels(image.size, where)
        return _to_rgb(image, where)
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything on a broken file
        raise ImageError(f"image {where} cannot be decoded: {_reason(error)}", _code(error)) from error


def _to_rgb(image: Image.Image, where: str) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _GREY_TO_65535):
        import numpy as np
        from PIL import Image

        # Pillow would clip at 255 instead, which leaves a white picture.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(f"image {where} has grey values of 32 bits, without a fixed white: convert it to 8 or 16 bits")
    return image.convert("RGB")


def _regular(path: Path, uri: str) -> Path:
    """`path`, unless it is there and no regular file (a folder, a pipe that would block, a device)."""
    if path.exists() and not path.is_file():
        raise ImageError(f"image {uri} is no regular file")
    return path


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
        return f"more than {MAX_PIXELS:,} pixels, refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _check_pixels(size: tuple[int, int], where: str) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        message = f"image {where} is {size[0]}x{size[1]}: more than {MAX_PIXELS:,} pixels, refused"
        raise ImageError(message, "image-refused")
