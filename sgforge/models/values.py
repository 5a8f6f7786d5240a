"""What is asked of a model and what it answers, the same for every provider."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from sgforge.decoding import open_image
from sgforge.errors import ImageError

if TYPE_CHECKING:
    from PIL import Image

    from sgforge.images import ImageSource

__all__ = [
    "ChatRequest",
    "ChatResponse",
    "ImagePart",
    "MediaType",
    "Message",
    "Part",
    "Reading",
    "Role",
    "TextPart",
    "Usage",
]

Role: TypeAlias = Literal["system", "user", "assistant"]
MediaType: TypeAlias = Literal["image/jpeg", "image/png", "image/webp", "image/gif"]

_MEDIA_TYPES: Final[Mapping[str, MediaType]] = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}


@attrs.frozen
class TextPart:
    """A piece of text."""

    text: str


@attrs.frozen
class ImagePart:
    """An encoded image by reference: `load` gives the bytes when a call is really made, `sha256` names them.

    `size` is (width, height) in pixels, `byte_count` the length of the encoded bytes. Two parts are equal when their
    bytes are. `detail` is passed to providers that know it ("low", "high", "auto").
    """

    sha256: str
    media_type: MediaType
    size: tuple[int, int]
    byte_count: int
    load: Callable[[], bytes] = attrs.field(eq=False, repr=False)
    detail: str | None = None

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "image", detail: str | None = None) -> ImagePart:
        """An image that is encoded already; anything but JPEG, PNG, WebP or GIF is an `ImageError` naming `where`."""
        media_type, size = _probe(data, where)
        return cls(
            sha256=hashlib.sha256(data).hexdigest(),
            media_type=media_type,
            size=size,
            byte_count=len(data),
            load=lambda: data,
            detail=detail,
        )

    @classmethod
    def from_pil(
        cls, image: Image.Image, encoding: Literal["JPEG", "PNG"] = "JPEG", quality: int = 90, detail: str | None = None
    ) -> ImagePart:
        """A picture made here (regions drawn on it), encoded now and only once."""
        stream = io.BytesIO()
        if encoding == "JPEG":
            image.convert("RGB").save(stream, "JPEG", quality=quality)
        else:
            image.save(stream, "PNG")
        data = stream.getvalue()
        media_type = _MEDIA_TYPES[encoding]
        return cls(
            sha256=hashlib.sha256(data).hexdigest(),
            media_type=media_type,
            size=image.size,
            byte_count=len(data),
            load=lambda: data,
            detail=detail,
        )

    @classmethod
    def from_source(cls, source: ImageSource, detail: str | None = None) -> ImagePart:
        """The file of a sample as it lies on disk; read again when sent, so nothing is held in memory meanwhile."""
        data = source.read_bytes()
        media_type, size = _probe(data, source.uri)
        return cls(
            sha256=hashlib.sha256(data).hexdigest(),
            media_type=media_type,
            size=size,
            byte_count=len(data),
            load=source.read_bytes,
            detail=detail,
        )


Part: TypeAlias = TextPart | ImagePart


def _to_parts(parts: str | Iterable[Part]) -> tuple[Part, ...]:
    return (TextPart(parts),) if isinstance(parts, str) else tuple(parts)


def _to_texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


def _to_messages(messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(messages)


@attrs.frozen
class Message:
    """One turn: who speaks, and its parts in order. A plain text stands for one `TextPart`."""

    role: Role
    parts: tuple[Part, ...] = attrs.field(converter=_to_parts)


@attrs.frozen
class Reading:
    """What may be made of an answer that breaks its schema in places; names are those of the schema's properties.

    `optional`: texts and lists that an item can do without. `numbered`: numbers that count from 1, so that a 0 says
    that all of them are others than they seem. `identity`: what numbers the items of a list; of `once` two items may
    not have the same. `needed`: lists that must hold something. It says how an answer is read and is no part of what
    names it: a better reading finds what was paid before.
    """

    optional: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)
    numbered: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)
    identity: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)
    once: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)
    needed: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)


@attrs.frozen
class ChatRequest:
    """One question to a model.

    `schema`: a JSON Schema (draft 2020-12) that the answer must satisfy; sent to providers that enforce schemas and
    always checked here. `max_tokens`: the most the model may write, the base of every cost bound. `temperature`,
    `top_p`, `seed`, `stop`, `effort` are left to the provider when None; one that the provider does not know is an
    error of the request, never dropped. `choices`: the answer starts with one of these words, and their probabilities
    are wanted. `ordinal` tells several samples of the same question apart. `reading`: what may be made of an answer
    that breaks its schema in places. `spare`: in place of an answer that said nothing: what is stored is found, and
    only a run with `--retry-failed` buys it; it is no part of what names the answer.
    """

    messages: tuple[Message, ...] = attrs.field(converter=_to_messages)
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 2048
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)
    effort: str | None = None
    choices: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)
    ordinal: int = 0
    reading: Reading = Reading()
    spare: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.messages:
            raise ValueError("a ChatRequest needs at least one message")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")

    @property
    def images(self) -> tuple[ImagePart, ...]:
        """All images, in the order they are sent."""
        return tuple(part for message in self.messages for part in message.parts if isinstance(part, ImagePart))

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of all text; no tokenizer of bytes makes more tokens of it than this."""
        return sum(
            len(part.text.encode()) for message in self.messages for part in message.parts if isinstance(part, TextPart)
        )


@attrs.frozen
class Usage:
    """Tokens of one call, normalised: the four kinds that are billed apart do not overlap.

    `input` is what was neither read from nor written to the provider's prompt cache; `reasoning` is a part of
    `output`.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )

    @property
    def total(self) -> int:
        """All tokens, in and out."""
        return self.input + self.cache_read + self.cache_write + self.output


@attrs.frozen
class ChatResponse:
    """A usable answer.

    `text` as written; `parsed` the validated JSON value when a schema was given. `call_id` names the stored answer.
    `usage` and `cost_usd` are what the answer cost when it was bought (a repair included; None if its price is not
    known); `cached` says that nothing was spent for it now. `probabilities`: of the request's `choices`, each in
    [0, 1], not summing to 1 when the model leaned elsewhere; None if the provider gives none. `notes`: what the
    gateway did to the request (an image downscaled to fit).
    `mended`: places of `parsed` that were not quite as the schema says; `dropped`: items left out of it, by the name of
    the property that was wrong ("clash" for two of one number). `truncated`: it was cut off, these are its whole items.
    `remark`: where the text stood, if not in the answer's content.
    """

    text: str
    parsed: Any
    call_id: str
    usage: Usage = Usage()
    cost_usd: float | None = None
    cached: bool = False
    model: str = ""
    repaired: bool = False
    probabilities: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    mended: int = 0
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    truncated: bool = False
    remark: str = ""

    @property
    def yes_probability(self) -> float | None:
        """P(yes) against "no": yes / (yes + no); None without probabilities or when neither was in sight."""
        if self.probabilities is None:
            return None
        yes, no = self.probabilities.get("yes", 0.0), self.probabilities.get("no", 0.0)
        return yes / (yes + no) if yes + no > 0 and math.isfinite(yes + no) else None

    @property
    def decided_mass(self) -> float:
        """How much of the probability lies on yes and no together, in [0, 1]; 0 without probabilities."""
        return 0.0 if self.probabilities is None else sum(self.probabilities.get(word, 0.0) for word in ("yes", "no"))


def _probe(data: bytes, where: str) -> tuple[MediaType, tuple[int, int]]:
    """Media type and size from the header of an encoded image."""
    from PIL import UnidentifiedImageError
    from PIL.Image import DecompressionBombError

    try:
        with open_image(io.BytesIO(data)) as image:
            media_type, size = _MEDIA_TYPES.get(image.format or ""), image.size
    except (UnidentifiedImageError, DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"image {where} cannot be read: {error}") from error
    if media_type is None:
        raise ImageError(f"image {where} is neither JPEG, PNG, WebP nor GIF: re-encode it with ImagePart.from_pil")
    return media_type, size
