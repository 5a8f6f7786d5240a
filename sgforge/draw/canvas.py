"""A transparent canvas above an image, drawn at twice the size and shrunk, so that lines and text come out smooth."""

from __future__ import annotations

import colorsys
import unicodedata
from functools import lru_cache
from typing import Any, Final, TypeAlias

import attrs
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Canvas", "Color", "Point", "Rect", "clean_text", "color_of", "ink_on"]

Color: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]

DARK: Final[Color] = (16, 16, 20)
LIGHT: Final[Color] = (255, 255, 255)
_LARGE: Final = 6_000_000  # pixels; such an image has no need of smoothing, and four times it would be slow
_LONGEST_TEXT: Final = 28


@attrs.frozen
class Rect:
    """An upright rectangle in picture pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def center(self) -> Point:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    def nearest(self, point: Point) -> Point:
        """The point of the rectangle that is nearest to `point`."""
        return min(max(point[0], self.x0), self.x1), min(max(point[1], self.y0), self.y1)

    def grown(self, by: float) -> Rect:
        """The rectangle with all sides moved out."""
        return Rect(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)


def clean_text(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Untrusted text for a picture: control and format characters become spaces, a long text is cut."""
    plain = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text[: 4 * longest])
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else plain[: longest - 1].rstrip() + "…"


def color_of(index: int) -> Color:
    """A colour per index; neighbours in the sequence are far apart in hue, and lightness varies too."""
    hue = (0.02 + index * 0.618034) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.56, 0.68, 0.48)[index % 3], 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink_on(color: Color) -> Color:
    """Dark or light, whichever reads better on `color` (relative luminance, ITU-R BT.709 weights)."""
    return DARK if 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2] > 105 else LIGHT


@lru_cache(maxsize=32)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


class Canvas:
    """Draws in the pixels of `image`; `unit` is the width of a fine line there, growing with the image."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image.convert("RGB")
        self.width, self.height = image.size
        self._factor = 1 if self.width * self.height > _LARGE else 2
        self._layer = Image.new("RGBA", (self.width * self._factor, self.height * self._factor))
        self._draw = ImageDraw.Draw(self._layer)
        shorter = min(self.width, self.height)
        self.unit = max(1.0, shorter / 400)
        self.font_size = min(max(11.0, shorter / 34), 15 * self.unit)

    def picture(self) -> Image.Image:
        """The image with everything drawn on it."""
        layer = self._layer if self._factor == 1 else self._layer.resize(self._image.size, Image.Resampling.BOX)
        return Image.alpha_composite(self._image.convert("RGBA"), layer).convert("RGB")

    def _scaled(self, points: list[Point]) -> list[Point]:
        return [(x * self._factor, y * self._factor) for x, y in points]

    def line(self, points: list[Point], color: Color, width: float, alpha: int = 255) -> None:
        """A line through points."""
        self._draw.line(self._scaled(points), (*color, alpha), max(1, round(width * self._factor)), joint="curve")

    def polygon(self, points: list[Point], color: Color, alpha: int = 255) -> None:
        """A filled polygon."""
        self._draw.polygon(self._scaled(points), (*color, alpha))

    def dot(self, center: Point, radius: float, color: Color) -> None:
        """A filled disc."""
        ((x, y),) = self._scaled([center])
        size = radius * self._factor
        self._draw.ellipse((x - size, y - size, x + size, y + size), (*color, 255))

    def frame(self, rect: Rect, color: Color, width: float, alpha: int = 255) -> None:
        """The outline of a rectangle."""
        corners = [value * self._factor for value in (rect.x0, rect.y0, rect.x1, rect.y1)]
        self._draw.rectangle(corners, outline=(*color, alpha), width=max(1, round(width * self._factor)))

    def stencil(self, shape: Image.Image, at: tuple[int, int], size: tuple[int, int], color: Color, alpha: int) -> None:
        """Colour where `shape` (mode L, in picture pixels) is white; `at` is its left upper corner."""
        wide = shape.resize((size[0] * self._factor, size[1] * self._factor), Image.Resampling.NEAREST)
        ink = Image.new("RGBA", wide.size, (*color, alpha))
        self._layer.paste(ink, (at[0] * self._factor, at[1] * self._factor), wide)

    def text_size(self, text: str, relative: float = 1.0) -> tuple[float, float]:
        """(width, height) in picture pixels of a badge that holds `text`."""
        font = _font(round(self.font_size * relative * self._factor))
        height = sum(font.getmetrics()) / self._factor
        return font.getlength(text) / self._factor + 0.5 * height, height + 1

    def badge(self, rect: Rect, text: str, color: Color, relative: float = 1.0) -> None:
        """A small plate with text, edged so that it stands out on any ground."""
        corners = [value * self._factor for value in (rect.x0, rect.y0, rect.x1, rect.y1)]
        self._draw.rounded_rectangle(
            corners, rect.height * self._factor / 4, (*color, 255), (*ink_on(color), 255), max(1, self._factor // 2)
        )
        center = self._scaled([rect.center])[0]
        font = _font(round(self.font_size * relative * self._factor))
        self._draw.text(center, text, (*ink_on(color), 255), font, anchor="mm")
