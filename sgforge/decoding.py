"""Safe decoding of pictures: limits in pixels, sides and bytes, few formats, orientation tags followed or not."""

from __future__ import annotations

import functools
import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

import attrs

from sgforge.errors import ConfigError, ImageError, ImageFault

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "FORMATS",
    "MAX_DECODED_BYTES",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "MAX_PIXELS_VARIABLE",
    "MAX_SIDE",
    "MAX_SIDE_VARIABLE",
    "STRAIGHT",
    "Header",
    "can_decode",
    "decode_image",
    "fault_of",
    "open_image",
    "read_header",
    "reason_of",
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

_ORIENTATION: Final = 274
STRAIGHT: Final = 1
"""The orientation of a picture that is stored as it is to be seen."""
_SIDEWAYS: Final = (5, 6, 7, 8)
"""Values of the orientation tag (Exif 2.3, tag 0x0112) that swap width and height."""
_UNDOES: Final = {6: 8, 8: 6}
"""The value whose turn undoes that of another; each of the rest undoes itself."""


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


def read_header(stream: BinaryIO, where: str, *, turned: bool = False) -> Header:
    """What the head of an image in a stream says; nothing is decoded.

    Raises:
        ImageError: it is too large, as `where`.
        Exception: whatever a decoder raises on a broken file; see `reason_of` and `fault_of`.
    """
    with open_image(stream) as image:
        is_tiff = image.format == "TIFF"
        # The tag takes time to find, and matters only where it is followed or Pillow would follow it.
        orientation = _orientation(image) if is_tiff or turned else STRAIGHT
        width, height = _stored_size(image)
    _check_size((width, height), where)
    if turned and orientation in _SIDEWAYS:
        width, height = height, width
    return Header(width, height, orientation, orientation != STRAIGHT and is_tiff != turned)


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
        raise ImageError(f"image {where} cannot be decoded: {reason_of(error)}", fault_of(error)) from error


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
        value = image.getexif().get(_ORIENTATION, STRAIGHT)
    except Exception:  # broken metadata of a picture that is whole
        return STRAIGHT
    return value if isinstance(value, int) and STRAIGHT <= value <= max(_SIDEWAYS) else STRAIGHT


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


def fault_of(error: Exception) -> ImageFault:
    """The kind of fault that an error of reading or decoding is."""
    if isinstance(error, FileNotFoundError):
        return "image-missing"
    if _is_bomb(error):
        return "image-refused"
    # Pillow has no class of its own for it.
    return "image-truncated" if "truncated" in reason_of(error).lower() else "image-unreadable"


def _is_bomb(error: Exception) -> bool:
    from PIL import Image

    return isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning))


def reason_of(error: Exception) -> str:
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
