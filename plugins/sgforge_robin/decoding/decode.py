"""Decoding: many questions over shared prefixes, as one batch."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import attrs
import torch
from torch import Tensor
from transformers import DynamicCache

from sgforge_robin.model.attention import Prefix, SharedPrefixes
from sgforge_robin.model.naming import Named, NameIds
from sgforge_robin.model.references import add_references, numbers_of
from sgforge_robin.model.robin import RobinModel
from sgforge_robin.model.sending import sent

__all__ = ["Ask", "Grammar", "Said", "Sampling", "decode"]


class Grammar(Protocol):
    """What an answer may say: states from `start` on, the ids allowed in one, the next state after an id."""

    def start(self) -> object: ...

    def allowed(self, state: object, /) -> Tensor: ...

    def after(self, state: object, token: int, /) -> object: ...


@attrs.frozen(eq=False)
class Ask:
    """A question: which prefix it follows, its ids, a key that seeds its answer, and the grammar of that, if any."""

    prefix: int
    ids: Sequence[int]
    key: str
    grammar: Grammar | None = None


@attrs.frozen(eq=False)
class Said:
    """An answer: ids without the end, the model's log-probability of each and of the end, and whether that came."""

    ids: list[int]
    logprobs: list[float]
    ended: bool

    @property
    def probability(self) -> float:
        """Of the whole answer."""
        return min(math.exp(math.fsum(self.logprobs)), 1.0)


@attrs.frozen
class Sampling:
    """How ids are chosen: `temperature` 0 takes the likeliest. `limit`: ids an answer may have. `end`: the id that ends
    it. `banned`: ids that are never said. `seed` is joined with each question's key, so that an answer does not depend
    on what else is asked.
    """

    end: int
    limit: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    banned: tuple[int, ...] = ()


@torch.no_grad()
def decode(model: RobinModel, prefixes: Sequence[Prefix], asks: Sequence[Ask], sampling: Sampling) -> list[Said]:
    """Answers to all questions, in their order. Each prefix's keys are held once."""
    if not asks:
        return []
    order = sorted(range(len(asks)), key=lambda place: asks[place].prefix)
    batch = _Batch(model, prefixes, [asks[place] for place in order], sampling)
    batch.read_questions()
    while batch.alive and batch.longest < sampling.limit:
        batch.say_one()
    answers: list[Said | None] = [None] * len(asks)
    for place, said in zip(order, batch.answers(), strict=True):
        answers[place] = said
    return [said for said in answers if said is not None]


@attrs.define(eq=False)
class _Line:
    """One answer on its way; `named`: what it is about where it stands."""

    ask: Ask
    state: object
    dice: random.Random
    named: Named = attrs.field(factory=Named)
    ids: list[int] = attrs.field(factory=list)
    logprobs: list[float] = attrs.field(factory=list)
    ended: bool = False


class _Batch:
    """Rows that are decoded together; those that ended leave it."""

    def __init__(self, model: RobinModel, prefixes: Sequence[Prefix], asks: Sequence[Ask], sampling: Sampling) -> None:
        self._model = model
        self._prefixes = prefixes
        self._sampling = sampling
        self._device = model.table.weight.device
        self._lines = [_Line(ask, ask.grammar and ask.grammar.start(), _dice(sampling.seed, ask.key)) for ask in asks]
        self.alive = list(self._lines)
        self._cache = DynamicCache()
        self._banned = torch.tensor(sampling.banned, dtype=torch.long, device=self._device)
        self._names = model.names if any(prefix.named is not None for prefix in prefixes) else NameIds()

    @property
    def longest(self) -> int:
        """Ids said so far by those that still speak."""
        return len(self.alive[0].ids) if self.alive else 0

    def answers(self) -> list[Said]:
        """All answers as they stand."""
        return [Said(line.ids, line.logprobs, line.ended) for line in self._lines]

    def read_questions(self) -> None:
        """Read all questions, padded on the left."""
        lengths = torch.tensor([len(line.ask.ids) for line in self.alive])
        width = int(lengths.max())
        ids = torch.tensor([[0] * (width - len(line.ask.ids)) + list(line.ask.ids) for line in self.alive])
        order = torch.arange(width)
        self._real = (order[None] >= width - lengths[:, None]).to(self._device)
        back = order[:, None] >= order[None]
        # A padded place sees itself, so that it has something to see.
        mask = (back[None].to(self._device) & self._real[:, None]) | torch.eye(
            width, dtype=torch.bool, device=self._device
        )
        starts = torch.tensor([self._prefixes[line.ask.prefix].length for line in self.alive])
        position = (starts[:, None] + order[None] - (width - lengths)[:, None]).clamp(min=0)
        self._position = (starts + lengths).to(self._device)
        named = [self._names.along(line.ask.ids) for line in self.alive]
        for line, own in zip(self.alive, named, strict=True):
            line.named = own[-1] if own else Named()
        numbers = torch.tensor([numbers_of([Named()] * (width - len(own)) + own) for own in named])
        self._logits = self._forward(ids, numbers, position.to(self._device), mask[:, None])

    def say_one(self) -> None:
        """Choose the next id of every row, then read it."""
        chosen = self._choose()
        kept = [place for place, line in enumerate(self.alive) if not line.ended]
        self.alive = [self.alive[place] for place in kept]
        if not self.alive or self.longest >= self._sampling.limit:
            return
        if len(kept) < len(chosen):
            index = torch.tensor(kept, device=self._device)
            self._cache.batch_select_indices(index)
            self._real, self._position, chosen = self._real[index], self._position[index], chosen[index]
        numbers = torch.tensor([numbers_of([line.named]) for line in self.alive])
        self._real = torch.cat([self._real, torch.ones_like(self._real[:, :1])], dim=1)
        self._logits = self._forward(chosen[:, None], numbers, self._position[:, None], self._real[:, None, None])
        self._position = self._position + 1

    def _forward(self, ids: Tensor, numbers: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, rows) after the last of `ids`; `numbers` (B, T, 3): what each of these is about."""
        shared = self._shared()
        hidden = self._model.language.base_model(
            inputs_embeds=self._embeds(ids.to(self._device), numbers.to(self._device), shared),
            position_ids=position,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            shared=shared,
        ).last_hidden_state[:, -1]
        logits: Tensor = self._model.language.get_output_embeddings()(hidden).float()
        return logits.index_fill(1, self._banned, float("-inf"))

    def _embeds(self, ids: Tensor, numbers: Tensor, shared: SharedPrefixes) -> Tensor:
        embeds: Tensor = self._model.table(ids)
        for prefix, (begin, end) in zip(shared.prefixes, pairwise(shared.starts), strict=True):
            if prefix.named is not None:
                embeds[begin:end] = add_references(embeds[begin:end], numbers[begin:end], prefix.named)
        return embeds

    def _shared(self) -> SharedPrefixes:
        owners = [line.ask.prefix for line in self.alive]
        used = sorted(set(owners))
        starts = [owners.index(prefix) for prefix in used]
        return SharedPrefixes([self._prefixes[prefix] for prefix in used], [*starts, len(owners)])

    def _choose(self) -> Tensor:
        """The next id of each row; those that end are marked. A device is waited for twice, not for each row."""
        logprobs = self._logits.log_softmax(dim=-1)
        chosen = self._picked(self._allowed(logprobs))
        said = logprobs.gather(1, chosen[:, None])[:, 0].tolist()
        for line, token, logprob in zip(self.alive, chosen.tolist(), said, strict=True):
            line.logprobs.append(logprob)
            if token == self._sampling.end:
                line.ended = True
                continue
            line.ids.append(token)
            line.named = self._names.after(line.named, token)
            if line.ask.grammar is not None:
                line.state = line.ask.grammar.after(line.state, token)
        return chosen

    def _allowed(self, logprobs: Tensor) -> Tensor:
        """Those that no grammar forbids."""
        ruled = [(place, line) for place, line in enumerate(self.alive) if line.ask.grammar is not None]
        if not ruled:
            return logprobs
        masks = [line.ask.grammar.allowed(line.state) for _, line in ruled if line.ask.grammar is not None]
        rows = torch.tensor([place for place, _ in ruled], device=logprobs.device)
        kept = logprobs[rows].masked_fill(~torch.stack(masks).to(logprobs.device), float("-inf"))
        return logprobs.index_copy(0, rows, kept)

    def _picked(self, logprobs: Tensor) -> Tensor:
        """(B,) one id of each row."""
        if not self._sampling.temperature:
            return logprobs.argmax(dim=-1)
        draws = torch.tensor([line.dice.random() for line in self.alive], dtype=torch.float64)
        return _drawn((logprobs / self._sampling.temperature).softmax(dim=-1), self._sampling.top_p, draws)


def _drawn(shares: Tensor, top_p: float, draws: Tensor) -> Tensor:
    """(B,) one id a row by probabilities (B, rows): that in which `draws` (B,), in [0, 1), falls among the likeliest.

    All rows at once, where they lie: a row of 150,000 that is sent to the CPU takes longer than the model's step.
    """
    if top_p < 1:
        ranked, order = shares.sort(dim=-1, descending=True, stable=True)
        beyond = ranked.cumsum(dim=-1) - ranked >= top_p
        shares = shares.scatter(1, order, ranked.masked_fill(beyond, 0.0))
    exact = torch.float32 if shares.device.type == "mps" else torch.float64  # which that has not
    ends = shares.cumsum(dim=-1, dtype=exact)
    reached = ends > sent(draws.to(exact), shares.device)[:, None] * ends[:, -1:]
    # A sum in another order may rise where nothing is added, or not reach its end: what has no share is never drawn.
    reached &= shares > 0
    return torch.where(reached.any(dim=-1), reached.int().argmax(dim=-1), shares.argmax(dim=-1))


def _dice(seed: int, key: str) -> random.Random:
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return random.Random(int.from_bytes(digest[:7], "big"))
