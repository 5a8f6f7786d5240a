"""What is learnt of scored answers: by their advantages, the best alone, or the best before the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import attrs
import torch
from torch import Tensor

from sgforge.stages import Credit
from sgforge.stages.policies import Rollout
from sgforge_grpo.config import DpoOptions, GrpoOptions, RaftOptions
from sgforge_grpo.losses import advantages, loss_sum, normaliser, token_losses
from sgforge_grpo.refining.drawing import Drawn, Group

__all__ = ["Dpo", "Grpo", "Lesson", "Method", "Raft"]

Tensors: TypeAlias = Sequence[Tensor]
_ALIKE: Final = 1e-9
"""Totals that differ by less are equal: sums of floats in another order."""


@attrs.frozen(kw_only=True, eq=False)
class Lesson:
    """Answers that are learnt from together, with an advantage each; one that does not count only fills a call."""

    rollouts: tuple[Rollout, ...]
    advantages: tuple[float, ...]
    counts: bool = True


class Method(Protocol):
    """How a refiner learns."""

    needs_reference: bool

    def keeps(self, groups: int) -> int:
        """How many of so many groups are learnt from."""

    def lessons(self, groups: Sequence[Group], weights: dict[str, float]) -> list[Lesson]:
        """What is learnt of these groups; of a group that teaches nothing there is no lesson."""

    def size(self, lessons: Sequence[Lesson]) -> float:
        """What the loss is divided by, summed over all ranks."""

    def loss(self, lessons: Sequence[Lesson], now: Tensors, before: Tensors | None) -> tuple[Tensor, dict[str, float]]:
        """The sum of losses, and sums of figures about it. `now`, `before`: log-probabilities of each rollout."""


def padded(rows: Tensors) -> tuple[Tensor, Tensor]:
    """Rows of any length as (B, T), and the mask of what is there."""
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    table = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return table, (torch.arange(table.shape[1], device=table.device) < lengths[:, None]).to(table.dtype)


def _drawn_with(lessons: Sequence[Lesson], like: Tensor) -> Tensor:
    rows = [
        torch.tensor(one.logprobs, dtype=like.dtype, device=like.device) for each in lessons for one in each.rollouts
    ]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


class Grpo:
    """All answers, each by its advantage over its group."""

    def __init__(self, options: GrpoOptions) -> None:
        self._options = options
        self.needs_reference = options.beta > 0

    def keeps(self, groups: int) -> int:
        """Those of the highest spread."""
        return max(1, round(groups / self._options.oversample))

    def lessons(self, groups: Sequence[Group], weights: dict[str, float]) -> list[Lesson]:
        """One for each answer of a group whose rewards differ."""
        found = []
        for group in groups:
            if group.spread <= _ALIKE:
                continue
            scored = group.scored
            table = [[weight * _part(one, name) for name, weight in weights.items()] for one in scored]
            worth = advantages(table, len(scored), scaling=self._options.scaling).tolist()
            found += [
                Lesson(rollouts=(one.rollout,), advantages=(own,)) for one, own in zip(scored, worth, strict=True)
            ]
        return found

    def size(self, lessons: Sequence[Lesson]) -> float:
        """Answers or tokens, as the loss counts."""
        lengths = torch.tensor([len(one.rollouts[0].tokens) for one in lessons], dtype=torch.float64)
        return float(normaliser(self._options.loss, lengths, self._options.longest)) if len(lengths) else 0.0

    def loss(self, lessons: Sequence[Lesson], now: Tensors, before: Tensors | None) -> tuple[Tensor, dict[str, float]]:
        """By the options' loss, from the probabilities that the answers were drawn with."""
        options = self._options
        table, mask = padded(now)
        drawn = _drawn_with(lessons, table)
        counts = torch.tensor([float(one.counts) for one in lessons], device=table.device)
        mask = mask * counts[:, None]
        reference = padded(before)[0] if before is not None else None
        each = token_losses(
            table,
            torch.tensor([one.advantages[0] for one in lessons], dtype=table.dtype, device=table.device),
            mask,
            old_logps=drawn,
            ref_logps=reference,
            loss_type=options.loss,
            beta=options.beta,
            epsilon_low=options.epsilon_low,
            epsilon_high=options.epsilon_high,
        )
        return loss_sum(options.loss, each, mask), self._figures(table.detach(), drawn, mask, reference)

    def _figures(self, now: Tensor, drawn: Tensor, mask: Tensor, reference: Tensor | None) -> dict[str, float]:
        high = self._options.epsilon_low if self._options.epsilon_high is None else self._options.epsilon_high
        ratio = (now - drawn).exp()
        clipped = ((ratio < 1 - self._options.epsilon_low) | (ratio > 1 + high)) * mask
        found = {"clipped": float(clipped.sum())}
        if reference is not None:
            away = reference - now
            found["kl"] = float(((away.exp() - away - 1) * mask).sum())
        return found


def _part(one: Drawn, name: str) -> float:
    assert isinstance(one.credit, Credit)
    return one.credit.parts[name]


def _best_and_worst(group: Group) -> tuple[Drawn, Drawn]:
    # Of equal ones the first.
    scored = group.scored
    return max(scored, key=lambda one: one.total or 0.0), min(scored, key=lambda one: one.total or 0.0)


class Raft:
    """The best answer of each group, learnt as if it were the truth."""

    needs_reference = False

    def __init__(self, options: RaftOptions) -> None:
        self._options = options

    def keeps(self, groups: int) -> int:
        """All."""
        return groups

    def lessons(self, groups: Sequence[Group], weights: dict[str, float]) -> list[Lesson]:
        """The best of each group that has better and worse."""
        chosen = (_best_and_worst(group)[0] for group in groups if group.spread > _ALIKE)
        return [Lesson(rollouts=(one.rollout,), advantages=(1.0,)) for one in chosen]

    def size(self, lessons: Sequence[Lesson]) -> float:
        """Tokens."""
        return float(sum(len(one.rollouts[0].tokens) for one in lessons))

    def loss(self, lessons: Sequence[Lesson], now: Tensors, before: Tensors | None) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy."""
        total = torch.stack([row.sum() * float(one.counts) for one, row in zip(lessons, now, strict=True)]).sum()
        return -total, {}


class Dpo:
    """The best answer of each group before the worst."""

    needs_reference = True

    def __init__(self, options: DpoOptions) -> None:
        self._options = options

    def keeps(self, groups: int) -> int:
        """All."""
        return groups

    def lessons(self, groups: Sequence[Group], weights: dict[str, float]) -> list[Lesson]:
        """A pair of each group whose best is better than its worst by the margin."""
        found = []
        for group in groups:
            if group.spread <= _ALIKE:
                continue
            best, worst = _best_and_worst(group)
            if (best.total or 0.0) - (worst.total or 0.0) > self._options.margin:
                found.append(Lesson(rollouts=(best.rollout, worst.rollout), advantages=(1.0, -1.0)))
        return found

    def size(self, lessons: Sequence[Lesson]) -> float:
        """Pairs."""
        return float(len(lessons))

    def loss(self, lessons: Sequence[Lesson], now: Tensors, before: Tensors | None) -> tuple[Tensor, dict[str, float]]:
        """-log sigmoid(beta * (how much more likely the best became than the worst)) of each pair."""
        assert before is not None
        gains = [own.sum() - old.sum() for own, old in zip(now, before, strict=True)]
        losses, preferred, place = [], 0.0, 0
        for one in lessons:
            gap = self._options.beta * (gains[place] - gains[place + 1]) if len(one.rollouts) == 2 else gains[place] * 0
            losses.append(-torch.nn.functional.logsigmoid(gap) * float(one.counts))
            preferred += float(gap > 0) * one.counts
            place += len(one.rollouts)
        return torch.stack(losses).sum(), {"preferred": preferred}
