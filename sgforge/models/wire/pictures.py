"""Images on their way to a provider: made to fit its limits, base64 once, bounded in what is held at one time."""

from __future__ import annotations

import asyncio
import base64
import io
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final

import attrs

from sgforge.models.values import ImagePart

__all__ = ["Fit", "Pictures", "Prepared"]

_JPEG_QUALITY: Final = 90
_SHRINK: Final = 0.8


@attrs.frozen
class Fit:
    """A provider's limits of one image: longest side in pixels, encoded bytes; None means no limit."""

    side: int | None = None
    byte_count: int | None = None

    def is_exceeded_by(self, part: ImagePart) -> bool:
        """Whether an image has to be made smaller."""
        too_wide = self.side is not None and max(part.size) > self.side
        return too_wide or (self.byte_count is not None and part.byte_count > self.byte_count)


@attrs.frozen
class _Encoded:
    base64: str
    media_type: str
    note: str


@attrs.define
class _Shared:
    """An encoding in use: how many calls hold it, and the task that makes it."""

    users: int
    task: asyncio.Task[_Encoded]
    weight: int


class Prepared:
    """The images of one call; `note`s say what was changed. Leave the `async with` when the call is over."""

    def __init__(self, pictures: Pictures, parts: Sequence[ImagePart], fit: Fit) -> None:
        self._pictures = pictures
        self._parts = list(dict.fromkeys(parts))
        self._fit = fit
        self._weight = 0
        self._made: dict[str, _Encoded] = {}

    async def __aenter__(self) -> Prepared:
        self._weight = await self._pictures.reserve(sum(part.byte_count for part in self._parts))
        try:
            for part in self._parts:
                self._made[part.sha256] = await self._pictures.encode(part, self._fit)
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to images to make them fit."""
        return tuple(made.note for made in self._made.values() if made.note)

    def encode(self, part: ImagePart) -> tuple[str, str]:
        """(media type, base64 text) of an image of this call."""
        made = self._made[part.sha256]
        return made.media_type, made.base64

    def _leave(self) -> None:
        for sha256 in self._made:
            self._pictures.drop(sha256, self._fit)
        self._made = {}
        self._pictures.give_back(self._weight)
        self._weight = 0


class Pictures:
    """Shares encodings between calls that show the same image, and bounds the encoded bytes held for all calls.

    One call alone may be larger than the bound; it then goes when nothing else is held.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.held = 0
        self.peak = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._shared: dict[tuple[str, Fit], _Shared] = {}

    def prepare(self, parts: Sequence[ImagePart], fit: Fit) -> Prepared:
        """The images of one call, as an async context manager."""
        return Prepared(self, parts, fit)

    async def reserve(self, weight: int) -> int:
        """Wait until so many bytes may be held; first come, first served."""
        if weight == 0:
            return 0
        if not self._waiting and self._fits(weight):
            self._take(weight)
            return weight
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((weight, future))
        try:
            await future
        except asyncio.CancelledError:
            # Given up while it waited, it may be what smaller ones stand behind; let in at the same moment, it has
            # taken bytes that nobody will use.
            self.give_back(weight if future.done() and not future.cancelled() else 0)
            raise
        return weight

    def give_back(self, weight: int) -> None:
        """Release bytes and let in who waits."""
        self.held -= weight
        while self._waiting:
            wanted, future = self._waiting[0]
            if not future.done():
                if not self._fits(wanted):
                    return
                self._take(wanted)
                future.set_result(None)
            self._waiting.popleft()

    async def encode(self, part: ImagePart, fit: Fit) -> _Encoded:
        """The encoding of an image, made by the first call that needs it; every `encode` needs one `drop`."""
        shared = self._shared.get((part.sha256, fit))
        if shared is None:
            task = asyncio.create_task(_encode(part, fit))
            shared = self._shared[part.sha256, fit] = _Shared(0, task, part.byte_count)
        shared.users += 1
        try:
            return await asyncio.shield(shared.task)
        except BaseException:
            self.drop(part.sha256, fit)
            raise

    def drop(self, sha256: str, fit: Fit) -> None:
        """One call needs an encoding no longer."""
        shared = self._shared[sha256, fit]
        shared.users -= 1
        if shared.users == 0:
            # Not needed by anybody: an encoding that was given up in the middle is not finished for nobody.
            shared.task.cancel()
            del self._shared[sha256, fit]

    def _fits(self, weight: int) -> bool:
        return self.held == 0 or self.held + weight <= self._max_bytes

    def _take(self, weight: int) -> None:
        self.held += weight
        self.peak = max(self.peak, self.held)


async def _encode(part: ImagePart, fit: Fit) -> _Encoded:
    if fit.is_exceeded_by(part):
        return await asyncio.to_thread(_downscaled, part, fit)
    return _Encoded(base64.b64encode(part.load()).decode("ascii"), part.media_type, "")


def _downscaled(part: ImagePart, fit: Fit) -> _Encoded:
    """Shrink to the longest side, then by steps until the bytes fit; JPEG, unless the image is a small PNG."""
    from PIL import Image

    from sgforge.decoding import decode_image

    image = decode_image(part.load(), part.sha256[:12])
    side = min(max(image.size), fit.side or max(image.size))
    while True:
        scale = side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        stream = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=_JPEG_QUALITY)
        data = stream.getvalue()
        if fit.byte_count is None or len(data) <= fit.byte_count or side <= 1:
            break
        side = max(1, int(side * _SHRINK))
    note = (
        f"image {part.sha256[:12]} downscaled from {part.size[0]}x{part.size[1]}, {part.byte_count} bytes, to "
        f"{size[0]}x{size[1]}, {len(data)} bytes: the provider takes no larger one"
    )
    return _Encoded(base64.b64encode(data).decode("ascii"), "image/jpeg", note)
