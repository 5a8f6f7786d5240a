"""Prompts as the model takes them: sampled from, and learnt with exactly the tokens that were sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs
import torch
from PIL import Image
from torch import Tensor

from sgforge.draw import draw_marks
from sgforge.errors import StepError
from sgforge.graph import Sample
from sgforge_grpo.config import VlmOptions
from sgforge_grpo.reading.answer import Frame
from sgforge_grpo.units import scale_of
from sgforge_grpo.vlm.loading import Vlm
from sgforge_grpo.vlm.prompts import Question, question_of

__all__ = ["Prompt", "Sampling", "answer_logits", "ask", "logprobs_of", "sampled"]

_TYPES: Final = ("token_type_ids", "mm_token_type_ids")


@attrs.frozen(eq=False)
class Prompt:
    """A question about an image as tensors on the model's device, of one row: `inputs` as the processor makes them."""

    question: Question
    inputs: dict[str, Tensor]

    @property
    def length(self) -> int:
        """Tokens."""
        return int(self.inputs["input_ids"].shape[1])


@attrs.frozen(kw_only=True)
class Sampling:
    """How answers are drawn: at most `limit` tokens; `temperature` 0 takes the likeliest."""

    limit: int
    temperature: float
    top_p: float


def ask(vlm: Vlm, sample: Sample, options: VlmOptions) -> Prompt:
    """The question of the options about an image; one that cannot be read is an `ImageError`."""
    assert sample.image is not None
    image = Image.fromarray(sample.image.array())
    size = (sample.graph.width or image.width, sample.graph.height or image.height)
    # The text depends on the size that the picture is processed to, where boxes are written in its pixels.
    frame = Frame(width=size[0], height=size[1], scale=scale_of(vlm.unit, size, _processed(vlm, image)))
    question = question_of(sample, options, frame)
    if options.task == "relations" and options.regions == "marks":
        regions = {index: sample.graph.all.regions[index] for index in question.shown}
        image = draw_marks(image, regions, {index: number for number, index in enumerate(question.shown, 1)})
    message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question.text}]}
    text = vlm.processor.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
    inputs = vlm.processor(images=[image], text=[text], return_tensors="pt")
    tensors = {name: value.to(vlm.device) for name, value in inputs.items() if isinstance(value, Tensor)}
    return Prompt(question, tensors)


def _processed(vlm: Vlm, image: Image.Image) -> tuple[float, float] | None:
    """(width, height) in pixels that the model sees, where the processor tells."""
    if vlm.unit != "processed":
        return None
    found = vlm.processor.image_processor(images=[image], return_tensors="pt")
    grid = found.get("image_grid_thw")
    if grid is None:
        raise StepError('boxes in processed pixels: this processor does not tell the size; say boxes = "thousand"')
    patch = int(vlm.processor.image_processor.patch_size)
    _, rows, columns = grid[0].tolist()
    return float(columns * patch), float(rows * patch)


@torch.no_grad()
def sampled(vlm: Vlm, prompt: Prompt, count: int, seed: int, sampling: Sampling) -> list[list[int]]:
    """Answers to a prompt, the end included where it was said; equal seeds give equal answers."""
    from transformers import GenerationConfig

    pad = vlm.processor.tokenizer.pad_token_id
    draws = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    config = GenerationConfig(
        max_new_tokens=sampling.limit,
        num_return_sequences=count,
        eos_token_id=vlm.end,
        pad_token_id=pad,
        suppress_tokens=list(vlm.silent) or None,
        repetition_penalty=1.0,
        use_cache=True,
        **(draws if sampling.temperature else {"do_sample": False}),
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        rows = vlm.model.generate(**prompt.inputs, generation_config=config)
    finally:
        torch.random.set_rng_state(state)
    return [_answer(row, vlm) for row in rows[:, prompt.length :].tolist()]


def _answer(row: Sequence[int], vlm: Vlm) -> list[int]:
    ids = list(row[: row.index(vlm.end) + 1] if vlm.end in row else row)
    # What stands for a picture must not be said: the number of pictures and of their tokens would differ.
    banned = set(vlm.silent).intersection(ids)
    if banned:
        raise StepError(f"the model said tokens that no answer may have: {sorted(banned)}")
    return ids


def answer_logits(vlm: Vlm, prompt: Prompt, answers: Sequence[Sequence[int]]) -> Tensor:
    """(B, T, V) float32 logits of the tokens of answers to one prompt, T the longest; behind an end without meaning."""
    count, longest = len(answers), max(map(len, answers))
    pad = vlm.processor.tokenizer.pad_token_id
    tails = torch.full((count, longest), pad, device=vlm.device)
    there = torch.zeros((count, longest), dtype=torch.long, device=vlm.device)
    for row, ids in enumerate(answers):
        tails[row, : len(ids)] = torch.tensor(ids, device=vlm.device)
        there[row, : len(ids)] = 1
    inputs = dict(_repeated(prompt.inputs, count))
    inputs["input_ids"] = torch.cat([inputs["input_ids"], tails], 1)
    inputs["attention_mask"] = torch.cat([inputs["attention_mask"], there], 1)
    for name in _TYPES:
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], torch.zeros_like(tails)], 1)
    logits = vlm.model(**inputs, use_cache=False).logits
    found: Tensor = logits[:, prompt.length - 1 : prompt.length - 1 + longest].float()
    return found


def _repeated(inputs: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Every tensor `count` times along its first axis, which is that of prompts, pictures or their patches."""
    return {name: torch.cat([value] * count) for name, value in inputs.items()}


def logprobs_of(
    vlm: Vlm, logits: Tensor, ids: Sequence[int], sampling: Sampling | None, kept: Sequence[Tensor] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """(T,) log-probabilities of the tokens of one answer by its (T, V) logits, and which tokens could be drawn.

    `sampling` None: of the model as it is, as training on the truth takes it. Else under its temperature, without the
    tokens that may not be said, and within top-p, renormalised; `kept`: the tokens that top-p left when it was drawn.
    """
    aims = torch.tensor(ids, device=logits.device)
    logits = logits[: len(ids)]
    if sampling is None:
        return torch.log_softmax(logits, -1).gather(1, aims[:, None])[:, 0], []
    logits = logits / (sampling.temperature or 1.0)
    if vlm.silent:
        logits = logits.index_fill(1, torch.tensor(vlm.silent, device=logits.device), -math.inf)
    if sampling.top_p >= 1.0:
        return torch.log_softmax(logits, -1).gather(1, aims[:, None])[:, 0], []
    nuclei = (
        list(kept)
        if kept
        else [_nucleus(row.detach(), aim, sampling.top_p) for row, aim in zip(logits, ids, strict=True)]
    )
    rows = [
        row[aim] - torch.logsumexp(row[left.to(row.device)], 0)
        for row, aim, left in zip(logits, ids, nuclei, strict=True)
    ]
    return torch.stack(rows), nuclei


def _nucleus(logits: Tensor, drawn: int, top_p: float) -> Tensor:
    """The likeliest tokens that make up `top_p`; the one that was drawn is always one of them."""
    chances, order = torch.softmax(logits, 0).sort(descending=True, stable=True)
    left = order[chances.cumsum(0) - chances < top_p]
    if not bool((left == drawn).any()):
        left = torch.cat([left, left.new_tensor([drawn])])
    return left.cpu()
