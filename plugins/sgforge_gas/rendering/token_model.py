"""The model of the renderer `tokens`: a small causal transformer over the codes of a graph and of its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import torch
from torch import nn

from sgforge.durable import share_as_usual
from sgforge.errors import StepError
from sgforge.stages import Resources
from sgforge_gas.config import TokensOptions
from sgforge_gas.rendering.codes import CODES, END, LONGEST, MOST_CODES, open_at

__all__ = ["Pair", "Said", "TokenModel", "load", "logprobs_of", "noise_of", "one_thread", "save", "say", "teach"]

_WEIGHTS: Final = "tokens.safetensors"
_AT_ONCE: Final = 256
"""Answers that are sampled together."""

Pair = tuple[Sequence[int], Sequence[int]]
"""The codes of a graph and those of its picture."""


class TokenModel(nn.Module):
    """A causal transformer over prompt and answer."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(CODES, width)
        self.places = nn.Embedding(LONGEST, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, CODES)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, T) codes to (B, T, words) logits of the next one."""
        size = codes.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(size, device=codes.device)
        seen = self.words(codes) + self.places(torch.arange(size, device=codes.device))
        logits: torch.Tensor = self.head(self.layers(seen, mask=mask, is_causal=True))
        return logits


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: handing such small products out takes longer than computing them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load(options: TokensOptions, resources: Resources) -> TokenModel:
    """The model with the weights of a training, else of the option `checkpoint`, else random ones of the seed."""
    from safetensors.torch import load_file

    torch.manual_seed(resources.seed)
    model = TokenModel(options.width, options.layers)
    folder = resources.checkpoint.path if resources.checkpoint is not None else options.checkpoint
    if folder is not None:
        try:
            model.load_state_dict(load_file(str(folder / _WEIGHTS)))
        except (OSError, RuntimeError) as error:
            what = " ".join(str(error).split())[:200]
            raise StepError(f"checkpoint {folder} is none of the renderer tokens: {what}") from error
    return model.to(resources.device).eval()


def save(model: TokenModel, folder: Path) -> None:
    """Write the weights into a folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous().cpu() for name, value in model.state_dict().items()}, str(folder / _WEIGHTS))
    share_as_usual(folder / _WEIGHTS)


def teach(model: TokenModel, pairs: Sequence[Pair], options: TokensOptions, resources: Resources) -> float:
    """Learn the pictures of graphs; the mean loss of the last 10 % of the steps."""
    dice = torch.Generator().manual_seed(resources.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate)
    model.train()
    last: list[float] = []
    for step in range(options.steps):
        batch = [pairs[int(one)] for one in torch.randint(len(pairs), (options.batch,), generator=dice)]
        inputs, targets = _padded(batch, resources.device)
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step >= options.steps * 9 // 10:
            last.append(float(loss.detach()))
        if step % 20 == 0:
            resources.report("loss", float(loss.detach()), step)
    model.eval()
    return sum(last) / len(last) if last else 0.0


def _padded(pairs: Sequence[Pair], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs, and the answers' codes where they are the next one, -100 elsewhere; both (B, T)."""
    longest = max(len(prompt) + len(codes) for prompt, codes in pairs)
    inputs = torch.zeros(len(pairs), longest, dtype=torch.long)
    targets = torch.full((len(pairs), longest), -100)
    for row, (prompt, codes) in enumerate(pairs):
        whole = [*prompt, *codes]
        inputs[row, : len(whole)] = torch.tensor(whole)
        targets[row, len(prompt) - 1 : len(whole) - 1] = torch.tensor(codes)
    return inputs.to(device), targets.to(device)


@attrs.frozen(kw_only=True)
class Said:
    """An answer: its codes, the end included, and the log-probability with which each was drawn."""

    codes: tuple[int, ...]
    logprobs: tuple[float, ...]


def noise_of(seed: int) -> torch.Tensor:
    """The noise by which one answer is drawn, (codes of an answer, codes): the largest of log-probability plus Gumbel
    noise is a draw by these probabilities (Gumbel 1954; Maddison et al. 2014, section 2).
    """
    even = torch.rand(MOST_CODES, CODES, generator=torch.Generator().manual_seed(seed))
    return -torch.log(-torch.log(even.clamp(1e-20, 1 - 1e-7)))


@torch.no_grad()
def say(
    model: TokenModel, prompts: Sequence[Sequence[int]], noise: Sequence[torch.Tensor] | None, temperature: float
) -> list[Said]:
    """An answer to each prompt: drawn by its own noise, the likeliest codes without any."""
    found: list[Said] = []
    for start in range(0, len(prompts), _AT_ONCE):
        own = None if noise is None else torch.stack(list(noise[start : start + _AT_ONCE]))
        found += _said_together(model, prompts[start : start + _AT_ONCE], own, temperature)
    return found


def _said_together(
    model: TokenModel, prompts: Sequence[Sequence[int]], noise: torch.Tensor | None, temperature: float
) -> list[Said]:
    device = model.head.weight.device
    masks = _masks(device)
    rows, _ = _padded([(prompt, [END] * MOST_CODES) for prompt in prompts], device)
    ends = torch.tensor([len(prompt) for prompt in prompts], device=device)
    live = torch.arange(len(prompts), device=device)
    codes: list[list[int]] = [[] for _ in prompts]
    logprobs: list[list[float]] = [[] for _ in prompts]
    for place in range(MOST_CODES):
        # What stands behind a row's own end is not seen: attention is causal.
        at = ends[live] + place
        logits = model(rows[live, : int(at.max())])[torch.arange(len(live), device=device), at - 1]
        chances = torch.log_softmax(logits / temperature + masks[place], 1)
        drawn = (chances if noise is None else chances + noise[live.cpu(), place].to(device)).argmax(1)
        rows[live, at] = drawn
        likely = chances.gather(1, drawn[:, None])[:, 0].tolist()
        for row, code, chance in zip(live.tolist(), drawn.tolist(), likely, strict=True):
            codes[row].append(code)
            logprobs[row].append(chance)
        live = live[drawn != END]
        if not len(live):
            break
    return [Said(codes=tuple(one), logprobs=tuple(other)) for one, other in zip(codes, logprobs, strict=True)]


def logprobs_of(model: TokenModel, pairs: Sequence[Pair], temperature: float) -> list[torch.Tensor]:
    """The log-probabilities of the codes of each answer, (T,) each, with gradient."""
    if not pairs:
        return []
    device = model.head.weight.device
    inputs, _ = _padded(pairs, device)
    logits = model(inputs[:, :-1])
    masks = _masks(device)
    found = []
    for row, (prompt, codes) in enumerate(pairs):
        own = logits[row, len(prompt) - 1 : len(prompt) - 1 + len(codes)]
        chances = torch.log_softmax(own / temperature + masks[: len(codes)], 1)
        found.append(chances.gather(1, torch.tensor(list(codes), device=device)[:, None])[:, 0])
    return found


def _masks(device: Any) -> torch.Tensor:
    """What is added to the logits of each place of an answer: 0 for codes that may stand there, else -inf."""
    masks = torch.full((MOST_CODES, CODES), -torch.inf)
    for place in range(MOST_CODES):
        masks[place, open_at(place)] = 0.0
    return masks.to(device)
