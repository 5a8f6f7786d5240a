"""What a vendor plugin implements; everything that vendors have in common is the gateway's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from sgforge.models.values import ChatRequest, ImagePart, Usage

if TYPE_CHECKING:
    from sgforge.models.settings import ModelSettings

__all__ = [
    "UNREADABLE",
    "BatchEntry",
    "BatchProvider",
    "BatchResult",
    "BatchState",
    "Capabilities",
    "EncodeImage",
    "Finish",
    "Provider",
    "Reply",
    "ResolveProvider",
]

Finish: TypeAlias = Literal["stop", "length", "refusal"]
EncodeImage: TypeAlias = Callable[[ImagePart], tuple[str, str]]
"""Gives (media type, base64 text) of an image that the gateway has made fit already."""


@attrs.frozen
class Capabilities:
    """What a provider can do with a model; the gateway refuses a request that asks for more, before anything is sent.

    `probabilities`: of `ChatRequest.choices`. `max_image_side` (pixels) and `max_image_bytes` (encoded): larger
    images are downscaled. `image_tokens`: a bound of what one image is billed as, of whatever size. `sampling`: names
    of the request's optional fields it takes. `enforces_schema`: whether its answers are known to be held to the schema
    of a request. `paid`: calls cost money, so a budget needs a price. `slots`: calls the
    provider can use at one time, where that does not depend on a server.
    """

    images: bool = True
    probabilities: bool = False
    batch: bool = False
    paid: bool = True
    max_image_side: int | None = None
    max_image_bytes: int | None = None
    image_tokens: int | None = None
    slots: int | None = None
    enforces_schema: bool = True
    sampling: frozenset[str] = frozenset({"temperature", "top_p", "seed", "stop", "effort"})


@attrs.frozen
class Reply:
    """A provider's answer, read from the body it sent: the same for every wire format.

    `usage` is None when the body has none that can be believed. `refusal`: why there is no answer, in the server's
    words. `tokens`: probabilities at the first token that says something (neither blank nor markup nor thinking), by
    the tokens' texts. `fault`: why there is no text in a body that is an answer nevertheless, and paid for. `remark`:
    where the text stood, if not where it should.
    """

    text: str
    finish: Finish
    usage: Usage | None
    model: str = ""
    refusal: str = ""
    tokens: Mapping[str, float] | None = None
    fault: str = ""
    remark: str = ""


@runtime_checkable
class Provider(Protocol):
    """One server (or one model in process) of a vendor, built as `Target(settings)`.

    `body` builds what is sent, `send` sends it and gives the raw answer, `read` understands a raw answer; only `send`
    does any work. `send` raises `ProviderError` and never retries. `read` raises ValueError for what is no answer.
    """

    settings: ModelSettings

    def capabilities(self, model: str) -> Capabilities:
        """What can be asked of a model; looks, does not call."""
        ...

    def identity(self, model: str) -> str | None:
        """What else names the model, for the key: a base_url that is not the vendor's own, a digest of weights."""
        ...

    def problems(self, model: str) -> list[str]:
        """What is missing before a call can be made (a key, a folder), each with its mend; looks, does not call."""
        ...

    def body(self, model: str, request: ChatRequest, encode: EncodeImage) -> Mapping[str, Any]:
        """What will be sent for a request."""
        ...

    def load(self, model: str) -> None:
        """Get ready to send what takes long: import an SDK, load weights. Called once on a thread, before `send`."""
        ...

    async def send(self, body: Mapping[str, Any]) -> bytes:
        """Send it once and give the answer's body as it came; `ProviderError` for everything else."""
        ...

    def read(self, raw: bytes) -> Reply:
        """Understand an answer's body; ValueError if it is none."""
        ...

    async def close(self) -> None:
        """Close connections, free the device."""
        ...


@attrs.frozen
class BatchEntry:
    """One request of a batch: `custom_id` is at most 64 letters, digits, '-' and '_'."""

    custom_id: str
    body: Mapping[str, Any]


@attrs.frozen
class BatchState:
    """Where a batch stands at the vendor: `ended` means its results can be collected, whatever they are."""

    remote_id: str
    status: str
    ended: bool
    total: int
    succeeded: int = 0
    failed: int = 0


UNREADABLE: Final = "unreadable"
"""The reason of a line of a batch's results that cannot be read; its `custom_id` is "" where it is not known."""


@attrs.frozen
class BatchResult:
    """One result: `raw` is the answer as `read` takes it; None with the reason if there is none."""

    custom_id: str
    raw: bytes | None
    reason: str = ""
    detail: str = ""


@runtime_checkable
class BatchProvider(Protocol):
    """A provider that also has a batch endpoint; its methods raise `ProviderError` as `send` does."""

    max_batch_requests: int
    max_batch_bytes: int

    async def submit_batch(self, lines: Sequence[BatchEntry], tag: str) -> str:
        """Start a batch; the id the vendor gave it. `tag` is ours, to find it again if that answer is lost."""
        ...

    async def find_batches(self, tag: str, created_after: float, total: int) -> list[str]:
        """Ids of batches that may be the one submitted under `tag` at that time, with so many requests."""
        ...

    async def batch_state(self, remote_id: str) -> BatchState:
        """Where a batch stands."""
        ...

    def batch_results(self, remote_id: str) -> AsyncIterator[BatchResult]:
        """All results of an ended batch, errors included, in any order."""
        ...

    async def cancel_batch(self, remote_id: str) -> None:
        """Ask for the end of a batch; what was done is still collected."""
        ...


ResolveProvider: TypeAlias = Callable[[str, "ModelSettings"], Provider]
"""Builds the provider that a plugin registered under a name, with the settings of one model."""
