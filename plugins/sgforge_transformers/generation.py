"""The model itself: loading from safetensors, batched generation, probabilities of the first answer token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
import torch
from transformers import AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList

from sgforge.models import ModelError
from sgforge_transformers.batching import Asked
from sgforge_transformers.devices import auto_device, auto_dtype
from sgforge_transformers.processors import load_processor

__all__ = ["Generator"]

_TOP: Final = 20
_EDGES: Final = " \t\r\n\u2581\u0120.,:;!?\"'*`"


class Generator:
    """A processor and a model on one device; not for use by several threads."""

    def __init__(self, name: str, processor: Any, model: Any, device: torch.device) -> None:
        self._name = name
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._model = model
        self._device = device
        self._spoken: dict[str, list[int]] = {}
        self._tokenizer.padding_side = "left"  # generation goes on at the right end
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token

    @classmethod
    def load(cls, name: str, device: str, dtype: str) -> Generator:
        """Weights in safetensors form only, no code from the repository. "auto": CUDA with bfloat16 if it is there."""
        place = torch.device(auto_device() if device == "auto" else device)
        kind = auto_dtype(place) if dtype == "auto" else getattr(torch, dtype, None)
        if not isinstance(kind, torch.dtype):
            raise ValueError(f"dtype {dtype!r} is none of torch's")
        processor = load_processor(name)
        model: Any = AutoModelForImageTextToText.from_pretrained(
            name, dtype=kind, use_safetensors=True, trust_remote_code=False
        )
        return cls(name, processor, model.to(place).eval(), place)

    def answer(self, asked: Sequence[Asked]) -> list[bytes]:
        """Continue conversations of one sampling; each answer is a JSON object of text, finish, usage and tokens.

        A batch that does not fit the device's memory is halved.
        """
        try:
            return self._generate(asked)
        except torch.OutOfMemoryError:
            if len(asked) == 1:
                raise
            torch.cuda.empty_cache()
        half = len(asked) // 2
        return [*self.answer(asked[:half]), *self.answer(asked[half:])]

    @torch.inference_mode()
    def _generate(self, asked: Sequence[Asked]) -> list[bytes]:
        inputs = self._prepare(asked)
        sampling = asked[0].sampling
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        samples = bool(sampling.temperature)
        given = {"temperature": sampling.temperature, "top_p": sampling.top_p} if samples else {}
        first = _FirstStep()
        output = self._model.generate(
            **inputs,
            max_new_tokens=sampling.max_tokens,
            do_sample=samples,
            logits_processor=LogitsProcessorList([first]),
            pad_token_id=self._tokenizer.pad_token_id,
            **{name: value for name, value in given.items() if value is not None},
        )
        start = inputs["input_ids"].shape[1]
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        assert first.probabilities is not None
        return [
            self._reply(one, ids, int(length), row, sampling.max_tokens)
            for one, ids, length, row in zip(
                asked, output[:, start:].tolist(), lengths, first.probabilities, strict=True
            )
        ]

    def _prepare(self, asked: Sequence[Asked]) -> Any:
        """Token ids and pixels of a batch, padded on the left."""
        conversations = [one.conversation for one in asked]
        has_images = any(part["type"] == "image" for talk in conversations for turn in talk for part in turn["content"])
        if has_images and getattr(self._processor, "image_processor", None) is None:
            raise ModelError("no_vision", f"hf/{self._name} does not take images")
        return self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._device, dtype=self._model.dtype)

    def _reply(self, asked: Asked, ids: list[int], length: int, row: torch.Tensor, max_tokens: int) -> bytes:
        ends = self._ends()
        stop = next((place for place, token in enumerate(ids) if token in ends), None)
        written = ids if stop is None else ids[:stop]
        finish = "length" if stop is None and len(ids) >= max_tokens else "stop"
        content = {"text": self._tokenizer.decode(written, skip_special_tokens=True), "finish": finish}
        counts = {"input": length, "output": len(written) + (stop is not None), "model": self._name}
        tokens = self._tokens(asked.choices, row) if asked.choices else None
        return orjson.dumps({**content, **counts, "tokens": tokens})

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        own = self._tokenizer.eos_token_id
        return {*(ends if isinstance(ends, list) else [ends]), own} - {None}

    def _tokens(self, choices: Sequence[str], row: torch.Tensor) -> dict[str, float]:
        """Probabilities by token text: the likeliest, and for each choice the sum over all tokens that say it."""
        values, places = row.topk(min(_TOP, row.numel()))
        spoken = {choice: self._tokens_of(choice) for choice in choices}
        taken = {token for tokens in spoken.values() for token in tokens}
        found = {choice: float(row[tokens].sum()) if tokens else 0.0 for choice, tokens in spoken.items()}
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            if place not in taken:
                text = self._tokenizer.decode([place])
                found[text] = found.get(text, 0.0) + value
        return found

    def _tokens_of(self, choice: str) -> list[int]:
        """All tokens that are this word, with or without blanks, case and punctuation around."""
        if choice not in self._spoken:
            words = self._tokenizer.batch_decode([[token] for token in range(len(self._tokenizer))])
            self._spoken[choice] = [
                token for token, word in enumerate(words) if word.strip(_EDGES).casefold() == choice.casefold()
            ]
        return self._spoken[choice]


class _FirstStep(LogitsProcessor):
    """Keeps the distribution of the first generated token, and changes nothing."""

    def __init__(self) -> None:
        self.probabilities: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.probabilities is None:
            self.probabilities = torch.softmax(scores.float(), dim=-1).cpu()
        return scores
