"""hf/NAME: an image-text-to-text model of transformers in this process, calls gathered into batches."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sgforge.decoding import decode_image
from sgforge.digests import folder_sha256
from sgforge.errors import ImageError
from sgforge.models import (
    Capabilities,
    ChatRequest,
    EncodeImage,
    Message,
    ModelError,
    ModelSettings,
    Reply,
    TextPart,
    Usage,
)
from sgforge_transformers.batching import Asked, Batcher, Sampling

if TYPE_CHECKING:
    from sgforge_transformers.generation import Generator

__all__ = ["HfProvider"]

_SAMPLING: Final = frozenset({"temperature", "top_p", "seed"})


class HfProvider:
    """Loads the model when it is first asked. The name is one of the hub's, or the path of a local folder.

    A schema cannot be enforced here: it is told to the model, and the gateway checks the answer.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="sgforge-hf")
        self._generators: dict[str, Generator] = {}
        self._batchers: dict[str, Batcher] = {}

    def capabilities(self, model: str) -> Capabilities:
        """Free of charge; two batches at a time, one on the device and one that gathers."""
        return Capabilities(probabilities=True, paid=False, slots=2 * self.settings.batch_size, sampling=_SAMPLING)

    def identity(self, model: str) -> str | None:
        """For a local folder the sha256 over its files: new weights under the same name are another model."""
        folder = Path(model)
        return folder_sha256(folder) if folder.is_dir() else None

    def problems(self, model: str) -> list[str]:
        """A path must be a folder with weights in safetensors form."""
        if not model.startswith(("/", ".", "~")):
            return []
        folder = Path(model)
        if not folder.is_dir():
            return [f"there is no folder {model}"]
        return (
            [] if any(folder.glob("*.safetensors")) else [f"{model} has no *.safetensors: other weights are not read"]
        )

    def body(self, model: str, request: ChatRequest, encode: EncodeImage) -> Mapping[str, Any]:
        """A conversation in the form that chat templates take, images as base64."""
        turns = [_turn(message, encode) for message in request.messages]
        if request.schema is not None:
            turns[-1]["content"].append({"type": "text", "text": _schema_text(request.schema)})
        sampling = Sampling(request.max_tokens, request.temperature, request.top_p, request.seed)
        return {"model": model, "conversation": turns, "sampling": sampling, "choices": request.choices}

    def load(self, model: str) -> None:
        """Load the weights, on the worker thread."""
        self._worker.submit(self._generator, model).result()

    async def send(self, body: Mapping[str, Any]) -> bytes:
        """Generate, together with whatever else waits."""
        model = body["model"]
        batcher = self._batchers.get(model)
        if batcher is None:
            batcher = self._batchers[model] = Batcher(lambda asked: self._run(model, asked), self.settings.batch_size)
        conversation = await asyncio.to_thread(_decoded, body["conversation"])
        return await batcher.ask(Asked(conversation, body["sampling"], body["choices"]))

    def read(self, raw: bytes) -> Reply:
        """What `send` gave."""
        content = orjson.loads(raw)
        usage = Usage(input=content["input"], output=content["output"])
        return Reply(content["text"], content["finish"], usage, content["model"], tokens=content["tokens"])

    async def close(self) -> None:
        """Stop the worker and free the device."""
        for batcher in self._batchers.values():
            batcher.close()
        await asyncio.to_thread(self._worker.shutdown, True)
        self._generators.clear()

    async def _run(self, model: str, asked: list[Asked]) -> list[bytes]:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._generate, model, asked)

    def _generate(self, model: str, asked: list[Asked]) -> list[bytes]:
        """On the worker thread, which owns the device."""
        return self._generator(model).answer(asked)

    def _generator(self, model: str) -> Generator:
        from sgforge_transformers.generation import Generator

        if model not in self._generators:
            try:
                self._generators[model] = Generator.load(model, self.settings.device, self.settings.dtype)
            except (OSError, ValueError, ImportError) as error:
                raise ModelError("no_model", f"hf/{model} cannot be loaded: {error}") from error
        return self._generators[model]


def _turn(message: Message, encode: EncodeImage) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            content.append({"type": "text", "text": part.text})
        else:
            content.append({"type": "image", "base64": encode(part)[1]})
    return {"role": message.role, "content": content}


def _decoded(conversation: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with its images as pictures; a broken one concerns this call alone."""
    turns: list[dict[str, Any]] = []
    for turn in conversation:
        content = [
            part if part["type"] == "text" else {"type": "image", "image": _picture(part["base64"])}
            for part in turn["content"]
        ]
        turns.append({"role": turn["role"], "content": content})
    return turns


def _picture(data: str) -> Any:
    try:
        return decode_image(base64.b64decode(data), "for hf/")
    except ImageError as error:
        raise ModelError("bad_image", str(error)) from error


def _schema_text(schema: Mapping[str, Any]) -> str:
    return f"Answer with JSON only, satisfying this JSON schema: {orjson.dumps(schema).decode()}"
